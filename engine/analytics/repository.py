"""The SQL of usage events."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from engine.analytics.models import UsageEventRow
from engine.kit.database import insert_rows

# A name for "somebody exports usage events" among PostgreSQL's advisory locks.
EXPORT_LOCK = 0x75736167


def add(uow: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write events."""
    insert_rows(uow, UsageEventRow, rows)


def lock_export(uow: Session) -> None:
    """Wait until no other process exports, and keep others out until this transaction ends."""
    uow.execute(select(func.pg_advisory_xact_lock(EXPORT_LOCK)))


def waiting(uow: Session, limit: int) -> list[UsageEventRow]:
    """Return the oldest events that are in no file yet."""
    query = (
        select(UsageEventRow)
        .where(UsageEventRow.exported_at.is_(None))
        .order_by(UsageEventRow.id)
        .limit(limit)
    )
    return list(uow.scalars(query))


def mark_exported(uow: Session, ids: Sequence[str], at: datetime) -> None:
    """Note that these events are in a file."""
    uow.execute(update(UsageEventRow).where(UsageEventRow.id.in_(ids)).values(exported_at=at))
