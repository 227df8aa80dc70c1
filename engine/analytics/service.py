"""Recording usage, in the transaction that settles the call."""

from collections.abc import Collection, Mapping
from datetime import datetime

from sqlalchemy.orm import Session

from engine.analytics import repository
from engine.analytics.models import UsageEventRow
from engine.analytics.schemas import Recorded, UsageEvent
from engine.kit.ids import new_id


def record(uow: Session, event: UsageEvent) -> str:
    """Record one call and return the event's id. It reaches the dashboards with the next export."""
    row = UsageEventRow(id=new_id("ue"), exported_at=None, **event.model_dump())
    repository.add(uow, row)
    return row.id


def between(uow: Session, since: datetime, until: datetime, ids: Collection[str] = ()) -> list[Recorded]:
    """Return the events of a time and those named, oldest first."""
    return [Recorded.model_validate(row) for row in repository.between(uow, since, until, ids)]


def of_receipts(uow: Session, receipt_ids: Collection[str]) -> list[Recorded]:
    """Return the events of receipts, oldest first."""
    return [Recorded.model_validate(row) for row in repository.of_receipts(uow, receipt_ids)]


def link(uow: Session, receipts: Mapping[str, str]) -> None:
    """Note which receipt events belong to, by the events' ids; what is noted already stays."""
    if receipts:
        repository.link(uow, receipts)


def first(uow: Session) -> datetime | None:
    """Return when the oldest event was."""
    return repository.first(uow)
