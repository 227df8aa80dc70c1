"""The only SQL about people, projects and keys."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeVar

from psycopg.rows import tuple_row
from pydantic import BaseModel
from sqlalchemy import ARRAY, ColumnElement, Select, Text, any_, bindparam, cast, func, or_, select, update
from sqlalchemy.dialects.postgresql.psycopg import dialect as psycopg_dialect
from sqlalchemy.orm import Session

from engine.accounts.models import ApiKeyRow, PersonRow, ProjectRow, TenantRow
from engine.accounts.schemas import ApiKeyView, Caller, Person, ProjectView
from engine.kit.database import Base, Swift

V = TypeVar("V", bound=BaseModel)


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


def caller(uow: Session, person_id: str) -> Caller | None:
    """Return a person who may sign in, with their plan."""
    query = (
        select(*_columns(PersonRow, Person), TenantRow.plan)
        .join(TenantRow, TenantRow.id == PersonRow.tenant_id)
        .where(PersonRow.id == person_id, ~PersonRow.disabled)
    )
    row = uow.execute(query).one_or_none()
    return Caller(person=_made(Person, row[:-1]), key=None, project=None, plan=row[-1]) if row else None


def callers(uow: Session, secret_hashes: Collection[str]) -> dict[str, Caller]:
    """Return who calls with the keys of these hashes, by hash, whether the keys still count or not.

    Revoked keys and those of disabled people are left out.
    """
    return _callers(uow.execute(_callers_query(), {"hashes": list(secret_hashes)}))


def callers_swiftly(connection: Swift, secret_hashes: Collection[str]) -> dict[str, Caller]:
    """Return the same by a bare connection, at a third of the cost."""
    cursor = connection.cursor(row_factory=tuple_row)
    return _callers(cursor.execute(_callers_sql(), {"hashes": list(secret_hashes)}))


def _callers(rows: Iterable[Sequence[Any]]) -> dict[str, Caller]:
    person = 2 + len(ApiKeyView.model_fields)
    project = person + len(Person.model_fields)
    return {
        row[0]: Caller(
            person=_made(Person, row[person:project]),
            key=_made(ApiKeyView, row[2:person]),
            project=_made(ProjectView, row[project:]) if row[project] is not None else None,
            plan=row[1],
        )
        for row in rows
    }


@lru_cache(maxsize=1)
def _callers_sql() -> bytes:
    return str(_callers_query().compile(dialect=psycopg_dialect())).encode()


@lru_cache(maxsize=1)
def _callers_query() -> Select[Any]:
    """Every call asks this, so it is put together once."""
    return (
        select(
            ApiKeyRow.secret_hash,
            TenantRow.plan,
            *_columns(ApiKeyRow, ApiKeyView),
            *_columns(PersonRow, Person),
            *_columns(ProjectRow, ProjectView),
        )
        .join(PersonRow, PersonRow.id == ApiKeyRow.person_id)
        .join(TenantRow, TenantRow.id == PersonRow.tenant_id)
        .outerjoin(ProjectRow, ProjectRow.id == ApiKeyRow.project_id)
        .where(
            ApiKeyRow.secret_hash == any_(cast(bindparam("hashes"), ARRAY(Text))),
            ApiKeyRow.revoked_at.is_(None),
            ~PersonRow.disabled,
        )
    )


def own_key(uow: Session, key_id: str, person_id: str) -> ApiKeyRow | None:
    """Return a key of this person, and keep others from changing it until the end."""
    query = select(ApiKeyRow).where(ApiKeyRow.id == key_id, ApiKeyRow.person_id == person_id)
    return uow.scalar(query.with_for_update())


def keys_of(uow: Session, person_id: str) -> list[ApiKeyRow]:
    """Return a person's keys, newest first."""
    found = uow.scalars(
        select(ApiKeyRow).where(ApiKeyRow.person_id == person_id).order_by(ApiKeyRow.created_at.desc())
    )
    return list(found)


def touch_keys(uow: Session, key_ids: Collection[str], at: datetime) -> None:
    """Note that keys were used; one that somebody else changes right now is passed over."""
    free = select(ApiKeyRow.id).where(_among(ApiKeyRow.id, key_ids)).with_for_update(skip_locked=True)
    uow.execute(update(ApiKeyRow).where(ApiKeyRow.id.in_(free)).values(last_used_at=at))


def project(uow: Session, tenant_id: str, name_or_id: str) -> ProjectRow | None:
    """Return a tenant's project by its id or, if that is none, by its name; archived ones are left out."""
    query = (
        select(ProjectRow)
        .where(
            ProjectRow.tenant_id == tenant_id,
            ProjectRow.archived_at.is_(None),
            or_(ProjectRow.id == name_or_id, ProjectRow.name == name_or_id),
        )
        .order_by(ProjectRow.id != name_or_id)
        .limit(1)
    )
    return uow.scalar(query)


def own_project(uow: Session, project_id: str, tenant_id: str) -> ProjectRow | None:
    """Return a project of this tenant, and keep others from changing it until the end."""
    query = select(ProjectRow).where(ProjectRow.id == project_id, ProjectRow.tenant_id == tenant_id)
    return uow.scalar(query.with_for_update(key_share=True))


def projects(uow: Session, tenant_id: str) -> list[ProjectRow]:
    """Return a tenant's projects by name."""
    query = select(ProjectRow).where(ProjectRow.tenant_id == tenant_id)
    return list(uow.scalars(query.order_by(func.lower(ProjectRow.name), ProjectRow.id)))


def _among(column: Any, values: Collection[str]) -> ColumnElement[bool]:
    """One array, however many values: the statement stays the same, and so does its plan."""
    return column == any_(cast(list(values), ARRAY(Text)))  # type: ignore[no-any-return]


def _columns(table: type[Base], value: type[BaseModel]) -> list[Any]:
    """Return the columns of a table that a value is made of, in the order of its fields."""
    return [getattr(table, name) for name in value.model_fields]


def _made(value: type[V], columns: Sequence[Any]) -> V:
    return value(**dict(zip(value.model_fields, columns, strict=True)))
