"""API keys and projects: made, changed and put away, a key's cap together with the budget behind it."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from engine.accounts import keys as accounts
from engine.accounts import projects as parts
from engine.accounts.schemas import ApiKeyView, KeyTerms, Person, ProjectTerms, ProjectView
from engine.billing import service as billing
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound


class KeyStanding(ApiKeyView):
    """A key, the name of its project, and what was spent of its cap."""

    project: str | None
    spent_micro: int


def keys(person: Person) -> list[KeyStanding]:
    """Return the person's API keys, newest first."""
    with unit_of_work() as uow:
        found = accounts.listing(uow, person)
        names = {project.id: project.name for project in parts.listing(uow, person.tenant_id)}
        spent = billing.spent(uow, [key.budget_id for key in found if key.budget_id])
    return [
        KeyStanding(
            **key.model_dump(),
            project=names.get(key.project_id or ""),
            spent_micro=spent.get(key.budget_id or "", 0),
        )
        for key in found
    ]


def key(person: Person, key_id: str) -> KeyStanding:
    """Return one of the person's keys. Raises NotFound."""
    for one in keys(person):
        if one.id == key_id:
            return one
    raise NotFound("accounts.no_key")


def create_key(person: Person, terms: KeyTerms) -> tuple[ApiKeyView, str]:
    """Make an API key; the secret is returned this once."""
    with unit_of_work() as uow:
        made, secret = accounts.create(uow, person=person, terms=terms)
        _cap(uow, person, made)
    return made, secret


def change_key(person: Person, key_id: str, changes: Mapping[str, Any]) -> ApiKeyView:
    """Change terms of a key, named as in KeyTerms. What was spent of a cap stays spent when it changes."""
    with unit_of_work() as uow:
        changed = accounts.change(uow, person=person, key_id=key_id, changes=changes)
        if "cap_micro" in changes:
            _cap(uow, person, changed)
    return changed


def _cap(uow: Session, person: Person, made: ApiKeyView) -> None:
    if made.budget_id is not None and made.cap_micro is not None:
        billing.set_budget(
            uow, budget_id=made.budget_id, tenant_id=person.tenant_id, limit_micro=made.cap_micro
        )


def rotate_key(person: Person, key_id: str) -> tuple[ApiKeyView, str]:
    """Give a key another secret, returned this once; the one before it is dead at once."""
    with unit_of_work() as uow:
        return accounts.rotate(uow, person=person, key_id=key_id)


def revoke_key(person: Person, key_id: str) -> None:
    """Make one of the person's keys useless at once."""
    with unit_of_work() as uow:
        accounts.revoke(uow, person=person, key_id=key_id)


def projects(person: Person) -> list[ProjectView]:
    """Return the projects of the person's tenant by name, archived ones included."""
    with unit_of_work() as uow:
        return parts.listing(uow, person.tenant_id)


def create_project(person: Person, terms: ProjectTerms) -> ProjectView:
    """Make a project in the person's tenant."""
    with unit_of_work() as uow:
        return parts.create(uow, person=person, terms=terms)


def change_project(person: Person, project_id: str, changes: Mapping[str, Any]) -> ProjectView:
    """Change terms of a project, named as in ProjectTerms."""
    with unit_of_work() as uow:
        return parts.change(uow, person=person, project_id=project_id, changes=changes)


def archive_project(person: Person, project_id: str) -> None:
    """Put a project away; its keys are refused from now on."""
    with unit_of_work() as uow:
        parts.archive(uow, person=person, project_id=project_id)
