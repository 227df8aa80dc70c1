"""The rules of jobs: what people may ask for, and what workers and their children may write."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from sqlalchemy.orm import Session

from engine.jobs import queue as delivery
from engine.jobs import repository
from engine.jobs.models import Job
from engine.jobs.scheduling import QUEUES
from engine.jobs.schemas import ACTIVE, FINISHED, TRANSITIONS, Claim, Fenced, JobView, StopJob
from engine.kit import clock, ids
from engine.kit.errors import Conflict, NotFound
from engine.kit.logs import current_trace

MAX_SILENT_ENDS = 3
"""A job whose process vanishes this often without a new checkpoint has failed."""


# ---- what people ask for


def submit(
    uow: Session,
    *,
    kind: str,
    person_id: str,
    tenant_id: str,
    title: str,
    params: dict[str, Any],
    subject_id: str | None = None,
    queue: str = "normal",
    resource: str = "other",
    memory: int = 0,
) -> JobView:
    """Create a job and queue it; both happen, or neither, when the unit of work ends.

    `resource` names what of the tenant's plan the job takes a place of while it runs. With `memory`, it
    runs once a device has so many bytes free. `scheduling` has the order in which waiting jobs start.
    """
    if queue not in QUEUES:
        raise ValueError(f"no such queue: {queue!r}")
    at = clock.now()
    job = Job(
        id=ids.new_id("job"),
        tenant_id=tenant_id,
        owner_id=person_id,
        kind=kind,
        title=title,
        subject_id=subject_id,
        queue=queue,
        resource=resource,
        memory=memory,
        state="queued",
        params=params,
        trace_id=current_trace() or ids.new_id("tr"),
        created_at=at,
        queued_at=at,
    )
    repository.add(uow, job)
    delivery.wake(uow, job_id=job.id, queue=job.queue)
    return _view(uow, job)


def get(uow: Session, job_id: str, tenant_id: str) -> JobView:
    """Return one job; NotFound when there is none or it belongs to another tenant."""
    job = repository.find(uow, job_id, tenant_id)
    if job is None:
        raise NotFound("jobs.unknown", job_id=job_id)
    return _view(uow, job)


def listing(
    uow: Session,
    tenant_id: str,
    *,
    kinds: Sequence[str] | None = None,
    subject_id: str | None = None,
    limit: int = 50,
) -> list[JobView]:
    """Return a tenant's jobs, newest first."""
    found = repository.listing(uow, tenant_id, kinds=kinds, subject_id=subject_id, limit=limit)
    return [JobView.model_validate(job) for job in found]


def unfinished(uow: Session, tenant_id: str, resource: str) -> int:
    """Count a tenant's jobs of a resource that wait, run or are paused."""
    return repository.count(
        uow, tenant_id, resource, [state for state in TRANSITIONS if state not in FINISHED]
    )


def pause(uow: Session, job_id: str, tenant_id: str) -> JobView:
    """Pause a waiting job at once, or ask a running one to stop at its next chance; else Conflict."""
    job = _owned(uow, job_id, tenant_id)
    return _ask(uow, job, {"queued": "paused", "running": "pausing"}, refusal="jobs.cannot_pause")


def cancel(uow: Session, job_id: str, tenant_id: str) -> JobView:
    """Cancel a waiting or paused job at once, ask a running one to stop; Conflict when it has ended."""
    job = _owned(uow, job_id, tenant_id)
    steps = {"queued": "cancelled", "paused": "cancelled", "running": "cancelling", "pausing": "cancelling"}
    return _ask(uow, job, steps, refusal="jobs.cannot_cancel")


def resume(uow: Session, job_id: str, tenant_id: str) -> JobView:
    """Queue a paused or failed job again; it continues from its checkpoint. Conflict in other states."""
    job = _owned(uow, job_id, tenant_id)
    if job.state not in ("paused", "failed"):
        raise Conflict("jobs.cannot_resume", title=job.title)
    job.error_key, job.error_facts, job.silent_ends = None, {}, 0
    job.queued_at = clock.now()
    _move(uow, job, "queued")
    delivery.wake(uow, job_id=job.id, queue=job.queue)
    return _view(uow, job)


