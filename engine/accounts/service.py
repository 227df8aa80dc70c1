"""Rules about people: signing in, roles, API keys."""

import hashlib
import secrets
from collections.abc import Collection, Iterable
from datetime import timedelta
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from engine.accounts import repository
from engine.accounts.models import ApiKeyRow, PersonRow, TenantRow
from engine.accounts.plans import PLANS, Plan
from engine.accounts.schemas import ROLES, ApiKeyView, Person, TenantView
from engine.kit.clock import now
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


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


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


def create_key(uow: Session, *, person: Person, name: str) -> tuple[ApiKeyView, str]:
    """Make an API key for `person`; the secret returned beside it is never shown again."""
    clean = name.strip()
    if not 1 <= len(clean) <= 100:
        raise BadInput("accounts.key_name", field="name")
    secret = f"mbe-{secrets.token_urlsafe(32)}"
    row = ApiKeyRow(
        id=new_id("key"),
        person_id=person.id,
        tenant_id=person.tenant_id,
        name=clean,
        prefix=secret[:10],
        secret_hash=_hash(secret),
    )
    uow.add(row)
    uow.flush()
    return ApiKeyView.model_validate(row), secret


def person_for_key(uow: Session, secret: str) -> Person:
    """Return whose key this is. Raises NotSignedIn for an unknown or revoked key."""
    key = repository.live_key(uow, _hash(secret))
    row = repository.by_id(uow, key.person_id) if key else None
    if key is None or row is None:
        raise NotSignedIn("accounts.bad_key")
    repository.touch_key(uow, key.id, now(), now() - timedelta(minutes=1))
    return _value(row)


def keys(uow: Session, person: Person) -> list[ApiKeyView]:
    """Return a person's keys, newest first, revoked ones included."""
    return [ApiKeyView.model_validate(row) for row in repository.keys_of(uow, person.id)]


def revoke_key(uow: Session, person: Person, key_id: str) -> None:
    """Make a key useless at once. Raises NotFound when it is not this person's."""
    row = uow.get(ApiKeyRow, key_id)
    if row is None or row.person_id != person.id:
        raise NotFound("accounts.no_key")
    row.revoked_at = row.revoked_at or now()
