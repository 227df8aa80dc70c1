"""The only SQL about versions in traffic."""

from collections.abc import Collection, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, cast

from sqlalchemy import ARRAY, Text, any_, delete, select, text
from sqlalchemy import cast as as_type
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.kit.database import Swift, insert_rows, insert_rows_swiftly
from engine.kit.ids import new_id
from engine.serving.models import OutcomeRow, RolloutRow
from engine.serving.rollout_schemas import Arm, Counts, Outcome

NEWEST = 10_000


def add(uow: Session, row: dict[str, Any]) -> bool:
    """Write a rollout unless one of its name runs; say whether it was written."""
    statement = insert(RolloutRow).values(row)
    # Written out: a prepared statement with a parameter there does not find its index.
    statement = statement.on_conflict_do_nothing(
        index_elements=[RolloutRow.name], index_where=text("state = 'running'")
    )
    return uow.execute(statement.returning(RolloutRow.id)).one_or_none() is not None


def running(uow: Session, names: Collection[str]) -> list[RolloutRow]:
    """Return the running rollouts of names."""
    among = RolloutRow.name == any_(as_type(list(names), ARRAY(Text)))
    return list(uow.scalars(select(RolloutRow).where(among, RolloutRow.state == "running")))


def all_running(uow: Session, strategy: str) -> list[RolloutRow]:
    """Return every running rollout of a strategy, the first one first."""
    found = select(RolloutRow).where(RolloutRow.state == "running", RolloutRow.strategy == strategy)
    return list(uow.scalars(found.order_by(RolloutRow.started_at)))


def latest(uow: Session, name: str, tenant_id: str) -> RolloutRow | None:
    """Return a tenant's newest rollout of a name."""
    mine = select(RolloutRow).where(RolloutRow.name == name, RolloutRow.tenant_id == tenant_id)
    return uow.scalar(mine.order_by(RolloutRow.started_at.desc(), RolloutRow.id.desc()).limit(1))


def locked(uow: Session, rollout_id: str) -> RolloutRow:
    """Return a rollout as it stands, which nobody else changes until the unit of work ends."""
    query = select(RolloutRow).where(RolloutRow.id == rollout_id).with_for_update(key_share=True)
    return uow.scalars(query.execution_options(populate_existing=True)).one()


def _rows(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    return [{"id": new_id("out"), **asdict(one)} for one in outcomes]


def add_outcomes(uow: Session, outcomes: Sequence[Outcome]) -> None:
    """Write what came of calls."""
    insert_rows(uow, OutcomeRow, _rows(outcomes))


def add_outcomes_swiftly(connection: Swift, outcomes: Sequence[Outcome]) -> None:
    """Do as `add_outcomes` on a bare connection."""
    insert_rows_swiftly(connection, OutcomeRow, _rows(outcomes))


_COUNTS = text(
    "SELECT a.arm, count(*) AS calls, count(*) FILTER (WHERE o.failed) AS failed,"
    " percentile_disc(0.5) WITHIN GROUP (ORDER BY o.latency_ms) FILTER (WHERE NOT o.failed) AS p50_ms,"
    " percentile_disc(0.95) WITHIN GROUP (ORDER BY o.latency_ms) FILTER (WHERE NOT o.failed) AS p95_ms"
    " FROM (VALUES ('stable'), ('candidate')) AS a(arm) CROSS JOIN LATERAL ("
    "SELECT failed, latency_ms FROM serving_outcomes"
    " WHERE rollout_id = :id AND arm = a.arm ORDER BY at DESC LIMIT :newest) AS o GROUP BY a.arm"
)


def counts(uow: Session, rollout_id: str) -> dict[Arm, Counts]:
    """Return the counts of both arms, of their newest calls."""
    found: dict[Arm, Counts] = {"stable": Counts(), "candidate": Counts()}
    for row in uow.execute(_COUNTS, {"id": rollout_id, "newest": NEWEST}).mappings():
        found[cast(Arm, row["arm"])] = Counts(**{name: row[name] for name in row if name != "arm"})
    return found


def sweep(uow: Session, ended: datetime) -> int:
    """Forget the outcomes of rollouts that had ended by a time; return how many."""
    over = select(RolloutRow.id).where(RolloutRow.ended_at <= ended)
    gone = delete(OutcomeRow).where(OutcomeRow.rollout_id.in_(over)).returning(OutcomeRow.id)
    return len(uow.scalars(gone).all())