def halt(uow: Session, job_id: str, key: str, facts: dict[str, Any]) -> bool:
    """Pause any tenant's job for a reason of the catalog that its page shows until it goes on.

    `step` among the facts becomes the one at which it has stopped. False when the job neither waits nor runs.
    """
    job = repository.locked(uow, job_id)
    if job is None or job.state not in ("queued", "running"):
        return False
    job.error_key, job.error_facts = key, {**facts, "step": f"{job.done:,}"}
    _move(uow, job, "paused" if job.state == "queued" else "pausing")
    return True


def hurry(uow: Session, job_id: str) -> JobView:
    """Mark any tenant's waiting job urgent. Conflict when it does not wait."""
    job = repository.locked(uow, job_id)
    if job is None:
        raise NotFound("jobs.unknown", job_id=job_id)
    if job.state != "queued":
        raise Conflict("jobs.cannot_hurry", title=job.title)
    job.urgent = True
    return _view(uow, job)


# ---- what workers and their children write


def claim(uow: Session, job_id: str, *, machine: str = "", device_id: str | None = None) -> Claim | None:
    """Take a waiting job for a worker of `machine`; None when it does not wait any more."""
    job = repository.locked(uow, job_id)
    if job is None or job.state != "queued":
        return None
    _move(uow, job, "running")
    job.token += 1
    job.attempt += 1
    job.started_at = job.started_at or clock.now()
    job.machine, job.device_id = machine, device_id
    uow.flush()
    repository.beat(uow, job.id, job.token)
    repository.begin_attempt(uow, job)
    return Claim(job=_view(uow, job), token=job.token, trace_id=job.trace_id)


def held(uow: Session, job_id: str, token: int) -> JobView:
    """Return the job that `token` holds; Fenced when it does not."""
    return _view(uow, _held(uow, job_id, token))


def write(uow: Session, job_id: str, token: int, values: dict[str, Any]) -> str:
    """Write progress columns with the fencing token and return the state; Fenced when it is stale."""
    state = repository.write(uow, job_id, token, values)
    if state is None:
        raise Fenced
    return state


def beat(uow: Session, job_id: str, token: int, *, cpu_ms: int = 0) -> str | None:
    """Renew the heartbeat of a held job and return its state, or None when `token` does not hold it.

    `cpu_ms` is what this attempt has used of processors so far, in milliseconds.
    """
    repository.add_cpu(uow, job_id, token, cpu_ms)
    return repository.beat(uow, job_id, token)


def count_cpu(uow: Session, job_id: str, token: int, cpu_ms: int) -> None:
    """Note what an attempt has used of processors so far, in milliseconds."""
    repository.add_cpu(uow, job_id, token, cpu_ms)


def wish(uow: Session, job_id: str, token: int) -> Literal["pause", "cancel"] | None:
    """Return what people ask of a running job, "pause", "cancel" or None; Fenced when the token is stale."""
    state = repository.held_state(uow, job_id, token)
    if state is None:
        raise Fenced
    if state == "pausing":
        return "pause"
    return "cancel" if state == "cancelling" else None


def succeed(uow: Session, job_id: str, token: int, result: dict[str, Any]) -> JobView:
    """Mark a held job succeeded. StopJob when it was cancelled meanwhile: its result is not wanted."""
    job = _held(uow, job_id, token)
    if job.state == "cancelling":
        raise StopJob
    job.result = result
    _move(uow, job, "succeeded")
    return _view(uow, job)


def fail(uow: Session, job_id: str, token: int, key: str, facts: dict[str, Any]) -> None:
    """Mark a held job failed with a message of the catalog. StopJob when it was cancelled meanwhile."""
    job = _held(uow, job_id, token)
    if job.state == "cancelling":
        raise StopJob
    _fail(uow, job, key, facts)


def ended(
    uow: Session, job_id: str, token: int, *, code: int, handed_back: bool, stopping: bool
) -> str | None:
    """Settle a job whose process is gone with exit status `code` (negative: the signal that ended it).

    A requested pause or cancel is complete now. A process that was killed, or that handed the job
    back, is retried from the checkpoint, up to MAX_SILENT_ENDS times without a new one; a `stopping`
    worker's own stop does not count. Any other exit is a failure. Returns the new state, or None when
    the process had settled the job itself.
    """
    job = repository.locked(uow, job_id)
    if job is None or job.token != token or job.state not in ACTIVE:
        return None
    key, facts = (
        ("jobs.process_killed", {"signal": -code}) if code < 0 else ("jobs.process_exited", {"code": code})
    )
    retry = code < 0 or handed_back or stopping
    _let_go(uow, job, key, facts, retry=retry, counted=not stopping)
    return job.state


