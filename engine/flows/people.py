"""Who is asking: by cookie or by API key; and the starter accounts of a fresh machine."""

from sqlalchemy.orm import Session

from engine.accounts import keys, projects, sessions
from engine.accounts import service as accounts
from engine.accounts.schemas import Caller, Person
from engine.billing import service as billing
from engine.flows import meter_training
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, Forbidden, NotSignedIn
from engine.kit.money import CREDIT
from engine.kit.settings import settings

STARTERS = {
    "developer": ("developer@starter.local", "Dana", ("developer",)),
    "consumer": ("consumer@starter.local", "Chen", ("consumer",)),
    "evaluator": ("evaluator@starter.local", "Eva", ("evaluator", "checker")),
    "reviewer": ("reviewer@starter.local", "Rui", ("reviewer", "operator")),
    "stakeholder": ("stakeholder@starter.local", "Sam", ("stakeholder",)),
}

STARTER_PLAN = "pro"  # one's own machine: everything is there to be tried
STARTER_CREDITS = 20 * CREDIT
"""Play credits of the starter developer, for a first training where machine time costs credits."""


def sign_in(email: str, password: str) -> tuple[Person, str]:
    """Return the person and a session cookie. Raises NotSignedIn."""
    with unit_of_work() as uow:
        person = accounts.sign_in(uow, email, password)
    return person, sessions.issue(person.id)


def sign_up(*, email: str, name: str, password: str, role: str, language: str) -> tuple[Person, str]:
    """Make an account as developer, consumer or evaluator, and sign in.

    The other roles judge or watch others' work, so nobody can give them to oneself.
    """
    if role not in ("developer", "consumer", "evaluator"):
        raise Forbidden("people.role_not_open", role=role)
    roles = {role, "consumer"} if role == "developer" else {role}
    with unit_of_work() as uow:
        person = accounts.create_person(
            uow, email=email, name=name, password=password, roles=roles, language=language
        )
    return person, sessions.issue(person.id)


def continue_as(role: str) -> tuple[Person, str]:
    """Sign in as a starter account, made on first use. Raises Forbidden unless bound to loopback."""
    if not settings().loopback or role not in STARTERS:
        raise Forbidden("people.no_starters")
    person = _starter(*STARTERS[role])
    return person, sessions.issue(person.id)


def _starter(email: str, name: str, roles: tuple[str, ...]) -> Person:
    """Return a starter account, made on first use.

    Two who enter at the same moment both find nobody there; the slower one takes what the faster one made.
    """
    with unit_of_work() as uow:
        if person := accounts.find_by_email(uow, email):
            return person
    try:
        with unit_of_work() as uow:
            person = accounts.create_person(
                uow,
                email=email,
                name=name,
                password=sessions.unguessable(),
                roles=roles,
                plan=STARTER_PLAN,
            )
            if "developer" in roles and settings().free_credits and not meter_training.rates().free:
                billing.top_up(
                    uow, tenant_id=person.tenant_id, amount_micro=STARTER_CREDITS, key="starter", by=person.id
                )
            return person
    except Conflict:
        with unit_of_work() as uow:
            if person := accounts.find_by_email(uow, email):
                return person
        raise


def by_cookie(cookie: str | None) -> Person:
    """Return the person of a session cookie. Raises NotSignedIn."""
    person_id = sessions.read(cookie)
    if person_id is None:
        raise NotSignedIn("accounts.sign_in_first")
    with unit_of_work() as uow:
        return accounts.person(uow, person_id)


def by_key(secret: str) -> Person:
    """Return the person of an API key that is used on this machine, for all that its account may do.

    Raises NotSignedIn for a key that counts no more, Forbidden for one that may not do this.
    """
    with unit_of_work() as uow:
        caller = keys.caller(uow, secret)
    keys.check(caller, scope="account", ip="127.0.0.1")
    return caller.person


def calling(
    *,
    secret: str | None = None,
    cookie: str | None = None,
    tenant: str | None = None,
    project: str | None = None,
) -> Caller:
    """Return who calls, with a key or else a session's cookie, for a project if one is named.

    Raises NotSignedIn, Forbidden for another tenant's id or another project than the key's, NotFound for a
    project that the tenant does not have. What the key may do is still to be checked.
    """
    person_id = None if secret is not None else sessions.read(cookie)
    if secret is None and person_id is None:
        raise NotSignedIn("accounts.sign_in_first")
    with unit_of_work() as uow:
        found = keys.caller(uow, secret) if secret is not None else accounts.caller(uow, person_id or "")
        return on_behalf(uow, found, tenant=tenant, project=project)


def on_behalf(uow: Session, caller: Caller, *, tenant: str | None, project: str | None) -> Caller:
    """Return the caller calling for this project, if one is named.

    Raises Forbidden for another tenant's id or another project than the key's, NotFound for a project that
    the tenant does not have.
    """
    if tenant is not None and tenant != caller.person.tenant_id:
        raise Forbidden("accounts.other_tenant", tenant=tenant[:60])
    return caller if project is None else projects.chosen(uow, caller, project)


def by_id(person_id: str) -> Person:
    """Return a person. Raises NotSignedIn when unknown."""
    with unit_of_work() as uow:
        return accounts.person(uow, person_id)
