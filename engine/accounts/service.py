"""Rules about people: signing in, roles, plans. Their keys are in `keys`, their projects in `projects`."""

import secrets
from collections.abc import Collection, Iterable
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from engine.accounts import repository
from engine.accounts.models import PersonRow, TenantRow
from engine.accounts.plans import PLANS, Plan
from engine.accounts.schemas import ROLES, Caller, Person, TenantView
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound, NotSignedIn
from engine.kit.ids import new_id
from engine.kit.messages import LANGUAGES
from engine.kit.settings import settings

SHORTEST_PASSWORD = 8


@lru_cache(maxsize=1)
def _hasher() -> PasswordHasher:
    return PasswordHasher()


@lru_cache(maxsize=1)
def _decoy() -> str:
    """A hash to check against when nobody has the address, so that both answers take as long."""
    return _hasher().hash(secrets.token_hex(16))


def _value(row: PersonRow) -> Person:
    return Person(
        id=row.id,
        tenant_id=row.tenant_id,
        email=row.email,
        name=row.name,
        roles=frozenset(row.roles),
        language=row.language,
    )


def create_person(
    uow: Session,
    *,
    email: str,
    name: str,
    password: str,
    roles: Iterable[str],
    language: str = "en",
    tenant_id: str | None = None,
    plan: str | None = None,
) -> Person:
    """Add a person, in a tenant of their own unless one is given.

    A new tenant gets `plan`, or the one that the settings name. Raises BadInput for an address without
    "@", a short password or an unknown role, and Conflict when the address is taken.
    """
    address, roles = email.strip().lower(), sorted(set(roles))
    if "@" not in address or len(address) > 254:
        raise BadInput("accounts.bad_email", field="email", value=email[:60])
    if len(password) < SHORTEST_PASSWORD:
        raise BadInput("accounts.short_password", field="password", least=SHORTEST_PASSWORD)
    for role in roles:
        if role not in ROLES:
            raise BadInput("accounts.unknown_role", field="roles", role=role, known=", ".join(ROLES))
    if tenant_id is None:
        tenant_id = new_id("tn")
        uow.add(TenantRow(id=tenant_id, name=name, plan=plan or settings().default_plan))
        uow.flush()
    row = PersonRow(
        id=new_id("pe"),
        tenant_id=tenant_id,
        email=address,
        name=name.strip()[:100] or address,
        password_hash=_hasher().hash(password),
        roles=roles,
        language=language if language in LANGUAGES else "en",
    )
    try:
        with uow.begin_nested():
            uow.add(row)
    except IntegrityError as error:
        raise Conflict("accounts.email_taken", field="email", email=address) from error
    return _value(row)


def sign_in(uow: Session, email: str, password: str) -> Person:
    """Return the person behind an address and password. Raises NotSignedIn, the same for both faults."""
    row = repository.by_email(uow, email.strip().lower())
    try:
        _hasher().verify(row.password_hash if row else _decoy(), password)
    except (VerificationError, InvalidHashError) as error:
        raise NotSignedIn("accounts.wrong_password") from error
    if row is None or row.disabled:
        raise NotSignedIn("accounts.wrong_password")
    return _value(row)


def person(uow: Session, person_id: str) -> Person:
    """Return a person by id. Raises NotSignedIn when unknown or disabled."""
    row = repository.by_id(uow, person_id)
    if row is None:
        raise NotSignedIn("accounts.sign_in_first")
    return _value(row)


def caller(uow: Session, person_id: str) -> Caller:
    """Return a person as somebody who calls with a session. Raises NotSignedIn when unknown or disabled."""
    found = repository.caller(uow, person_id)
    if found is None:
        raise NotSignedIn("accounts.sign_in_first")
    return found


def find_by_email(uow: Session, email: str) -> Person | None:
    """Return the person with this address, if there is one."""
    row = repository.by_email(uow, email.strip().lower())
    return _value(row) if row else None


def names(uow: Session, ids: Collection[str]) -> dict[str, str]:
    """Return people's names by id; unknown ids are left out."""
    return repository.names(uow, ids)


def set_language(uow: Session, person_id: str, language: str) -> None:
    """Remember the language a person reads."""
    row = repository.by_id(uow, person_id)
    if row is not None and language in LANGUAGES:
        row.language = language


def require(who: Person, *roles: str) -> None:
    """Raise Forbidden unless `who` has one of `roles`."""
    if not who.roles.intersection(roles):
        raise Forbidden("accounts.needs_role", role=roles[0])


def plan(uow: Session, tenant_id: str) -> Plan:
    """Return the plan of a tenant."""
    return plans(uow, [tenant_id])[tenant_id]


def held_plan(uow: Session, tenant_id: str) -> Plan:
    """Return the plan of a tenant, and let nobody else ask so until the unit of work ends.

    Whoever counts what a plan limits and then adds to it does so alone.
    """
    repository.lock_tenant(uow, tenant_id)
    return plan(uow, tenant_id)


def plans(uow: Session, tenant_ids: Collection[str]) -> dict[str, Plan]:
    """Return the plans of tenants; one that is gone counts as free."""
    rows = repository.plans(uow, tenant_ids)
    return {tenant: PLANS.get(rows.get(tenant, "free"), PLANS["free"]) for tenant in tenant_ids}


def tenants(uow: Session) -> list[TenantView]:
    """Return all tenants by name."""
    return [TenantView.model_validate(row) for row in repository.tenants(uow)]


def change_plan(uow: Session, tenant_id: str, plan: str) -> TenantView:
    """Give a tenant another plan. Raises NotFound, and BadInput for a plan that there is not."""
    row = uow.get(TenantRow, tenant_id)
    if row is None:
        raise NotFound("accounts.no_tenant", field="tenant")
    if plan not in PLANS:
        raise BadInput("accounts.unknown_plan", field="plan", plan=plan[:40], known=", ".join(PLANS))
    row.plan = plan
    uow.flush()
    return TenantView.model_validate(row)
