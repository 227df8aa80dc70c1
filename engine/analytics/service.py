"""Recording usage, in the transaction that settles the call."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from engine.analytics import repository
from engine.analytics.schemas import TYPICAL_INPUT, TYPICAL_OUTPUT, Recorded, UsageEvent
from engine.kit.database import Swift
from engine.kit.ids import new_id


def record(uow: Session, events: Sequence[UsageEvent]) -> list[str]:
    """Record calls and return their events' ids. They reach the dashboards with the next export."""
    rows = _rows(events)
    repository.add(uow, rows)
    return [row["id"] for row in rows]


def record_swiftly(connection: Swift, events: Sequence[UsageEvent]) -> None:
    """Record calls as `record` does, on a bare connection."""
    repository.add_swiftly(connection, _rows(events))


def _rows(events: Sequence[UsageEvent]) -> list[dict[str, Any]]:
    return [{"id": new_id("ue"), **event.model_dump(), "exported_at": None} for event in events]


def between(uow: Session, since: datetime, until: datetime, ids: Collection[str] = ()) -> list[Recorded]:
    """Return the events of a time and those named, oldest first."""
    return [Recorded.model_validate(row) for row in repository.between(uow, since, until, ids)]


def of_calls(uow: Session, call_ids: Collection[str]) -> list[Recorded]:
    """Return the events of paid calls, oldest first."""
    return [Recorded.model_validate(row) for row in repository.of_calls(uow, call_ids)]


def link(uow: Session, calls: Mapping[str, str]) -> None:
    """Note which call events belong to, by the events' ids; what is noted already stays."""
    if calls:
        repository.link(uow, calls)


def first(uow: Session) -> datetime | None:
    """Return when the oldest event was."""
    return repository.first(uow)


FEW = 20
"""With fewer answers than this nothing is known of how long they usually are."""


def usual_output(uow: Session, expert_id: str) -> int | None:
    """Return how many tokens 99 of 100 of an expert's newest answers stay below; None with few of them."""
    count, tokens = repository.output_lengths(uow, expert_id)
    return tokens if count >= FEW else None


def usual_tokens(uow: Session, expert_id: str) -> tuple[int, int]:
    """Return the tokens in and out of an expert's middle call; typical ones while few are known."""
    count, given, made = repository.usual_tokens(uow, expert_id)
    return (given, made) if count >= FEW else (TYPICAL_INPUT, TYPICAL_OUTPUT)


def used_last_month(uow: Session, tenant_id: str, expert_name: str, at: datetime) -> int:
    """Return the tokens, in and out, that a tenant used of an expert in the calendar month before `at`."""
    this = at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    before = (this - timedelta(days=1)).replace(day=1)
    return repository.tokens_used(uow, tenant_id, expert_name, before, this)
