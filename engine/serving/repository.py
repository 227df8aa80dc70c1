"""The only SQL about answers that are kept for a retry, model servers and what is said without them."""

from datetime import datetime
from typing import Any

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.serving.models import DegradedRow, ReplyRow, UpstreamRow


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


def upstreams(uow: Session) -> list[UpstreamRow]:
    """Return the declared servers."""
    return list(uow.scalars(select(UpstreamRow).execution_options(populate_existing=True)))


def count_upstreams(uow: Session) -> int:
    """Return how many servers are declared."""
    return uow.scalars(select(func.count()).select_from(UpstreamRow)).one()


def add_upstream(uow: Session, row: UpstreamRow) -> bool:
    """Write a server unless its name is taken; say whether it was written."""
    values = {column.key: getattr(row, column.key) for column in UpstreamRow.__table__.columns}
    statement = insert(UpstreamRow).values(values).on_conflict_do_nothing(index_elements=[UpstreamRow.name])
    return uow.execute(statement.returning(UpstreamRow.id)).one_or_none() is not None


def change_upstream(uow: Session, upstream_id: str, values: dict[str, Any]) -> None:
    """Write other values of a server."""
    uow.execute(update(UpstreamRow).where(UpstreamRow.id == upstream_id).values(values))


def remove_upstream(uow: Session, upstream_id: str) -> None:
    """Forget a server."""
    uow.execute(delete(UpstreamRow).where(UpstreamRow.id == upstream_id))


def degraded(uow: Session, name: str) -> DegradedRow | None:
    """Return what is said for an expert when no server answers."""
    return uow.scalar(
        select(DegradedRow).where(DegradedRow.name == name).execution_options(populate_existing=True)
    )


def write_degraded(uow: Session, row: dict[str, Any]) -> None:
    """Write what is said for an expert, over what was written before."""
    statement = insert(DegradedRow).values(row)
    uow.execute(statement.on_conflict_do_update(index_elements=[DegradedRow.name], set_=row))


def remove_degraded(uow: Session, name: str) -> None:
    """Forget what is said for an expert."""
    uow.execute(delete(DegradedRow).where(DegradedRow.name == name))
