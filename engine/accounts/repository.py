"""The only SQL about people and keys."""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ARRAY, Text, any_, cast, func, select, update
from sqlalchemy.orm import Session

from engine.accounts.models import ApiKeyRow, PersonRow, TenantRow


def by_email(uow: Session, email: str) -> PersonRow | None:
    """Return the person with this (lower-case) address."""
    return uow.scalar(select(PersonRow).where(PersonRow.email == email))


def by_id(uow: Session, person_id: str) -> PersonRow | None:
    """Return a person who may sign in."""
    return uow.scalar(select(PersonRow).where(PersonRow.id == person_id, ~PersonRow.disabled))


def names(uow: Session, ids: Collection[str]) -> dict[str, str]:
    """Return the names of these people by id."""
    rows = uow.execute(select(PersonRow.id, PersonRow.name).where(PersonRow.id.in_(ids)))
    return {row.id: row.name for row in rows}


def plans(uow: Session, tenant_ids: Collection[str]) -> dict[str, str]:
    """Return the names of tenants' plans by tenant."""
    rows = uow.execute(select(TenantRow.id, TenantRow.plan).where(TenantRow.id.in_(tenant_ids)))
    return {row.id: row.plan for row in rows}


def lock_tenant(uow: Session, tenant_id: str) -> None:
    """Keep others from locking a tenant until the transaction ends."""
    uow.execute(select(TenantRow.id).where(TenantRow.id == tenant_id).with_for_update(key_share=True))


def tenants(uow: Session) -> list[TenantRow]:
    """Return all tenants by name."""
    return list(uow.scalars(select(TenantRow).order_by(func.lower(TenantRow.name), TenantRow.id)))


def live_key(uow: Session, secret_hash: str) -> ApiKeyRow | None:
    """Return the key with this hash unless it was revoked."""
    return uow.scalar(
        select(ApiKeyRow).where(ApiKeyRow.secret_hash == secret_hash, ApiKeyRow.revoked_at.is_(None))
    )


def live_keys(uow: Session, hashes: Collection[str]) -> list[tuple[ApiKeyRow, PersonRow, str]]:
    """Return the keys with these hashes that are not revoked, with their people and their plans."""
    query = (
        select(ApiKeyRow, PersonRow, TenantRow.plan)
        .join(PersonRow, PersonRow.id == ApiKeyRow.person_id)
        .join(TenantRow, TenantRow.id == PersonRow.tenant_id)
        .where(ApiKeyRow.secret_hash == any_(cast(list(hashes), ARRAY(Text))))
        .where(ApiKeyRow.revoked_at.is_(None), ~PersonRow.disabled)
    )
    return [(key, person, plan) for key, person, plan in uow.execute(query)]


def keys_of(uow: Session, person_id: str) -> list[ApiKeyRow]:
    """Return a person's keys, newest first."""
    found = uow.scalars(
        select(ApiKeyRow).where(ApiKeyRow.person_id == person_id).order_by(ApiKeyRow.created_at.desc())
    )
    return list(found)


def touch_key(uow: Session, key_id: str, at: datetime, older_than: datetime) -> None:
    """Note that a key was used, at most once a minute: a busy key is not a hot row."""
    uow.execute(
        update(ApiKeyRow)
        .where(
            ApiKeyRow.id == key_id,
            (ApiKeyRow.last_used_at.is_(None)) | (ApiKeyRow.last_used_at < older_than),
        )
        .values(last_used_at=at)
    )
