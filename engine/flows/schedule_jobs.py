"""Which waiting job starts next, by the plans of all tenants, and what keeps the others."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from engine.accounts import service as accounts
from engine.accounts.plans import Plan
from engine.accounts.schemas import Person, TenantView
from engine.accounts.service import require
from engine.flows import meter_training
from engine.jobs import machines, scheduling
from engine.jobs import service as jobs
from engine.jobs.costs import Cost
from engine.jobs.scheduling import Candidate, Device, Place, Terms
from engine.jobs.schemas import ACTIVE, Claim, JobView, MachineView, Spent
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.settings import settings


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A waiting job with its place in line, and the plan of its tenant."""

    job: JobView
    place: Place
    tenant: TenantView


@dataclass(frozen=True, kw_only=True)
class Overview:
    """All that an operator watches: machines, what runs on them, and who waits for what."""

    machines: list[MachineView]
    running: list[tuple[JobView, TenantView]]
    waiting: list[Waiting]


def next_job(queues: Sequence[str], machine: str) -> Claim | None:
    """Take the job that this machine's worker does next in these queues; None when there is none.

    One decision is made at a time, on what is true at that moment: no limit can be exceeded by two
    workers that look at once.
    """
    while True:
        claim, short = _next(queues, machine)
        if short is None:
            return claim
        meter_training.hold_back(short)


def _next(queues: Sequence[str], machine: str) -> tuple[Claim | None, JobView | None]:
    """Return the job that was taken; or one whose turn it is, but whose wallet does not cover its start."""
    with unit_of_work() as uow:
        jobs.lock_scheduling(uow)
        waiting = jobs.all_in(uow, ("queued",))
        by_id = {job.id: job for job in waiting}
        for place in _line(uow, waiting, machine):
            elsewhere = place.device_id is not None and not place.device_id.startswith(f"{machine}/")
            if place.reason != "turn" or by_id[place.job_id].queue not in queues or elsewhere:
                continue
            # It may have been cancelled a moment ago; then the next one's turn has come.
            if meter_training.shortage(uow, by_id[place.job_id]):
                return None, by_id[place.job_id]
            if claim := jobs.claim(uow, place.job_id, machine=machine, device_id=place.device_id):
                meter_training.begin(uow, claim)
                return claim, None
    return None, None


def place(job: JobView) -> Place | None:
    """Return where a job stands in line; None when it does not wait."""
    with unit_of_work() as uow:
        found = _line(uow, jobs.all_in(uow, ("queued",)))
    return next((each for each in found if each.job_id == job.id), None)


def cost(job: JobView) -> Cost:
    """Return what was spent on a job so far, and how much of it no checkpoint holds."""
    with unit_of_work() as uow:
        paid, unpaid = meter_training.charged(uow, job)
        spent = machines.spent_on(uow, job.id)
    return Cost.of(job, spent, charged_micro=paid, unpaid_micro=unpaid)


def overview(person: Person) -> Overview:
    """Return what all tenants' jobs do, for operators."""
    require(person, "operator")
    with unit_of_work() as uow:
        tenants = {tenant.id: tenant for tenant in accounts.tenants(uow)}
        waiting = {job.id: job for job in jobs.all_in(uow, ("queued",))}
        return Overview(
            machines=_machines(uow),
            running=[(job, tenants[job.tenant_id]) for job in jobs.all_in(uow, ACTIVE)],
            waiting=[
                Waiting(job=waiting[each.job_id], place=each, tenant=tenants[waiting[each.job_id].tenant_id])
                for each in _line(uow, list(waiting.values()))
            ],
        )


def hurry(person: Person, job_id: str) -> JobView:
    """Mark a waiting job of any tenant urgent. Raises NotFound, Conflict when it does not wait any more."""
    require(person, "operator")
    with unit_of_work() as uow:
        return jobs.hurry(uow, job_id)


def tenants(person: Person) -> list[tuple[TenantView, Spent]]:
    """Return all tenants with what their jobs cost this month, for operators."""
    require(person, "operator")
    with unit_of_work() as uow:
        found = accounts.tenants(uow)
        spent = machines.spent(uow, [tenant.id for tenant in found], month_began(now()))
    return [(tenant, spent[tenant.id]) for tenant in found]


def change_plan(person: Person, tenant_id: str, plan: str) -> TenantView:
    """Give a tenant another plan; what runs goes on. Raises NotFound and BadInput."""
    require(person, "operator")
    with unit_of_work() as uow:
        return accounts.change_plan(uow, tenant_id, plan)


def month_began(at: datetime) -> datetime:
    """Return when the month began (UTC): hours count from there."""
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def _line(uow: Session, waiting: Sequence[JobView], first_machine: str = "") -> list[Place]:
    if not waiting:
        return []
    at = now()
    tenant_ids = {job.tenant_id for job in waiting}
    plans = accounts.plans(uow, tenant_ids)
    spent = machines.spent(uow, tenant_ids, month_began(at))
    # Whoever asks gets a device of its own machine before others.
    devices = sorted(_devices(_machines(uow)), key=lambda device: device.machine != first_machine)
    return scheduling.line(
        map(_candidate, waiting),
        list(map(_candidate, jobs.all_in(uow, ACTIVE))),
        {tenant: terms(plans[tenant], spent[tenant]) for tenant in tenant_ids},
        devices,
        at,
    )


def terms(plan: Plan, spent: Spent) -> Terms:
    """Return what a plan grants to jobs, in the words of the jobs room."""
    return Terms(
        bonus=plan.bonus,
        concurrent={"indexing": plan.indexing, "training": plan.training},
        cpu_left=None if plan.cpu_seconds is None else plan.cpu_seconds - spent.cpu,
        gpu_left=None if plan.gpu_seconds is None else plan.gpu_seconds - spent.gpu,
    )


def _machines(uow: Session) -> list[MachineView]:
    return machines.listing(uow, settings().job_heartbeat_timeout)


def _devices(found: Iterable[MachineView]) -> list[Device]:
    return [
        Device(id=device.id, machine=device.machine, memory=device.memory)
        for machine in found
        for device in machine.devices
    ]


def _candidate(job: JobView) -> Candidate:
    return Candidate(
        job_id=job.id,
        tenant_id=job.tenant_id,
        queue=job.queue,
        resource=job.resource,
        since=job.queued_at,
        urgent=job.urgent,
        memory=job.memory,
        device_id=job.device_id,
    )
