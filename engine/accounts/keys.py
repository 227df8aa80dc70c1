"""Rules about API keys: whose they are, what they may do, and how they come and go.

Nothing here is remembered between calls: a key that was changed, rotated or revoked is so for the next one.
"""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

from sqlalchemy.orm import Session

from engine.accounts import projects, repository
from engine.accounts.models import ApiKeyRow
from engine.accounts.schemas import SCOPES, ApiKeyView, Caller, KeyTerms, Person
from engine.kit.clock import now
from engine.kit.database import Swift
from engine.kit.errors import BadInput, Conflict, EngineError, Forbidden, NotFound, NotSignedIn
from engine.kit.ids import new_id
from engine.kit.money import LARGEST, format_credits

TOUCH_EVERY = timedelta(minutes=1)
MOST_ENTRIES = 100
LONGEST_MODEL = 100

Network = IPv4Network | IPv6Network


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="backslashreplace")).hexdigest()


def _new_secret(row: ApiKeyRow) -> str:
    secret = f"mbe-{secrets.token_urlsafe(32)}"
    row.prefix, row.secret_hash = secret[:10], _hash(secret)
    return secret


# Calling


def callers(uow: Session, given: Collection[str]) -> dict[str, Caller | EngineError]:
    """Return who calls with each of these secrets; a refusal stands in the place of its caller.

    One SELECT, however many there are. Refusals: NotSignedIn for a key that is unknown, revoked, expired or
    of a disabled person, Forbidden for one whose project is archived.
    """
    if not given:
        return {}
    hashes = {secret: _hash(secret) for secret in given}
    verdicts = _verdicts(hashes, repository.callers(uow, set(hashes.values())))
    touch(uow, due(verdicts))
    return verdicts


def callers_swiftly(connection: Swift, given: Collection[str]) -> dict[str, Caller | EngineError]:
    """Return the same by a bare connection; noting that keys were used is left to the caller: see `due`."""
    hashes = {secret: _hash(secret) for secret in given}
    return _verdicts(hashes, repository.callers_swiftly(connection, set(hashes.values())))


def _verdicts(hashes: Mapping[str, str], found: Mapping[str, Caller]) -> dict[str, Caller | EngineError]:
    at = now()
    return {secret: _verdict(found.get(hashed), at) for secret, hashed in hashes.items()}


def due(verdicts: Mapping[str, Caller | EngineError]) -> set[str]:
    """Return the ids of keys whose use is to be noted: at most once a minute, or a busy key is a hot row."""
    oldest = now() - TOUCH_EVERY
    used = [one.key for one in verdicts.values() if isinstance(one, Caller) and one.key is not None]
    return {key.id for key in used if key.last_used_at is None or key.last_used_at < oldest}


def touch(uow: Session, key_ids: Collection[str]) -> None:
    """Note that keys were used."""
    if key_ids:
        repository.touch_keys(uow, set(key_ids), now())


def _verdict(found: Caller | None, at: datetime) -> Caller | EngineError:
    if found is None or found.key is None:
        return NotSignedIn("accounts.bad_key")
    if found.key.expires_at is not None and found.key.expires_at <= at:
        return NotSignedIn(
            "accounts.key_expired", name=found.key.name, at=f"{found.key.expires_at:%Y-%m-%d %H:%M} UTC"
        )
    if found.project is not None and found.project.archived_at is not None:
        return Forbidden("accounts.key_archived", field="project", project=found.project.name)
    return found


def caller(uow: Session, secret: str) -> Caller:
    """Return who calls with this secret. Raises what stands in `callers` as refusals."""
    verdict = callers(uow, [secret])[secret]
    if isinstance(verdict, EngineError):
        raise verdict
    return verdict


def check(caller: Caller, *, scope: str | Collection[str], ip: str | None, model: str | None = None) -> None:
    """Raise Forbidden when the caller's key may not do this: any one of the scopes is enough.

    `ip` is where the call comes from, None where nobody knows; `model` the public id of what it asks for.
    Somebody without a key passes.
    """
    key = caller.key
    if key is None:
        return
    wanted = (scope,) if isinstance(scope, str) else tuple(scope)
    if not any(one in key.scopes for one in wanted):
        raise Forbidden("accounts.key_scope", scope=" / ".join(wanted), scopes=", ".join(key.scopes))
    if key.ips and not _within(ip, key.ips):
        raise Forbidden("accounts.key_ip", ip=ip or "?")
    if model is not None and key.models and model not in key.models:
        raise Forbidden(
            "accounts.key_model", field="model", model=model[:LONGEST_MODEL], models=", ".join(key.models)
        )


def check_free(caller: Caller) -> None:
    """Raise Forbidden for a key that is limited in any way: it could make itself one that is not."""
    if caller.key is not None and caller.key.limited:
        raise Forbidden("accounts.key_limited")


def _within(ip: str | None, allowed: tuple[str, ...]) -> bool:
    try:
        address = ip_address(ip or "")
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in _networks(allowed))


@lru_cache(maxsize=4096)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(text) for text in texts)


# Making and changing


def create(uow: Session, *, person: Person, terms: KeyTerms) -> tuple[ApiKeyView, str]:
    """Make an API key for `person`; the secret returned beside it is never shown again.

    Raises BadInput naming the field, NotFound for a project that the person's tenant does not have.
    """
    row = ApiKeyRow(id=new_id("key"), person_id=person.id, tenant_id=person.tenant_id)
    secret = _new_secret(_written(uow, row, terms, before=None))
    uow.add(row)
    uow.flush()
    return ApiKeyView.model_validate(row), secret


