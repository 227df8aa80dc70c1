"""Limits in memory: nothing is kept of those who are gone."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.kit.errors import NotReady
from engine.kit.settings import settings
from engine.serving.limits import Limit, limiter
from engine.serving.memory import InMemory
from engine.serving.schemas import STEPS
from tests.engine.serving.conftest import Clock


@pytest.fixture(autouse=True)
def fresh(home: Path) -> Iterator[None]:
    limiter.cache_clear()
    yield
    limiter.cache_clear()


def all_kinds(subject: str) -> list[Limit]:
    return [
        Limit(scope="person", subject=subject, kind="requests_per_minute", most=10**6),
        Limit(scope="person", subject=subject, kind="tokens_per_minute", most=10**6),
        Limit(scope="person", subject=subject, kind="requests_per_day", most=10**6),
        Limit(scope="person", subject=subject, kind="parallel", most=10**6),
    ]


def test_people_who_come_and_go_leave_nothing_behind() -> None:
    async def days() -> list[int]:
        clock = Clock()
        door, sizes = InMemory(clock), []
        for day in range(4):
            for number in range(1500):
                granted = await door.enter(all_kinds(f"{day}-{number}"), 5)
                await door.leave(granted, 3)
                clock.move(86400 / 1500)
            sizes.append(len(door))
        return sizes

    sizes = asyncio.run(days())
    assert max(sizes) < 4 * 1500
    assert sizes[3] <= sizes[1] * 1.1


def test_one_busy_subject_takes_a_bounded_place() -> None:
    async def busy() -> int:
        clock = Clock()
        door = InMemory(clock)
        for _ in range(5000):
            await door.leave(await door.enter(all_kinds("x"), 100), 150)
            clock.move(0.02)
        window = door._counters["person", "x", "tokens_per_minute"]
        return len(window._steps)

    assert asyncio.run(busy()) <= STEPS + 1


def test_without_redis_this_process_counts_by_itself_and_once() -> None:
    assert isinstance(limiter(), InMemory)
    assert limiter() is limiter()


def test_with_a_redis_url_the_count_is_shared(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_REDIS_URL", redis_url)
    monkeypatch.setenv("MBE_REQUEST_TIMEOUT", "7")
    settings.cache_clear()

    async def chosen() -> tuple[str, int]:
        door = limiter()
        await door.close()
        return type(door).__name__, vars(door)["_lease"]

    assert asyncio.run(chosen()) == ("InRedis", 37_000_000)


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_REDIS_URL", "redis://127.0.0.1:1")
    settings.cache_clear()
    monkeypatch.delitem(sys.modules, "engine.serving.shared", raising=False)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(NotReady, match="MBE_REDIS_URL"):
        limiter()


def test_a_wrong_address_is_named_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_REDIS_URL", "localhost:6379")
    settings.cache_clear()
    with pytest.raises(ValueError, match="redis_url"):
        settings()
