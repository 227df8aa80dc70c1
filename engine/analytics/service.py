"""Recording usage, in the transaction that settles the call."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import DictRow
from sqlalchemy.orm import Session

from engine.analytics import repository
from engine.analytics.schemas import Recorded, UsageEvent
from engine.kit.ids import new_id


def record(uow: Session, events: Sequence[UsageEvent]) -> list[str]:
    """Record calls and return their events' ids. They reach the dashboards with the next export."""
    rows = _rows(events)
    repository.add(uow, rows)
    return [row["id"] for row in rows]


def record_swiftly(connection: psycopg.Connection[DictRow], events: Sequence[UsageEvent]) -> None:
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
