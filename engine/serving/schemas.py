"""Values that cross the door: limits, the pass of a call, a kept answer, model servers, and refusals."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engine.kit.errors import BadInput, NotReady, TooMany
from engine.kit.messages import t

Scope = Literal["tenant", "project", "person", "key"]
Kind = Literal["requests_per_minute", "tokens_per_minute", "parallel", "requests_per_day"]

SECOND = 1_000_000  # times are whole microseconds: they compare exactly, also in Redis
WINDOWS: dict[Kind, int] = {
    "requests_per_minute": 60 * SECOND,
    "tokens_per_minute": 60 * SECOND,
    "requests_per_day": 24 * 3600 * SECOND,
}
STEPS = 240  # a window moves on in so many steps: a quarter of a second of a minute, six minutes of a day
REQUESTS: tuple[Kind, ...] = ("requests_per_minute", "requests_per_day")
TOKENS: tuple[Kind, ...] = ("tokens_per_minute",)
COUNTED = {"requests": REQUESTS, "tokens": TOKENS}
"""The kinds by the word that OpenAI's headers have for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The most that the tenant, project, person or key named `subject` may have of `kind`."""

    scope: Scope
    subject: str
    kind: Kind
    most: int


@dataclass(slots=True, eq=False)
class Pass:
    """A call that was let in. `places` and `left` belong to the limiter.

    `standings` are the limits with this call counted: what remains, and microseconds until all of it does.
    """

    id: str
    tokens: int
    standings: list[tuple[Limit, int, int]] = field(default_factory=list)
    places: list[Any] = field(default_factory=list)
    left: bool = False

    def headers(self) -> dict[str, str]:
        """Return OpenAI's x-ratelimit headers, of the tightest limit of requests and of tokens.

        Those of a kind that has no limit are missing.
        """
        told: dict[str, str] = {}
        for kinds in COUNTED.values():
            of_kind = [one for one in self.standings if one[0].kind in kinds]
            if of_kind:
                told |= _told(*min(of_kind, key=lambda one: (one[1], -one[2])))
        return told


def _told(limit: Limit, remaining: int | None, reset: int) -> dict[str, str]:
    name = next((name for name, kinds in COUNTED.items() if limit.kind in kinds), None)
    if name is None:
        return {}
    left = {} if remaining is None else {f"x-ratelimit-remaining-{name}": str(remaining)}
    return {
        f"x-ratelimit-limit-{name}": str(limit.most),
        **left,
        f"x-ratelimit-reset-{name}": _duration(reset),
    }


class LimitReached(TooMany):
    """A limit is used up. The facts name it; the message says whose it is in the reader's language."""

    def __init__(self, limit: Limit, wait: int) -> None:
        super().__init__(
            "serving.limit_reached",
            retry_after=max(1, whole_seconds(wait)),
            limit=f"{limit.scope}_{limit.kind}",
            scope=limit.scope,
            kind=limit.kind,
            most=limit.most,
        )
        # Of tokens some may be left, only too few.
        self._headers = _told(limit, 0 if limit.kind in REQUESTS else None, wait)

    def headers(self) -> dict[str, str]:
        """Return OpenAI's x-ratelimit headers of this limit; a limit of parallel calls has none."""
        return self._headers

    def message(self, language: str) -> str:
        """Return the text for a person."""
        return t(self.key, language, **self.facts, **_named(self.facts, language))


class BeyondLimit(BadInput):
    """One call alone needs more than a limit grants: however often it is tried, it is never let in."""

    def __init__(self, limit: Limit, need: int) -> None:
        super().__init__(
            "serving.beyond_limit",
            limit=f"{limit.scope}_{limit.kind}",
            scope=limit.scope,
            kind=limit.kind,
            most=limit.most,
            need=need,
        )

    def message(self, language: str) -> str:
        """Return the text for a person."""
        return t(self.key, language, **self.facts, **_named(self.facts, language))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer as it went out."""

    status: int
    media_type: str
    body: bytes


class Upstream(BaseModel):
    """A model server; see `upstreams.UpstreamTerms`. The built-in one has no address, and until it is
    declared nobody who did it."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    name: str
    base_url: str
    key_variable: str
    model: str
    served_as: str
    weight: int
    fallback: int
    enabled: bool
    created_at: datetime | None = None
    by_id: str | None = None


class Degraded(BaseModel):
    """What callers of an expert read when no model server answers."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    name: str
    text: str
    updated_at: datetime


class StillRunning(NotReady):
    """The first call with an idempotency key has not ended; `retry_after` says when to ask again."""

    status = 409


def wanted(limits: Sequence[Limit], tokens: int) -> list[tuple[Limit, int]]:
    """Return each limit with what one call needs of it; of two for the same thing the tighter.

    Raises BeyondLimit.
    """
    if tokens < 0:
        raise ValueError("a call cannot need fewer than no tokens")
    kept: dict[tuple[str, str, str], Limit] = {}
    for limit in limits:
        key = (limit.scope, limit.subject, limit.kind)
        if key not in kept or limit.most < kept[key].most:
            kept[key] = limit
    needs = [(limit, tokens if limit.kind in TOKENS else 1) for limit in kept.values()]
    for limit, need in needs:
        if need > limit.most:
            raise BeyondLimit(limit, need)
    return needs


def whole_seconds(time: int) -> int:
    """Return microseconds as seconds, rounded up."""
    return -(-time // SECOND)


def _named(facts: dict[str, object], language: str) -> dict[str, str]:
    return {
        "whose": t(f"serving.scope_{facts['scope']}", language),
        "what": t(f"serving.kind_{facts['kind']}", language),
    }


def _duration(time: int) -> str:
    """Return a duration as OpenAI writes it: `7s`, `6m0s`, `23h59m0s`."""
    minutes, seconds = divmod(whole_seconds(time), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"
