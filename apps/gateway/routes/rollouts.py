"""Two versions of an expert in traffic: a candidate's share, how both do, promotion and the way back."""

from dataclasses import replace
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from apps.gateway.errors import language_of
from apps.gateway.identity import Caller
from engine.accounts.schemas import Person
from engine.flows import roll_out
from engine.serving.rollout_schemas import Arm, Counts, Margins, State, Strategy
from engine.serving.rollouts import interval, share

router = APIRouter(prefix="/api/market/experts", tags=["market"])


class MarginsGiven(BaseModel):
    """How much worse than stable a candidate may do; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    error_points: int | None = None
    slower_percent: int | None = None
    least_calls: int | None = None

    def on(self, before: Margins) -> Margins:
        """Return the margins with what is given. Raises BadInput naming the margin out of range."""
        return replace(before, **self.model_dump(exclude_none=True))


class Start(BaseModel):
    """A candidate, without an id the newest approved version, and its share of the calls in percent."""

    model_config = ConfigDict(extra="forbid")

    candidate_id: str | None = None
    strategy: Strategy = "canary"
    weight_percent: int = 10
    margins: MarginsGiven = MarginsGiven()


class Change(BaseModel):
    """Another share, or other margins."""

    model_config = ConfigDict(extra="forbid")

    weight_percent: int | None = None
    margins: MarginsGiven | None = None


class ArmShown(BaseModel):
    """How one arm does, by its newest 10,000 calls; the interval is Wilson's, of 95%."""

    version: str
    version_id: str
    calls: int
    failed: int
    failed_share: float
    failed_interval: tuple[float, float]
    p50_ms: int | None
    p95_ms: int | None


class RolloutShown(BaseModel):
    """A rollout and how its two versions do; `reason` says in the reader's language why it ended."""

    id: str
    name: str
    strategy: Strategy
    weight_percent: int
    margins: Margins
    state: State
    reason_code: str | None
    reason: str | None
    started_at: datetime
    ended_at: datetime | None
    can_return: bool
    arms: dict[Literal["stable", "candidate"], ArmShown]


def _shown(person: Person, name: str, request: Request) -> RolloutShown:
    found = roll_out.newest(person, name)
    rollout = found.rollout
    arms: tuple[tuple[Arm, str], ...] = (("stable", rollout.stable_id), ("candidate", rollout.candidate_id))
    why = rollout.reason
    return RolloutShown(
        id=rollout.id,
        name=rollout.name,
        strategy=rollout.strategy,
        weight_percent=rollout.weight_percent,
        margins=rollout.margins,
        state=rollout.state,
        reason_code=why.key if why else None,
        reason=why.message(language_of(request)) if why else None,
        started_at=rollout.started_at,
        ended_at=rollout.ended_at,
        can_return=found.can_return,
        arms={arm: _arm(found.versions[one].version, one, found.counts[arm]) for arm, one in arms},
    )


def _arm(version: str, version_id: str, count: Counts) -> ArmShown:
    return ArmShown(
        version=version,
        version_id=version_id,
        calls=count.calls,
        failed=count.failed,
        failed_share=share(count),
        failed_interval=interval(count),
        p50_ms=count.p50_ms,
        p95_ms=count.p95_ms,
    )


@router.post("/{name}/rollout", status_code=201)
def start(name: str, given: Start, caller: Caller, request: Request) -> RolloutShown:
    """Give an approved version a share of the calls of my published expert; a canary that fails goes back."""
    roll_out.start(
        caller,
        name,
        candidate_id=given.candidate_id,
        strategy=given.strategy,
        weight_percent=given.weight_percent,
        margins=given.margins.on(Margins()),
    )
    return _shown(caller, name, request)


@router.get("/{name}/rollout")
def show(name: str, caller: Caller, request: Request) -> RolloutShown:
    """Return my expert's newest rollout with both versions' calls, failures and latencies."""
    return _shown(caller, name, request)


@router.patch("/{name}/rollout")
def change(name: str, given: Change, caller: Caller, request: Request) -> RolloutShown:
    """Change the candidate's share or the margins; only as many conversations move as have to."""
    before = roll_out.newest(caller, name).rollout.margins
    margins = given.margins.on(before) if given.margins else None
    roll_out.change(caller, name, weight_percent=given.weight_percent, margins=margins)
    return _shown(caller, name, request)


@router.post("/{name}/rollout/promote")
def promote(name: str, caller: Caller, request: Request) -> RolloutShown:
    """Publish the candidate in place of the stable version, at the price of its listing."""
    roll_out.promote(caller, name)
    return _shown(caller, name, request)


@router.post("/{name}/rollout/rollback")
def roll_back(name: str, caller: Caller, request: Request) -> RolloutShown:
    """Take the candidate back; after its promotion, the version before comes back to the market."""
    roll_out.roll_back(caller, name)
    return _shown(caller, name, request)
