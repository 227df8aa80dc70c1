"""The SQL of jobs."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.jobs.models import DeviceRow, Job, JobAttempt, Machine
from engine.jobs.schemas import ACTIVE

_RESCUE_LOCK = 0x6D62656A  # any number that no other advisory lock of the product uses ("mbej")
_SCHEDULING_LOCK = 0x6D626573  # "mbes"


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


def count(uow: Session, tenant_id: str, resource: str, states: Iterable[str]) -> int:
    """Return how many jobs of a resource a tenant has in these states."""
    query = select(func.count()).select_from(Job).where(Job.tenant_id == tenant_id, Job.resource == resource)
    return uow.execute(query.where(Job.state.in_(list(states)))).scalar_one()


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


def lock_scheduling(uow: Session) -> None:
    """Become the only one who gives out jobs, until this transaction ends."""
    uow.execute(select(func.pg_advisory_xact_lock(_SCHEDULING_LOCK)))


def all_in(uow: Session, states: Iterable[str]) -> Sequence[Job]:
    """Return all tenants' jobs in these states, in order of arrival."""
    query = select(Job).where(Job.state.in_(list(states))).order_by(Job.queued_at, Job.id)
    return uow.scalars(query.execution_options(populate_existing=True)).all()


def begin_attempt(uow: Session, job: Job) -> None:
    """Open the books of an attempt at a job."""
    values = {"job_id": job.id, "token": job.token, "tenant_id": job.tenant_id, "machine": job.machine or ""}
    row = values | {"device_id": job.device_id, "started_at": func.now(), "cpu_ms": 0}
    uow.execute(insert(JobAttempt).values(**row))


def end_attempt(uow: Session, job_id: str, *, silent: bool = False) -> None:
    """Close the open attempt at a job: now, or, of a `silent` worker, when it was heard last."""
    heard = select(Job.heartbeat_at).where(Job.id == job_id).scalar_subquery()
    held = (JobAttempt.job_id == job_id) & JobAttempt.ended_at.is_(None)
    at = func.greatest(heard, JobAttempt.started_at) if silent else func.now()
    uow.execute(update(JobAttempt).where(held).values(ended_at=at))


def add_cpu(uow: Session, job_id: str, token: int, cpu_ms: int) -> None:
    """Record what an attempt has used so far; a smaller number than before changes nothing."""
    query = update(JobAttempt).where(JobAttempt.job_id == job_id, JobAttempt.token == token)
    uow.execute(query.values(cpu_ms=func.greatest(JobAttempt.cpu_ms, cpu_ms)))


def spent(uow: Session, tenant_ids: Iterable[str], since: datetime) -> dict[str, tuple[float, float]]:
    """Return what attempts have cost since then, by tenant: seconds of processor, and of a device."""
    ended = func.coalesce(JobAttempt.ended_at, func.now())
    took = func.extract("epoch", ended - func.greatest(JobAttempt.started_at, since))
    whole = func.extract("epoch", ended - JobAttempt.started_at)
    # Of an attempt that began before, the part of the processor's time that fell into the time since.
    used = JobAttempt.cpu_ms / 1000.0 * func.coalesce(took / func.nullif(whole, 0), 1)
    query = (
        select(
            JobAttempt.tenant_id,
            func.sum(used),
            func.coalesce(func.sum(took).filter(JobAttempt.device_id.is_not(None)), 0),
        )
        .where(JobAttempt.tenant_id.in_(list(tenant_ids)), ended >= since)
        .group_by(JobAttempt.tenant_id)
    )
    return {tenant: (float(cpu), float(gpu)) for tenant, cpu, gpu in uow.execute(query)}


def spent_on(uow: Session, job_id: str) -> tuple[float, float]:
    """Return what all attempts at a job have cost: seconds of processor, and of a device."""
    took = func.extract("epoch", func.coalesce(JobAttempt.ended_at, func.now()) - JobAttempt.started_at)
    query = select(
        func.coalesce(func.sum(JobAttempt.cpu_ms), 0) / 1000.0,
        func.coalesce(func.sum(took).filter(JobAttempt.device_id.is_not(None)), 0),
    ).where(JobAttempt.job_id == job_id)
    cpu, gpu = uow.execute(query).one()
    return float(cpu), float(gpu)


def measured(uow: Session, attempts: Iterable[tuple[str, int]]) -> Sequence[Any]:
    """Return the processor's and the device's milliseconds of attempts, and when they ended."""
    # While an attempt runs, its device's time ends with the heartbeat of the token that still holds the job.
    heard = func.greatest(JobAttempt.started_at, Job.heartbeat_at)
    until = func.coalesce(JobAttempt.ended_at, heard)
    took = func.round(func.extract("epoch", until - JobAttempt.started_at) * 1000)
    query = (
        select(
            JobAttempt.job_id,
            JobAttempt.token,
            JobAttempt.cpu_ms,
            case((JobAttempt.device_id.is_not(None), took), else_=0).label("gpu_ms"),
            JobAttempt.ended_at,
        )
        .join(Job, Job.id == JobAttempt.job_id)
        .where(tuple_(JobAttempt.job_id, JobAttempt.token).in_(list(attempts)))
    )
    return uow.execute(query).all()


def begun(uow: Session, resources: Iterable[str], since: datetime, until: datetime) -> list[tuple[str, int]]:
    """Return the attempts at jobs of some resources that began in a time."""
    query = (
        select(JobAttempt.job_id, JobAttempt.token)
        .join(Job, Job.id == JobAttempt.job_id)
        .where(Job.resource.in_(list(resources)))
        .where(JobAttempt.started_at >= since, JobAttempt.started_at < until)
    )
    return [(job_id, token) for job_id, token in uow.execute(query)]


def put_machine(uow: Session, name: str, slots: int) -> None:
    """Note that a machine lives."""
    values = {"slots": slots, "seen_at": func.now()}
    statement = insert(Machine).values(name=name, **values)
    uow.execute(statement.on_conflict_do_update(index_elements=[Machine.name], set_=values))


def put_devices(uow: Session, machine: str, rows: Sequence[dict[str, Any]]) -> None:
    """Replace the devices of a machine."""
    kept = [row["id"] for row in rows]
    uow.execute(delete(DeviceRow).where(DeviceRow.machine == machine, DeviceRow.id.not_in(kept)))
    for row in rows:
        statement = insert(DeviceRow).values(**row)
        uow.execute(statement.on_conflict_do_update(index_elements=[DeviceRow.id], set_=row))


def machines(uow: Session, seconds: float) -> Sequence[Machine]:
    """Return the machines that gave a sign of life within `seconds`, by name."""
    alive = Machine.seen_at >= func.now() - timedelta(seconds=seconds)
    return uow.scalars(select(Machine).where(alive).order_by(Machine.name)).all()


def devices(uow: Session, machine_names: Iterable[str]) -> Sequence[DeviceRow]:
    """Return the devices of machines, by machine and place."""
    query = select(DeviceRow).where(DeviceRow.machine.in_(list(machine_names)))
    return uow.scalars(query.order_by(DeviceRow.machine, DeviceRow.number)).all()


def in_states(uow: Session, ids: Iterable[str], states: Iterable[str]) -> set[str]:
    """Return those of `ids` whose job is in one of `states`."""
    return set(uow.scalars(select(Job.id).where(Job.id.in_(list(ids)), Job.state.in_(list(states)))))
