"""Recording usage, in the transaction that settles the call."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from engine.analytics import repository
from engine.analytics.schemas import UsageEvent
from engine.kit.ids import new_id


def record(uow: Session, events: Sequence[UsageEvent]) -> list[str]:
    """Record calls and return their events' ids. They reach the dashboards with the next export."""
    rows = [{"id": new_id("ue"), **event.model_dump(), "exported_at": None} for event in events]
    repository.add(uow, rows)
    return [row["id"] for row in rows]
