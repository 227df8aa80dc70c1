"""The SQL of meters."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.billing.models import Meter

# The keys of a meter's movements are known, so each is found by the index over them.
_CHECKED = text(
    """
SELECT m.key, m.tenant_id, m.state, m.cpu_ms, m.gpu_ms, m.cpu_hour_micro, m.gpu_hour_micro,
    m.charged_micro, m.unpaid_micro,
    coalesce((SELECT -sum(e.amount_micro) FROM generate_series(1, m.charges) AS n
        JOIN billing_transactions t ON t.key = 'meter:' || m.key || ':' || n
        JOIN billing_entries e ON e.transaction_id = t.id
        JOIN billing_accounts a ON a.id = e.account_id
        WHERE e.tenant_id = m.tenant_id AND a.kind = 'wallet'), 0) AS moved_micro
FROM billing_meters m
WHERE (m.updated_at >= :since AND m.updated_at < :until) OR m.key = ANY(CAST(:keys AS text[]))
ORDER BY m.updated_at, m.key
"""
)


def add(uow: Session, row: Meter) -> None:
    """Write a meter, unless there is one with its key."""
    values = {column.key: getattr(row, column.key) for column in Meter.__table__.columns}
    uow.execute(insert(Meter).values(**values).on_conflict_do_nothing())


def locked(uow: Session, keys: Collection[str]) -> Sequence[Meter]:
    """Return meters, locked until the end."""
    query = select(Meter).where(Meter.key.in_(list(keys))).order_by(Meter.key).with_for_update()
    return uow.scalars(query.execution_options(populate_existing=True)).all()


def locked_unpaid(uow: Session, tenant_id: str) -> Sequence[Meter]:
    """Return a tenant's meters that were not paid in full, the oldest first, locked until the end."""
    owing = select(Meter.key).where(Meter.tenant_id == tenant_id, Meter.unpaid_micro > 0)
    rows = locked(uow, uow.scalars(owing).all())
    return sorted(rows, key=lambda row: (row.created_at, row.key))


def unpaid(uow: Session, tenant_id: str) -> int:
    """Return the sum of what a tenant's meters were not paid."""
    query = select(func.sum(Meter.unpaid_micro)).where(Meter.tenant_id == tenant_id, Meter.unpaid_micro > 0)
    return int(uow.scalar(query) or 0)


def charged(uow: Session, tenant_id: str, work_id: str) -> tuple[int, int]:
    """Return what the meters of a tenant's work were paid, and what they were not."""
    query = select(func.sum(Meter.charged_micro), func.sum(Meter.unpaid_micro)).where(
        Meter.tenant_id == tenant_id, Meter.work_id == work_id
    )
    paid, left = uow.execute(query).one()
    return int(paid or 0), int(left or 0)


def running(uow: Session) -> Sequence[Meter]:
    """Return the meters that are not closed, the oldest first."""
    query = select(Meter).where(Meter.state == "running").order_by(Meter.created_at, Meter.key)
    return uow.scalars(query.execution_options(populate_existing=True)).all()


def checked(uow: Session, since: datetime, until: datetime, keys: Collection[str]) -> list[Any]:
    """Return the meters that changed in a time and those named, each with what it moved."""
    return list(uow.execute(_CHECKED, {"since": since, "until": until, "keys": list(keys)}))


def first(uow: Session) -> datetime | None:
    """Return when the oldest meter was set up."""
    return uow.scalar(select(func.min(Meter.created_at)))
