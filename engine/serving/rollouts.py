"""Versions of one name in traffic: which arm a call gets, how the arms do, and when one is taken back.

Nothing is known here of experts: versions are ids. Whoever moves a rollout has locked its name before.
"""

import hashlib
import math
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from engine.kit.clock import now
from engine.kit.database import Swift
from engine.kit.errors import BadInput, Conflict, Forbidden
from engine.kit.ids import new_id
from engine.serving import repository_rollouts as repository
from engine.serving.rollout_schemas import (
    STRATEGIES,
    Arm,
    Counts,
    Margins,
    Outcome,
    Rollout,
    State,
    Strategy,
    Why,
)

STRATEGY_HEADER = "x-routing-strategy"
CONVERSATION_HEADER = "X-Conversation-ID"
KEPT = timedelta(days=30)

OWNER, SYSTEM = "owner", "system"
MOVES: dict[tuple[str, str], frozenset[str]] = {
    ("running", "promoted"): frozenset({OWNER}),
    ("running", "rolled_back"): frozenset({OWNER, SYSTEM}),
    # One of the two left the market, or another version came onto it.
    ("running", "ended"): frozenset({SYSTEM}),
    ("promoted", "rolled_back"): frozenset({OWNER}),
}
"""Who may move a rollout from which state to which; whoever is its owner is known outside."""

SLOTS = 10_000
FIRST_CALLS = 10
"""A candidate that fails more than half of so many calls, or more, is taken back at once."""
CONFIDENCE = 1.959964
"""Standard errors to each side that hold 95%."""


def check_strategy(strategy: str | None) -> None:
    """Raise BadInput for a header that names no way to choose a version; None is no header."""
    if strategy not in (None, "stable", *STRATEGIES):
        raise BadInput("rollouts.bad_header", field=STRATEGY_HEADER, value=str(strategy)[:40])


def check_conversation(conversation: str | None) -> None:
    """Raise BadInput for a header that cannot name a conversation; None is no header."""
    if conversation is not None and not (0 < len(conversation) <= 200 and conversation.isprintable()):
        raise BadInput("rollouts.bad_conversation", field=CONVERSATION_HEADER)


def arm_of(rollout: Rollout | None, strategy: str | None, sticky_key: str) -> Arm:
    """Return who answers a call: "stable" or "canary" as asked for, else by weight.

    The same key gets the same arm while the weight stays, and a changed weight moves only the keys that it
    has to. Without a rollout it is stable. Raises BadInput for an unknown strategy.
    """
    check_strategy(strategy)
    if rollout is None or strategy == "stable":
        return "stable"
    if strategy == "canary":
        return "candidate"
    return "candidate" if slot(rollout.id, sticky_key) < rollout.weight_percent * 100 else "stable"


