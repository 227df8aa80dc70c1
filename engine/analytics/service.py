"""Recording usage, in the transaction that settles the call."""

from sqlalchemy.orm import Session

from engine.analytics import repository
from engine.analytics.models import UsageEventRow
from engine.analytics.schemas import UsageEvent
from engine.kit.ids import new_id


def record(uow: Session, event: UsageEvent) -> str:
    """Record one call and return the event's id. It reaches the dashboards with the next export."""
    row = UsageEventRow(id=new_id("ue"), exported_at=None, **event.model_dump())
    repository.add(uow, row)
    return row.id
