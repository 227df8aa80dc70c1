"""The only SQL about answers that are kept for a retry."""

from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.serving.models import ReplyRow


def take(uow: Session, row: dict[str, Any]) -> bool:
    """Write a row unless its key is taken, also by somebody who is writing now; say whether it was written.

    An answer that has outlived its time is overwritten.
    """
    statement = insert(ReplyRow).values(row)
    outlived = and_(ReplyRow.state == "done", ReplyRow.expires_at <= row["created_at"])
    statement = statement.on_conflict_do_update(
        index_elements=[ReplyRow.tenant_id, ReplyRow.key], set_=row, where=outlived
    )
    return uow.execute(statement.returning(ReplyRow.id)).one_or_none() is not None


def find(uow: Session, tenant_id: str, key: str) -> ReplyRow | None:
    """Return what a key stands for."""
    return uow.scalar(select(ReplyRow).where(ReplyRow.tenant_id == tenant_id, ReplyRow.key == key))


def end(uow: Session, reply_id: str, values: dict[str, Any]) -> None:
    """Note how a running call was answered; nothing when it is not the one that runs."""
    running = and_(ReplyRow.id == reply_id, ReplyRow.state == "running")
    uow.execute(update(ReplyRow).where(running).values(state="done", **values))


def free(uow: Session, reply_id: str) -> None:
    """Forget a running call."""
    uow.execute(delete(ReplyRow).where(ReplyRow.id == reply_id, ReplyRow.state == "running"))


def sweep(uow: Session, created: datetime, expired: datetime) -> int:
    """Forget what was made and has expired by these times; return how many."""
    old = and_(ReplyRow.created_at <= created, ReplyRow.expires_at <= expired)
    return len(uow.scalars(delete(ReplyRow).where(old).returning(ReplyRow.id)).all())
