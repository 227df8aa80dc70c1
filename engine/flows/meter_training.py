"""Charging trainings for the machine time that they take, and pausing them where the credits run out.

Each attempt has a meter from the moment it is given out. Meters are locked before wallets, and both before
jobs: a job is paused in a unit of work of its own.
"""

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy.orm import Session

from engine.billing import meters
from engine.billing import service as billing
from engine.billing.meters import Charged
from engine.billing.schemas import MeterView, Rates
from engine.jobs import metered
from engine.jobs import service as jobs
from engine.jobs.schemas import Claim, JobView
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import InsufficientCredit
from engine.kit.logs import logger
from engine.kit.money import format_credits
from engine.kit.settings import settings

METERED = ("training",)
"""The resources whose jobs are charged: trainings, searches, and the measuring of prompts."""
AHEAD = 5 * 60_000
"""Milliseconds that a wallet has to cover before a training goes on, or begins without an estimate."""
SETTLED = timedelta(seconds=60)
"""How long after its end an attempt is closed by others than its worker, which may be counting still."""
ANEW = ("training.prompt",)
"""Kinds of jobs that begin anew after a pause."""

log = logger(__name__)


def rates() -> Rates:
    """Return what machine time costs now; an attempt keeps the rates that it began with."""
    return Rates(cpu_hour_micro=settings().cpu_hour_micro, gpu_hour_micro=settings().gpu_hour_micro)


def cost_of(milliseconds: int, *, device: bool, processors: int = 1) -> int:
    """Return what a training costs for so long: a GPU with the processor that feeds it, or processors."""
    return rates().cost(milliseconds * processors, milliseconds if device else 0)


def begin(uow: Session, claim: Claim) -> None:
    """Set up the meter of an attempt; in the transaction that gives it out."""
    job = claim.job
    if job.resource in METERED:
        meters.start(
            uow,
            key=_key(job.id, claim.token),
            tenant_id=job.tenant_id,
            work_id=job.id,
            subject={"job_id": job.id, "job_kind": job.kind, "title": job.title},
            rates=rates(),
        )


def ended(job_id: str, token: int) -> None:
    """Charge an attempt whose process is gone, for the last time. What fails here is the chore's to do."""
    try:
        _charge(_key(job_id, token), last=True)
    except Exception:
        log.exception("an attempt was not charged at its end", job=job_id)


def chore() -> int:
    """Charge what runs, close what has ended, pause what is not paid; return how many meters were looked at.

    Any number of workers may do it at once.
    """
    with unit_of_work() as uow:
        running = meters.running(uow)
    for meter in running:
        try:
            _charge(meter.key)
        except Exception:
            log.exception("a meter was not charged", meter=meter.key)
    return len(running)


def charged(uow: Session, job: JobView) -> Charged:
    """Return what a job was charged so far, and what of its cost was not paid."""
    return meters.charged(uow, job.tenant_id, job.id)


def shortage(uow: Session, job: JobView) -> InsufficientCredit | None:
    """Return why a waiting or paused training must not go on, None when its wallet covers what comes next.

    That is what was not paid before, and five minutes more, or the rest of its estimate if that is less.
    """
    if job.resource not in METERED or rates().free:
        return None
    soon = cost_of(AHEAD, device=bool(job.memory))
    estimate = job.params.get("estimate_micro")
    rest = 0 if estimate is None else estimate - charged(uow, job).paid
    return lacking(uow, job.tenant_id, min(soon, rest) if rest > 0 else soon, "machine.too_little_to_go_on")


def lacking(uow: Session, tenant_id: str, needed: int, key: str) -> InsufficientCredit | None:
    """Return the refusal `key` if a wallet does not cover `needed` beside what trainings owe, else None."""
    if rates().free:
        return None
    owed, balance = meters.unpaid(uow, tenant_id), billing.balance(uow, tenant_id)
    if balance >= needed + owed:
        return None
    free = "_add" if settings().free_credits else ""
    return InsufficientCredit(
        f"{key}{free}",
        needed=format_credits(needed + owed),
        balance=format_credits(balance),
        missing=format_credits(needed + owed - balance),
    )


def resume(uow: Session, job_id: str, tenant_id: str) -> JobView:
    """Resume a job as the jobs room does, once its wallet covers what comes next.

    Raises InsufficientCredit saying what is missing, Conflict for a job that cannot go on.
    """
    job = jobs.get(uow, job_id, tenant_id)
    if job.state in ("paused", "failed"):
        settle_first(uow, tenant_id, lambda: shortage(uow, job))
    return jobs.resume(uow, job_id, tenant_id)


def settle_first(uow: Session, tenant_id: str, short: Callable[[], InsufficientCredit | None]) -> None:
    """Take what earlier trainings were not paid, unless the wallet is too short for what is to begin now."""
    if refusal := short():
        raise refusal
    if meters.unpaid(uow, tenant_id):
        meters.collect(uow, tenant_id)


def hold_back(job: JobView) -> None:
    """Pause a waiting training whose wallet does not cover what comes next."""
    with unit_of_work() as uow:
        if shortage(uow, job):
            jobs.halt(uow, job.id, _out(job), {})


def _key(job_id: str, token: int) -> str:
    return f"{job_id}:{token}"


def attempt_of(key: str) -> metered.Attempt:
    """Return the attempt of a meter."""
    job_id, _, token = key.rpartition(":")
    return job_id, int(token)


def _charge(key: str, *, last: bool = False) -> None:
    attempt = attempt_of(key)
    with unit_of_work() as uow:
        found = metered.measured(uow, [attempt]).get(attempt)
        if found is None:
            return
        over = found.ended_at is not None and found.ended_at < now() - SETTLED
        meter = meters.charge(uow, key, cpu_ms=found.cpu_ms, gpu_ms=found.gpu_ms, last=last or over)
    if meter is not None and meter.unpaid_micro and found.ended_at is None:
        _pause(meter)


def _pause(meter: MeterView) -> None:
    with unit_of_work() as uow:
        job = jobs.get(uow, meter.work_id, meter.tenant_id)
        paused = job.state == "running" and jobs.halt(uow, job.id, _out(job), {})
    if paused:
        log.warning("a training was paused for want of credits", job=meter.work_id, unpaid=meter.unpaid_micro)


def _out(job: JobView) -> str:
    """Return the words for why a job waits for credits."""
    if job.kind in ANEW:
        return "machine.credits_out_anew"
    return "machine.credits_out" if job.attempt else "machine.credits_out_before"
