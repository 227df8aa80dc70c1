"""The SQL of jobs."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import String, cast, column, func, select, table, update
from sqlalchemy.orm import Session

from engine.jobs.models import Job
from engine.jobs.schemas import ACTIVE

_RESCUE_LOCK = 0x6D62656A  # any number that no other advisory lock of the product uses ("mbej")
_deliveries = table("procrastinate_jobs", column("id"), column("status"))


def add(uow: Session, job: Job) -> None:
    """Insert a job."""
    uow.add(job)
    uow.flush()


def find(uow: Session, job_id: str, tenant_id: str, *, lock: bool = False) -> Job | None:
    """Return a tenant's job; with `lock` its row stays locked until the transaction ends."""
    query = select(Job).where(Job.id == job_id, Job.tenant_id == tenant_id)
    if lock:
        query = query.with_for_update().execution_options(populate_existing=True)
    return uow.scalars(query).one_or_none()


def locked(uow: Session, job_id: str) -> Job | None:
    """Return any tenant's job, locked: for workers, which serve all tenants."""
    query = select(Job).where(Job.id == job_id).with_for_update()
    return uow.scalars(query.execution_options(populate_existing=True)).one_or_none()


def listing(
    uow: Session, tenant_id: str, *, kinds: Sequence[str] | None, subject_id: str | None, limit: int
) -> Sequence[Job]:
    """Return a tenant's jobs, newest first."""
    query = select(Job).where(Job.tenant_id == tenant_id)
    if kinds is not None:
        query = query.where(Job.kind.in_(kinds))
    if subject_id is not None:
        query = query.where(Job.subject_id == subject_id)
    query = query.order_by(Job.created_at.desc(), Job.id.desc()).limit(limit)
    return uow.scalars(query.execution_options(populate_existing=True)).all()


def write(uow: Session, job_id: str, token: int, values: dict[str, Any]) -> str | None:
    """Update the job if `token` still holds it and return its state, else return None."""
    statement = (
        update(Job)
        .where(Job.id == job_id, Job.token == token, Job.state.in_(ACTIVE))
        .values(**values)
        .returning(Job.state)
        .execution_options(synchronize_session=False)
    )
    return uow.scalar(statement)


def beat(uow: Session, job_id: str, token: int) -> str | None:
    """Renew the heartbeat if `token` still holds the job and return its state, else return None."""
    return write(uow, job_id, token, {"heartbeat_at": func.now()})


def held_state(uow: Session, job_id: str, token: int) -> str | None:
    """Return the job's state if `token` still holds it, else None."""
    query = select(Job.state).where(Job.id == job_id, Job.token == token, Job.state.in_(ACTIVE))
    return uow.scalar(query)


def lock_rescue(uow: Session) -> bool:
    """Become the only rescuer until this transaction ends; False when another already is."""
    return bool(uow.scalar(select(func.pg_try_advisory_xact_lock(_RESCUE_LOCK))))


def silent(uow: Session, seconds: float) -> Sequence[Job]:
    """Return, locked, the held jobs without a heartbeat for `seconds`. Rows being written are alive."""
    query = (
        select(Job)
        .where(Job.state.in_(ACTIVE), Job.heartbeat_at < func.now() - timedelta(seconds=seconds))
        .with_for_update(skip_locked=True)
    )
    return uow.scalars(query.execution_options(populate_existing=True)).all()


def undelivered(uow: Session) -> Sequence[Job]:
    """Return, locked, the waiting jobs whose message has left the queue."""
    waiting = select(_deliveries.c.id).where(
        _deliveries.c.id == Job.delivery_id, cast(_deliveries.c.status, String).in_(("todo", "doing"))
    )
    query = (
        select(Job).where(Job.state == "queued", ~waiting.exists()).with_for_update(of=Job, skip_locked=True)
    )
    return uow.scalars(query.execution_options(populate_existing=True)).all()


def in_states(uow: Session, ids: Iterable[str], states: Iterable[str]) -> set[str]:
    """Return those of `ids` whose job is in one of `states`."""
    return set(uow.scalars(select(Job.id).where(Job.id.in_(list(ids)), Job.state.in_(list(states)))))
