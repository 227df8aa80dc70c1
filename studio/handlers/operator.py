"""The operators' page: machines and devices, what runs, who waits for what, and the plans of tenants."""

from dataclasses import dataclass

from engine.accounts.plans import PLANS
from engine.accounts.schemas import Person
from engine.flows import schedule_jobs as flow
from engine.kit.errors import BadInput
from engine.kit.messages import t
from studio.handlers import access
from studio.views import operator as views


@dataclass(frozen=True)
class Board:
    """What moves on the page; `choices` are the waiting jobs that are not urgent yet: (words, id)."""

    machines: str
    running: str
    waiting: str
    choices: list[tuple[str, str]]


@dataclass(frozen=True)
class Plans:
    """The tenants with their plans, and what can be chosen."""

    table: str
    tenants: list[tuple[str, str]]
    plans: list[str]


def board(person: Person, language: str) -> Board:
    """Return machines, running and waiting jobs. Raises Forbidden for others than operators."""
    now = flow.overview(person)
    return Board(
        machines=views.machines(now, language),
        running=views.running(now.running, language),
        waiting=views.waiting(now.waiting, language),
        choices=[
            (f"{each.tenant.name}: {access.job_title(each.job, language)}", each.job.id)
            for each in now.waiting
            if not each.job.urgent
        ],
    )


def plans(person: Person, language: str) -> Plans:
    """Return the tenants with what they used this month. Raises Forbidden for others than operators."""
    found = flow.tenants(person)
    return Plans(
        table=views.tenants(found, language),
        tenants=[(f"{tenant.name} ({tenant.plan})", tenant.id) for tenant, _ in found],
        plans=list(PLANS),
    )


def hurry(person: Person, job_id: str | None, language: str) -> str:
    """Put a waiting job before others and say so. Raises BadInput, NotFound, Conflict."""
    if not job_id:
        raise BadInput("studio.choose_job", field="job")
    job = flow.hurry(person, job_id)
    return t("studio.hurried", language, title=job.title)


def change_plan(person: Person, tenant_id: str | None, plan: str | None, language: str) -> str:
    """Give a tenant another plan and say so. Raises BadInput, NotFound."""
    if not tenant_id:
        raise BadInput("studio.choose_tenant", field="tenant")
    tenant = flow.change_plan(person, tenant_id, plan or "")
    return t("studio.plan_changed", language, name=tenant.name, plan=tenant.plan)
