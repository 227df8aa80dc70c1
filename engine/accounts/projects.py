"""Rules about projects: parts of a tenant's work with limits of their own."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from engine.accounts import repository
from engine.accounts.models import ProjectRow
from engine.accounts.schemas import Caller, Person, ProjectTerms, ProjectView
from engine.accounts.service import require
from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from engine.kit.ids import new_id

HIGHEST = 1_000_000_000
LIMITS = ("requests_per_minute", "tokens_per_minute", "parallel")
KEEPERS = ("developer", "consumer", "operator")
"""Roles whose people may make and change projects of their tenant."""


def check_limits(terms: object, names: Iterable[str]) -> None:
    """Raise BadInput naming the first of these limits that is not None or from 1 to a thousand million."""
    for name in names:
        limit = getattr(terms, name)
        if limit is not None and not 1 <= limit <= HIGHEST:
            raise BadInput("accounts.bad_limit", field=name, most=f"{HIGHEST:,}")


def _checked(terms: ProjectTerms) -> ProjectTerms:
    name = terms.name.strip()
    if not (1 <= len(name) <= 100 and name.isprintable()):
        raise BadInput("accounts.project_name", field="name")
    check_limits(terms, (*LIMITS, "requests_per_day"))
    return replace(terms, name=name)


def _own(uow: Session, person: Person, project_id: str) -> ProjectRow:
    require(person, *KEEPERS)
    row = repository.own_project(uow, project_id, person.tenant_id)
    if row is None or row.archived_at is not None:
        raise NotFound("accounts.no_project", field="project", project=project_id[:100])
    return row


def _written(uow: Session, row: ProjectRow, terms: ProjectTerms) -> ProjectView:
    try:
        with uow.begin_nested():
            for field in fields(terms):
                setattr(row, field.name, getattr(terms, field.name))
            uow.add(row)
    except IntegrityError as error:
        raise Conflict("accounts.project_taken", field="name", name=terms.name) from error
    return ProjectView.model_validate(row)


def create(uow: Session, *, person: Person, terms: ProjectTerms) -> ProjectView:
    """Make a project in the person's tenant.

    Raises Forbidden without the role, BadInput naming the field, Conflict for a name that the tenant's
    projects have had.
    """
    require(person, *KEEPERS)
    return _written(uow, ProjectRow(id=new_id("prj"), tenant_id=person.tenant_id), _checked(terms))


def change(uow: Session, *, person: Person, project_id: str, changes: Mapping[str, Any]) -> ProjectView:
    """Change some of a project's terms, named as in ProjectTerms.

    Raises NotFound for another tenant's or an archived one, and what `create` raises.
    """
    row = _own(uow, person, project_id)
    before = ProjectTerms(**{field.name: getattr(row, field.name) for field in fields(ProjectTerms)})
    return _written(uow, row, _checked(replace(before, **changes)))


def archive(uow: Session, *, person: Person, project_id: str) -> None:
    """Put a project away: nothing can be called under it any more, and its keys are refused.

    Raises NotFound for another tenant's or an archived one, Forbidden without the role.
    """
    _own(uow, person, project_id).archived_at = now()
    uow.flush()


def listing(uow: Session, tenant_id: str) -> list[ProjectView]:
    """Return a tenant's projects by name, archived ones included."""
    return [ProjectView.model_validate(row) for row in repository.projects(uow, tenant_id)]


def project(uow: Session, tenant_id: str, name_or_id: str) -> ProjectView:
    """Return a tenant's project by its id or name. Raises NotFound, also for an archived one."""
    row = repository.project(uow, tenant_id, name_or_id.strip())
    if row is None:
        raise NotFound("accounts.no_project", field="project", project=name_or_id[:100])
    return ProjectView.model_validate(row)


def chosen(uow: Session, caller: Caller, name_or_id: str) -> Caller:
    """Return the caller calling for this project.

    Raises NotFound when the tenant has no such project, Forbidden when the key belongs to another one.
    """
    found = project(uow, caller.person.tenant_id, name_or_id)
    if caller.key is not None and caller.key.project_id not in (None, found.id):
        raise Forbidden("accounts.key_project", field="project", project=found.name)
    return replace(caller, project=found)
