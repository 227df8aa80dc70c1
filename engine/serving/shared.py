"""Limits that several processes share, counted in Redis. Needs redis, installed when MBE_REDIS_URL is set.

One script lets a call in or refuses it, another ends it: two round trips a call, whatever its limits, and
nothing comes between checking and counting. One server (with its replicas), not a cluster: the keys of
a call are those of several subjects.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from engine.kit.errors import NotReady
from engine.kit.ids import new_id
from engine.kit.logs import logger
from engine.serving.schemas import (
    SECOND,
    STEPS,
    TOKENS,
    WINDOWS,
    Limit,
    LimitReached,
    Pass,
    wanted,
)

log = logger(__name__)

CONNECTIONS = 64
PATIENCE = 2.0  # seconds for a connection, and for an answer

# A window is a sorted set of its steps and a hash of what each counted, with their sum in the field `sum`;
# places are a sorted set of calls by the time at which they are taken from a call that never left.
# Redis' own clock is used, so that the processes need not agree, unless a time is given instead of 0.
_COMMON = """
local call, given = ARGV[1], {}
for number in string.gmatch(ARGV[2], '%S+') do given[#given + 1] = tonumber(number) end
local now, lease = given[1], given[2]
if now == 0 then
  local told = redis.call('TIME')
  now = tonumber(told[1]) * 1000000 + tonumber(told[2])
end
local function whole(number) return string.format('%.0f', number) end
local function add(steps, counts, count, length)
  local step = whole(math.floor(now / (length / STEPS)))
  redis.call('ZADD', steps, step, step)
  redis.call('HINCRBY', counts, step, whole(count))
  redis.call('HINCRBY', counts, 'sum', whole(count))
  local keep = whole(length / 1000 * (1 + 2 / STEPS))
  redis.call('PEXPIRE', steps, keep)
  redis.call('PEXPIRE', counts, keep)
end
""".replace("STEPS", str(STEPS))

_ENTER = (
    _COMMON
    + """
local function ends(step, length) return (step + 1) * (length / STEPS) + length - now end
local totals, reached, longest = {}, 0, 0
for i = 1, #KEYS / 2 do
  local steps, counts = KEYS[2 * i - 1], KEYS[2 * i]
  local most, need, length = given[3 * i], given[3 * i + 1], given[3 * i + 2]
  local wait = 0
  if length == 0 then
    redis.call('ZREMRANGEBYSCORE', steps, '-inf', whole(now))
    totals[i] = redis.call('ZCARD', steps)
    if totals[i] + need > most then wait = 1000000 end
  else
    local past = whole(math.floor((now - length) / (length / STEPS)) - 1)
    for _, step in ipairs(redis.call('ZRANGEBYSCORE', steps, '-inf', past)) do
      local count = tonumber(redis.call('HGET', counts, step) or 0)
      if count > 0 then redis.call('HINCRBY', counts, 'sum', whole(-count)) end
      redis.call('HDEL', counts, step)
      redis.call('ZREM', steps, step)
    end
    totals[i] = tonumber(redis.call('HGET', counts, 'sum') or 0)
    local over = totals[i] + need - most
    if over > 0 then
      for _, step in ipairs(redis.call('ZRANGE', steps, 0, -1)) do
        over = over - tonumber(redis.call('HGET', counts, step) or 0)
        if over <= 0 then
          wait = ends(tonumber(step), length)
          break
        end
      end
    end
  end
  if wait > longest then reached, longest = i, wait end
end
if reached > 0 then return reached .. ' ' .. whole(longest) end
local reply = {'0', whole(now)}
for i = 1, #KEYS / 2 do
  local steps, counts = KEYS[2 * i - 1], KEYS[2 * i]
  local need, length = given[3 * i + 1], given[3 * i + 2]
  local reset = 0
  if length == 0 then
    redis.call('ZADD', steps, whole(now + lease), call)
    redis.call('PEXPIRE', steps, whole(lease / 1000 + 1000))
  else
    if need > 0 then add(steps, counts, need, length) end
    local last = redis.call('ZRANGE', steps, -1, -1)[1]
    if last then reset = ends(tonumber(last), length) end
  end
  reply[2 * i + 1], reply[2 * i + 2] = whole(totals[i] + need), whole(reset)
end
return table.concat(reply, ' ')
"""
).replace("STEPS", str(STEPS))

_LEAVE = (
    _COMMON
    + """
for i = 1, #KEYS / 2 do
  local steps, counts = KEYS[2 * i - 1], KEYS[2 * i]
  local more, step, length = given[3 * i], whole(given[3 * i + 1]), given[3 * i + 2]
  if length == 0 then
    redis.call('ZREM', steps, call)
  elseif more > 0 then
    add(steps, counts, more, length)
  elseif redis.call('HEXISTS', counts, step) == 1 then
    redis.call('HINCRBY', counts, step, whole(more))
    redis.call('HINCRBY', counts, 'sum', whole(more))
  end
end
"""
)


class InRedis:
    """Limits of all processes that use the same Redis. `lease` is how long a call may last, in seconds."""

    def __init__(self, url: str, *, lease: float, clock: Callable[[], int] | None = None) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=PATIENCE,
            socket_timeout=PATIENCE,
            socket_connect_timeout=PATIENCE,
            retry=Retry(NoBackoff(), 0),  # a script that was sent again could count twice
            # With these, redis-py 8 takes a connection that the server closed for one with news in it.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        self._redis = Redis(connection_pool=pool)
        self._enter = self._redis.register_script(_ENTER)
        self._leave = self._redis.register_script(_LEAVE)
        self._lease = round(lease * SECOND)
        self._clock = clock
        self._loose: set[asyncio.Task[Any]] = set()

    async def enter(self, limits: Sequence[Limit], tokens: int) -> Pass:
        """Let a call in, or raise LimitReached and count nothing."""
        needs = wanted(limits, tokens)
        granted = Pass(new_id("call"), tokens)
        if not needs:
            return granted
        asking = self._start(self._ask(granted, needs))
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            # What was asked is done all the same; the places are given back, the request stays counted.
            self._start(self._regret(asking, granted))
            raise
        return granted

    async def leave(self, granted: Pass, tokens: int) -> None:
        """Give the places of a call back, and count the tokens that it really used."""
        if granted.left:
            return
        granted.left = True
        keys: list[str] = []
        values: list[int] = []
        for limit, step in granted.places:
            more = tokens - granted.tokens if limit.kind in TOKENS else 0
            if more or limit.kind == "parallel":
                keys += _keys(limit)
                values += [more, step, WINDOWS.get(limit.kind, 0)]
        if keys:
            await asyncio.shield(self._start(self._end(granted.id, keys, values)))

    async def close(self) -> None:
        """Wait for what is under way, and close the connections."""
        while self._loose:
            await asyncio.gather(*self._loose, return_exceptions=True)
        await self._redis.aclose()
        await self._redis.connection_pool.disconnect()

    async def _ask(self, granted: Pass, needs: list[tuple[Limit, int]]) -> None:
        keys: list[str] = []
        values: list[int] = []
        for limit, need in needs:
            keys += _keys(limit)
            values += [limit.most, need, WINDOWS.get(limit.kind, 0)]
        try:
            told = await self._enter(keys=keys, args=[granted.id, self._numbers(values)])
        except (RedisError, OSError) as error:
            log.error("Redis does not answer", why=str(error))
            raise NotReady("serving.redis_silent") from error
        reply = [int(number) for number in told.split()]
        if reply[0]:
            raise LimitReached(needs[reply[0] - 1][0], reply[1])
        for (limit, _), total, reset in zip(needs, reply[2::2], reply[3::2], strict=True):
            length = WINDOWS.get(limit.kind, 0)
            granted.places.append((limit, reply[1] // (length // STEPS) if length else 0))
            granted.standings.append((limit, max(0, limit.most - total), reset))

    async def _end(self, call: str, keys: list[str], values: list[int]) -> None:
        try:
            await self._leave(keys=keys, args=[call, self._numbers(values)])
        except (RedisError, OSError) as error:
            # The answer is given; the place frees itself, and the estimate stays counted.
            log.error("Redis does not answer", why=str(error))

    async def _regret(self, asking: "asyncio.Task[None]", granted: Pass) -> None:
        await asyncio.wait([asking])
        if not asking.cancelled() and asking.exception() is None:
            await self.leave(granted, 0)

    def _numbers(self, values: list[int]) -> str:
        # One text each way: the client's work grows with every argument and every part of a reply.
        return " ".join(map(str, [self._clock() if self._clock else 0, self._lease, *values]))

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._loose.add(task)
        task.add_done_callback(self._loose.discard)
        return task


def _keys(limit: Limit) -> list[str]:
    name = f"{limit.scope}:{limit.kind}:{limit.subject}"
    return [f"mbe:limit:steps:{name}", f"mbe:limit:counts:{name}"]
