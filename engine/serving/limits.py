"""The limits of calls: requests and tokens a minute, requests a day, and calls at once.

`pass_ = await limiter().enter(limits, tokens)` before a call, `await limiter().leave(pass_, used)` in the
`finally` after it. Callers bring the limits; nothing is known here of plans.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from engine.kit.errors import NotReady
from engine.kit.settings import settings
from engine.serving.memory import InMemory
from engine.serving.schemas import BeyondLimit, Kind, Limit, LimitReached, Pass, Scope

__all__ = ["BeyondLimit", "Kind", "Limit", "LimitReached", "Limiter", "Pass", "Scope", "limiter"]

MARGIN = 30.0  # seconds that a place in Redis outlives the longest answer


class Limiter(Protocol):
    """Counts calls: `InMemory` for one process, `InRedis` for several."""

    async def enter(self, limits: Sequence[Limit], tokens: int) -> Pass:
        """Let a call in that will use about `tokens`, counted against every limit, or against none.

        Raises LimitReached, a TooMany whose `retry_after` suffices unless others come first; BeyondLimit
        when this call alone is larger than a limit; NotReady when Redis does not answer.
        """

    async def leave(self, granted: Pass, tokens: int) -> None:
        """End a call that really used `tokens`. Leaving again does nothing, and nothing is raised."""

    async def close(self) -> None:
        """Close what is open to other processes."""


@lru_cache(maxsize=1)
def limiter() -> Limiter:
    """Return the limiter of this process: in Redis when MBE_REDIS_URL is set, else in memory."""
    if not settings().redis_url:
        return InMemory()
    try:
        from engine.serving.shared import InRedis
    except ModuleNotFoundError as error:
        raise NotReady("serving.no_redis", retry_after=60) from error
    return InRedis(settings().redis_url, lease=settings().request_timeout + MARGIN)