def change(uow: Session, *, person: Person, key_id: str, changes: Mapping[str, Any]) -> ApiKeyView:
    """Change some of a key's terms, named as in KeyTerms; it counts from the next call on.

    Raises NotFound for somebody else's key, Conflict for a revoked one, and what `create` raises.
    """
    row = _live(uow, person, key_id)
    view = ApiKeyView.model_validate(row)
    kept = {f.name: getattr(view, f.name) for f in fields(KeyTerms) if f.name != "project"}
    before = KeyTerms(**kept, project=view.project_id)
    _written(uow, row, replace(before, **changes), before)
    uow.flush()
    return ApiKeyView.model_validate(row)


def rotate(uow: Session, *, person: Person, key_id: str) -> tuple[ApiKeyView, str]:
    """Give a key another secret, returned this once; the one before it is dead at once.

    Raises NotFound for somebody else's key, Conflict for a revoked one.
    """
    row = _live(uow, person, key_id)
    secret = _new_secret(row)
    uow.flush()
    return ApiKeyView.model_validate(row), secret


def revoke(uow: Session, *, person: Person, key_id: str) -> None:
    """Make a key useless at once. Raises NotFound when it is not this person's."""
    row = _own(uow, person, key_id)
    row.revoked_at = row.revoked_at or now()
    uow.flush()


def listing(uow: Session, person: Person) -> list[ApiKeyView]:
    """Return a person's keys, newest first, revoked ones included."""
    return [ApiKeyView.model_validate(row) for row in repository.keys_of(uow, person.id)]


def _own(uow: Session, person: Person, key_id: str) -> ApiKeyRow:
    row = repository.own_key(uow, key_id, person.id)
    if row is None:
        raise NotFound("accounts.no_key")
    return row


def _live(uow: Session, person: Person, key_id: str) -> ApiKeyRow:
    row = _own(uow, person, key_id)
    if row.revoked_at is not None:
        raise Conflict("accounts.key_is_revoked", name=row.name)
    return row


def _written(uow: Session, row: ApiKeyRow, terms: KeyTerms, before: KeyTerms | None) -> ApiKeyRow:
    """Check all terms, then write them. What stays as it was is not looked at again: it may have run out."""
    name = terms.name.strip()
    if not (1 <= len(name) <= 100 and name.isprintable()):
        raise BadInput("accounts.key_name", field="name")
    projects.check_limits(terms, projects.LIMITS)
    if terms.cap_micro is not None and not 0 <= terms.cap_micro <= LARGEST:
        raise BadInput("accounts.bad_cap", field="cap", most=format_credits(LARGEST, 0))
    values: dict[str, Any] = {
        "name": name,
        "scopes": _scopes(terms.scopes),
        "models": _models(terms.models),
        "ips": _ips(terms.ips),
        "cap_micro": terms.cap_micro,
        **{limit: getattr(terms, limit) for limit in projects.LIMITS},
    }
    if before is None or terms.expires_at != before.expires_at:
        values["expires_at"] = _expiry(terms.expires_at)
    if before is None or terms.project != before.project:
        wanted = terms.project
        values["project_id"] = None if wanted is None else projects.project(uow, row.tenant_id, wanted).id
    for field, value in values.items():
        setattr(row, field, value)
    return row


def _scopes(given: Collection[str]) -> list[str]:
    for scope in given:
        if scope not in SCOPES:
            raise BadInput(
                "accounts.unknown_scope", field="scopes", scope=scope[:40], known=", ".join(SCOPES)
            )
    if not given:
        raise BadInput("accounts.no_scope", field="scopes", known=", ".join(SCOPES))
    return [scope for scope in SCOPES if scope in given]


def _models(given: Collection[str]) -> list[str]:
    models = list(dict.fromkeys(model.strip() for model in given))
    for model in models:
        if not (1 <= len(model) <= LONGEST_MODEL and model.isprintable()):
            raise BadInput("accounts.bad_model", field="models", model=model[:40])
    if len(models) > MOST_ENTRIES:
        raise BadInput("accounts.too_many_entries", field="models", most=MOST_ENTRIES)
    return models


def _ips(given: Collection[str]) -> list[str]:
    texts = list(dict.fromkeys(_network(text) for text in given))
    if len(texts) > MOST_ENTRIES:
        raise BadInput("accounts.too_many_entries", field="ips", most=MOST_ENTRIES)
    return texts


def _network(text: str) -> str:
    """Return an address or network as it is compared; IPv4 within IPv6 is IPv4. Raises BadInput."""
    try:
        if "%" in text:
            raise ValueError("a zone means nothing on another machine")
        network: Network = ip_network(text.strip(), strict=False)
    except ValueError as error:
        raise BadInput("accounts.bad_ip", field="ips", ip=text[:60]) from error
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        network = IPv4Network((mapped, network.prefixlen - 96))
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)


def _expiry(at: datetime | None) -> datetime | None:
    if at is None:
        return None
    aware = at if at.tzinfo else at.replace(tzinfo=UTC)
    if aware <= now():
        raise BadInput("accounts.key_expiry", field="expires_at")
    return aware