def slot(rollout_id: str, sticky_key: str) -> int:
    """Return the place of a conversation among SLOTS: those below the weight are the candidate's."""
    digest = hashlib.sha256(f"{rollout_id}\n{sticky_key}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % SLOTS


def check_weight(percent: int) -> int:
    """Return a share in percent. Raises BadInput naming `weight_percent`."""
    if type(percent) is not int or not 0 <= percent <= 100:
        raise BadInput("rollouts.bad_weight", field="weight_percent")
    return percent


def start(
    uow: Session,
    *,
    name: str,
    tenant_id: str,
    stable_id: str,
    candidate_id: str,
    strategy: str,
    weight_percent: int,
    margins: Margins,
    by_id: str,
) -> Rollout:
    """Give a candidate its share of a name's calls. Raises Conflict while another rollout of it runs."""
    if strategy not in STRATEGIES:
        raise BadInput("rollouts.bad_strategy", field="strategy", value=strategy[:40])
    row = {
        "id": new_id("rol"),
        "name": name,
        "tenant_id": tenant_id,
        "stable_id": stable_id,
        "candidate_id": candidate_id,
        "strategy": strategy,
        "weight_percent": check_weight(weight_percent),
        "margins": margins.plain(),
        "state": "running",
        "reason": None,
        "started_at": now(),
        "ended_at": None,
        "by_id": by_id,
    }
    if not repository.add(uow, row):
        raise Conflict("rollouts.running", name=name)
    return Rollout.model_validate(row)


def running(uow: Session, names: Collection[str]) -> dict[str, Rollout]:
    """Return the running rollouts of names."""
    return {row.name: Rollout.model_validate(row) for row in repository.running(uow, names)}


def all_running(uow: Session, strategy: Strategy) -> list[Rollout]:
    """Return every running rollout of a strategy."""
    return [Rollout.model_validate(row) for row in repository.all_running(uow, strategy)]


def latest(uow: Session, name: str, tenant_id: str) -> Rollout | None:
    """Return a name's newest rollout."""
    row = repository.latest(uow, name, tenant_id)
    return None if row is None else Rollout.model_validate(row)


def change(uow: Session, rollout_id: str, *, weight_percent: int | None, margins: Margins | None) -> Rollout:
    """Give a running rollout another share or other margins. Raises Conflict when it runs no more."""
    row = repository.locked(uow, rollout_id)
    if row.state != "running":
        raise Conflict("rollouts.over", state=row.state)
    if weight_percent is not None:
        row.weight_percent = check_weight(weight_percent)
    if margins is not None:
        row.margins = margins.plain()
    uow.flush()
    return Rollout.model_validate(row)


def move(uow: Session, rollout_id: str, to: State, *, part: str, why: Why) -> Rollout:
    """End a rollout, or take back one that was promoted; of several who try at once one does.

    Raises Conflict for a state that does not allow it, Forbidden when it is another's to do.
    """
    row = repository.locked(uow, rollout_id)
    allowed = MOVES.get((row.state, to))
    if allowed is None:
        raise Conflict("rollouts.over", state=row.state)
    if part not in allowed:
        raise Forbidden("market.owner_only" if OWNER in allowed else "market.system_only")
    row.state, row.reason, row.ended_at = to, why.plain(), now()
    uow.flush()
    return Rollout.model_validate(row)


def record(uow: Session, outcomes: Sequence[Outcome]) -> None:
    """Note what came of calls."""
    repository.add_outcomes(uow, outcomes)


def record_swiftly(connection: Swift, outcomes: Sequence[Outcome]) -> None:
    """Do as `record` on a bare connection."""
    repository.add_outcomes_swiftly(connection, outcomes)


def counts(uow: Session, rollout_id: str) -> dict[Arm, Counts]:
    """Return how both arms do, each by its newest 10,000 calls."""
    return repository.counts(uow, rollout_id)


def sweep(uow: Session, at: datetime) -> int:
    """Forget what came of the calls of rollouts that ended 30 days before `at`; return how many."""
    return repository.sweep(uow, at - KEPT)


def verdict(stable: Counts, candidate: Counts, margins: Margins) -> Why | None:
    """Return why a candidate has to be taken back, or None while it may stay.

    At once when more than half of its first ten calls or more failed; after `least_calls` when it fails more
    than stable, or is slower than stable, by more than the margins allow.
    """
    if candidate.calls >= FIRST_CALLS and 2 * candidate.failed > candidate.calls:
        return Why(
            key="rollouts.why_broken", facts={"failed": candidate.failed, "calls": f"{candidate.calls:,}"}
        )
    if candidate.calls < margins.least_calls:
        return None
    # Whole numbers, multiplied out: a share right at its margin is not above it.
    calls = max(stable.calls, 1)
    more = candidate.failed * calls - stable.failed * candidate.calls
    if 1_000 * more > margins.error_points * candidate.calls * calls:
        return Why(
            key="rollouts.why_fails",
            facts={
                "candidate": _percent(candidate),
                "stable": _percent(stable),
                "calls": f"{candidate.calls:,}",
                "margin": f"{margins.error_points / 10:g}",
            },
        )
    slow, usual = candidate.p95_ms, stable.p95_ms
    if stable.calls < margins.least_calls or slow is None or usual is None:
        return None
    if 100 * slow > usual * (100 + margins.slower_percent):
        return Why(
            key="rollouts.why_slow",
            facts={
                "candidate": f"{slow:,}",
                "stable": f"{usual:,}",
                "calls": f"{candidate.calls:,}",
                "margin": margins.slower_percent,
            },
        )
    return None


def share(count: Counts) -> float:
    """Return the share of calls that failed, 0 to 1."""
    return count.failed / count.calls if count.calls else 0.0


def _percent(count: Counts) -> str:
    return f"{100 * share(count):.1f}%"


def interval(count: Counts) -> tuple[float, float]:
    """Return Wilson's 95% interval of the share of failed calls; all of 0 to 1 without a call.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    if not count.calls:
        return 0.0, 1.0
    n, p, z = count.calls, share(count), CONFIDENCE
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
