"""Limiters whose clock the tests move: in memory, and in a real Redis."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing
from typing import Any, TypeVar

import pytest

from engine.serving.limits import Limiter
from engine.serving.memory import InMemory
from engine.serving.schemas import SECOND
from tests import redis_server

T = TypeVar("T")


class Clock:
    """A time that moves when told to, in microseconds."""

    def __init__(self) -> None:
        self.now = 1_800_000_000 * SECOND + 123_456

    def __call__(self) -> int:
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += round(seconds * SECOND)


class Bench:
    """A limiter, its clock, and a loop to run it in; `again()` gives an empty one."""

    def __init__(self, make: Callable[[Clock], Limiter]) -> None:
        self._make = make
        self._runner = asyncio.Runner()
        self._begin()

    def again(self) -> None:
        """Begin once more, with nothing counted."""
        self.run(self.door.close())
        self._begin()

    def _begin(self) -> None:
        self.clock = Clock()
        self.door = self._runner.run(self._made())

    async def _made(self) -> Limiter:
        return self._make(self.clock)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run work until it is done."""
        return self._runner.run(work)

    def close(self) -> None:
        """Close the limiter and its loop."""
        self.run(self.door.close())
        self._runner.close()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server of this test process."""
    if not redis_server.found():
        pytest.skip(redis_server.WHY_NOT)
    with redis_server.running() as url:
        yield url


@pytest.fixture(params=["memory", "redis"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An empty limiter of each sort."""
    if request.param == "memory":
        made = Bench(lambda clock: InMemory(clock))
    else:
        url = request.getfixturevalue("redis_url")
        made = Bench(lambda clock: in_redis(url, clock))
    with closing(made):
        yield made


def in_redis(url: str, clock: Callable[[], int] | None = None, *, lease: float = 150.0) -> Limiter:
    """Return a limiter in the Redis at `url`, which is emptied."""
    import redis

    from engine.serving.shared import InRedis

    with redis.Redis.from_url(url) as client:
        client.flushall()
    return InRedis(url, lease=lease, clock=clock)