def rescue(uow: Session, seconds: float) -> list[str]:
    """Take jobs back from workers that have been silent for `seconds`; wake workers where jobs wait.

    Returns the ids of the jobs taken back. One rescuer works at a time; a second returns at once.
    """
    if not repository.lock_rescue(uow):
        return []
    delivery.drop_stalled(uow, seconds)
    touched = []
    for job in repository.silent(uow, seconds):
        repository.end_attempt(uow, job.id, silent=True)
        _let_go(uow, job, "jobs.worker_lost", {"times": MAX_SILENT_ENDS}, retry=True, counted=True)
        touched.append(job.id)
    uow.flush()
    # A message may be lost with its worker, or have come while the tenant's limit was reached.
    waiting = {job.queue: job.id for job in repository.all_in(uow, ("queued",))}
    for queue, job_id in waiting.items():
        if not delivery.awaited(uow, queue):
            delivery.wake(uow, job_id=job_id, queue=queue)
    return touched


def lock_scheduling(uow: Session) -> None:
    """Become the only one who gives out jobs, until the unit of work ends."""
    repository.lock_scheduling(uow)


def all_in(uow: Session, states: Sequence[str]) -> list[JobView]:
    """Return all tenants' jobs in these states, in order of arrival: for those who give them out."""
    return [JobView.model_validate(job) for job in repository.all_in(uow, states)]


def without_use(uow: Session, job_ids: Sequence[str]) -> set[str]:
    """Return those jobs that will never need their scratch folder again."""
    return repository.in_states(uow, job_ids, ("succeeded", "cancelled"))


# ---- steps shared by both


def _owned(uow: Session, job_id: str, tenant_id: str) -> Job:
    job = repository.find(uow, job_id, tenant_id, lock=True)
    if job is None:
        raise NotFound("jobs.unknown", job_id=job_id)
    return job


def _held(uow: Session, job_id: str, token: int) -> Job:
    job = repository.locked(uow, job_id)
    if job is None or job.token != token or job.state not in ACTIVE:
        raise Fenced
    return job


def _ask(uow: Session, job: Job, steps: dict[str, str], *, refusal: str) -> JobView:
    """Move the job along `steps`."""
    if job.state not in steps:
        raise Conflict(refusal, title=job.title)
    _move(uow, job, steps[job.state])
    return _view(uow, job)


def _let_go(uow: Session, job: Job, key: str, facts: dict[str, Any], *, retry: bool, counted: bool) -> None:
    """Settle a job that nobody holds any more; the old holder's token is void from here on."""
    job.token += 1
    if job.state in ("pausing", "cancelling"):
        if "step" in job.error_facts:
            job.error_facts = {**job.error_facts, "step": f"{job.done:,}"}
        _move(uow, job, "paused" if job.state == "pausing" else "cancelled")
        return
    job.silent_ends += int(counted)
    if not retry or job.silent_ends >= MAX_SILENT_ENDS:
        _fail(uow, job, key, facts)
        return
    _move(uow, job, "queued")
    delivery.wake(uow, job_id=job.id, queue=job.queue)


def _fail(uow: Session, job: Job, key: str, facts: dict[str, Any]) -> None:
    job.error_key = key
    job.error_facts = json.loads(json.dumps(facts, default=str))
    _move(uow, job, "failed")


def _move(uow: Session, job: Job, state: str) -> None:
    """Change the state; a step outside the table of transitions is a mistake in this file.

    Whatever ends an attempt comes by here, so no device stays with a job that has no process.
    """
    if state not in TRANSITIONS[job.state]:
        raise RuntimeError(f"job {job.id} cannot go from {job.state} to {state}")
    if job.state in ACTIVE and state not in ACTIVE:
        repository.end_attempt(uow, job.id)
        job.machine = job.device_id = None
    if state in ("succeeded", "cancelled"):
        job.error_key, job.error_facts = None, {}  # of a pause that did not come to be, or is over
    job.state = state
    job.finished_at = clock.now() if state in FINISHED else None


def _view(uow: Session, job: Job) -> JobView:
    uow.flush()
    uow.refresh(job)
    return JobView.model_validate(job)
