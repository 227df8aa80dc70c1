"""What a tenant's plan allows, said before work is entered; and what of it is used."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.orm import Session

from engine.accounts import service as accounts
from engine.accounts.plans import HOUR, Plan
from engine.accounts.schemas import Person
from engine.flows.schedule_jobs import month_began
from engine.jobs import machines
from engine.jobs import service as jobs
from engine.jobs.schemas import Spent
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import Forbidden, TooMany
from engine.knowledge import service as knowledge
from engine.market import service as market
from engine.uploads import service as uploads


@dataclass(frozen=True, kw_only=True)
class Use:
    """A plan and what a tenant uses of it; `spent` is this month's."""

    plan: Plan
    spent: Spent
    storage_bytes: int
    knowledge_bases: int
    models: int


def mine(person: Person) -> Use:
    """Return the plan of the person's tenant and what is used of it."""
    with unit_of_work() as uow:
        tenant = person.tenant_id
        return Use(
            plan=accounts.plan(uow, tenant),
            spent=_spent(uow, tenant),
            storage_bytes=knowledge.stored_bytes(uow, tenant),
            knowledge_bases=len(knowledge.bases(uow, tenant)),
            models=_models(uow, tenant),
        )


def barred(person: Person, require: Callable[[Session, str], None]) -> Forbidden | None:
    """Return why the plan of the person's tenant does not let them begin something, None when it does.

    `require` is one of the functions below: pages ask it before somebody fills a form in.
    """
    try:
        with unit_of_work() as uow:
            require(uow, person.tenant_id)
    except Forbidden as refusal:
        return refusal
    return None


def require_base(uow: Session, tenant_id: str) -> None:
    """Raise Forbidden when the plan has no room for one more knowledge base."""
    plan = accounts.held_plan(uow, tenant_id)
    if plan.knowledge_bases is not None and len(knowledge.bases(uow, tenant_id)) >= plan.knowledge_bases:
        raise Forbidden("plans.bases", field="name", plan=plan.name, most=plan.knowledge_bases)


def require_upload(uow: Session, tenant_id: str, name: str, sha256: str) -> None:
    """Raise TooMany while as many other uploads are under way as the plan takes at once."""
    plan = accounts.held_plan(uow, tenant_id)
    if uploads.under_way(uow, tenant_id, sha256) >= plan.uploads:
        raise TooMany("plans.uploads", plan=plan.name, most=plan.uploads, name=name)


def storage(uow: Session, tenant_id: str) -> int | None:
    """Return the bytes that the plan lets a tenant keep; None without a limit."""
    return accounts.plan(uow, tenant_id).storage_bytes


def require_time(uow: Session, tenant_id: str, *, device: bool = False) -> None:
    """Raise Forbidden when this month's hours are used up."""
    plan, spent = accounts.plan(uow, tenant_id), _spent(uow, tenant_id)
    most, used = (plan.gpu_seconds, spent.gpu) if device else (plan.cpu_seconds, spent.cpu)
    if most is not None and used >= most:
        key = "plans.gpu_hours" if device else "plans.cpu_hours"
        raise Forbidden(key, plan=plan.name, hours=most // HOUR)


def require_training(uow: Session, tenant_id: str, *, device: bool | None = None) -> None:
    """Raise Forbidden when the plan has no training, no room for the model, or no hours left.

    `device` tells which hours it would take, those of GPUs or of processors; without it none are looked at.
    """
    plan = accounts.held_plan(uow, tenant_id)
    if not plan.training:
        raise Forbidden("plans.no_training", plan=plan.name)
    if plan.models is not None and _models(uow, tenant_id) >= plan.models:
        raise Forbidden("plans.models", plan=plan.name, most=plan.models)
    if device is not None:
        require_time(uow, tenant_id, device=device)


def _models(uow: Session, tenant_id: str) -> int:
    """Count the tenant's experts, with those that are being trained."""
    trainings = jobs.unfinished(uow, tenant_id, "training")
    return sum(expert.state != "retired" for expert in market.mine(uow, tenant_id)) + trainings


def _spent(uow: Session, tenant_id: str) -> Spent:
    return machines.spent(uow, [tenant_id], month_began(now()))[tenant_id]
