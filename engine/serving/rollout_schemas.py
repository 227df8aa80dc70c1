"""Values of versions in traffic: margins, a rollout, who gets which arm, what came of its calls."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict

from engine.kit.errors import BadInput
from engine.kit.messages import t

Arm = Literal["stable", "candidate"]
Strategy = Literal["canary", "ab_test"]
State = Literal["running", "promoted", "rolled_back", "ended"]

ARMS: tuple[Arm, ...] = get_args(Arm)
STRATEGIES: tuple[Strategy, ...] = get_args(Strategy)

RANGES = {"error_points": (0, 1_000), "slower_percent": (0, 10_000), "least_calls": (10, 100_000)}
"""The least and the most of each margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """How much worse than stable a candidate may do before it is taken back. Raises BadInput out of range.

    `error_points`: failed calls more than stable, in tenths of a percentage point. `slower_percent`: how far
    its 95th percentile of latency may lie above stable's. `least_calls`: with fewer nothing is compared.
    """

    error_points: int = 20
    slower_percent: int = 50
    least_calls: int = 50

    def __post_init__(self) -> None:
        for one in fields(self):
            least, most = RANGES[one.name]
            value = getattr(self, one.name)
            if type(value) is not int or not least <= value <= most:
                field_ = f"margins.{one.name}"
                raise BadInput("rollouts.bad_margin", field=field_, least=least, most=most)

    def plain(self) -> dict[str, int]:
        """Return the margins as they are stored."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Why a rollout ended: a key of the catalog, and the figures it names."""

    key: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def message(self, language: str) -> str:
        """Return the text for a person."""
        return t(self.key, language, **self.facts)

    def plain(self) -> dict[str, Any]:
        """Return the reason as it is stored."""
        return {"key": self.key, "facts": dict(self.facts)}


class Rollout(BaseModel):
    """Two versions of one name in traffic: `weight_percent` of the calls go to the candidate by default."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    name: str
    tenant_id: str
    stable_id: str
    candidate_id: str
    strategy: Strategy
    weight_percent: int
    margins: Margins
    state: State
    reason: Why | None
    started_at: datetime
    ended_at: datetime | None
    by_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a call of a name with a running rollout: to its end, or to its first token in a stream."""

    rollout_id: str
    version_id: str
    arm: Arm
    failed: bool
    latency_ms: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The newest calls of one arm. Latencies are of those that did not fail; None without any."""

    calls: int = 0
    failed: int = 0
    p50_ms: int | None = None
    p95_ms: int | None = None
