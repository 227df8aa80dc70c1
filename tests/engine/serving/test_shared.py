"""Limits in Redis: what several processes do to one another, and what happens when one or Redis dies."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import pytest
import redis

from engine.kit.errors import NotReady, TooMany
from engine.kit.settings import REPOSITORY
from engine.serving.limits import Limit
from engine.serving.shared import InRedis
from tests.engine.serving.conftest import in_redis

THREE = Limit(scope="tenant", subject="t", kind="parallel", most=3)
MANY = Limit(scope="tenant", subject="t", kind="requests_per_minute", most=50)

RUSH = """
import asyncio, sys
from engine.kit.errors import TooMany
from engine.serving.limits import Limit
from engine.serving.shared import InRedis

async def main() -> int:
    door = InRedis(sys.argv[1], lease=60)
    limit = Limit(scope="tenant", subject="t", kind="requests_per_minute", most=50)
    async def call() -> bool:
        try:
            await door.leave(await door.enter([limit], 0), 0)
        except TooMany:
            return False
        return True
    let_in = sum(await asyncio.gather(*(call() for _ in range(100))))
    await door.close()
    return let_in

print(asyncio.run(main()))
"""

HOLD = """
import asyncio, sys
from engine.serving.limits import Limit
from engine.serving.shared import InRedis

async def main() -> None:
    door = InRedis(sys.argv[1], lease=float(sys.argv[2]))
    for _ in range(3):
        await door.enter([Limit(scope="tenant", subject="t", kind="parallel", most=3)], 0)
    print("inside", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


def other_process(code: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
    )


def test_several_processes_together_let_in_what_is_granted(redis_url: str) -> None:
    in_redis(redis_url)
    rushing = [other_process(RUSH, redis_url) for _ in range(2)]
    assert sum(int(process.communicate()[0]) for process in rushing) == 50


def test_the_places_of_a_killed_process_free_themselves(redis_url: str) -> None:
    door = in_redis(redis_url, lease=2.0)
    with other_process(HOLD, redis_url, "2.0") as holding:
        assert holding.stdout is not None and holding.stdout.readline() == "inside\n"
        begun = time.monotonic()

        async def until_free() -> float:
            with pytest.raises(TooMany):
                await door.enter([THREE], 0)
            os.kill(holding.pid, signal.SIGKILL)
            while True:
                try:
                    await door.enter([THREE], 0)
                    return time.monotonic() - begun
                except TooMany:
                    await asyncio.sleep(0.05)

        assert 1.0 < asyncio.run(until_free()) < 4.0


def test_nothing_stays_in_redis_for_ever(redis_url: str) -> None:
    async def call() -> None:
        door = in_redis(redis_url)
        tokens = Limit(scope="key", subject="k", kind="tokens_per_minute", most=50)
        granted = await door.enter([THREE, MANY, tokens], 5)
        with closing(redis.Redis.from_url(redis_url)) as client:
            keys = client.keys()
            assert len(keys) == 5
            assert all(0 < client.pttl(key) <= 151_000 for key in keys)
            await door.leave(granted, 9)
            assert not client.exists("mbe:limit:steps:tenant:parallel:t")
        await door.close()

    asyncio.run(call())


def test_a_leaving_that_is_cancelled_is_done_all_the_same(redis_url: str) -> None:
    async def call() -> None:
        door = in_redis(redis_url)
        for _ in range(9):
            granted = await door.enter([THREE], 0)
            leaving = asyncio.create_task(door.leave(granted, 0))
            await asyncio.sleep(0)
            leaving.cancel()
            await asyncio.wait([leaving])
            await asyncio.sleep(0.02)
        await door.close()

    asyncio.run(call())


def test_a_redis_that_was_emptied_or_begun_again_is_used_again(redis_url: str) -> None:
    async def call() -> None:
        door = in_redis(redis_url)
        inside = [await door.enter([THREE], 0) for _ in range(3)]
        with closing(redis.Redis.from_url(redis_url)) as client:
            client.script_flush()
            client.client_kill_filter(_type="normal", skipme=True)
            await asyncio.sleep(0.01)
            for granted in inside:
                await door.leave(granted, 0)
            assert client.zcard("mbe:limit:steps:tenant:parallel:t") == 0
            client.flushall()
        for _ in range(3):
            await door.enter([THREE, MANY], 0)
        await door.close()

    asyncio.run(call())


def test_a_silent_redis_refuses_calls_and_lets_those_inside_end(redis_url: str) -> None:
    async def call() -> None:
        inside = in_redis(redis_url)
        granted = await inside.enter([THREE], 0)
        gone = InRedis("unix:///nowhere/socket", lease=1)
        with pytest.raises(NotReady) as told:
            await gone.enter([THREE], 0)
        assert told.value.key == "serving.redis_silent" and not isinstance(told.value, TooMany)
        await gone.leave(granted, 0)
        await gone.close()
        await inside.close()

    asyncio.run(call())
