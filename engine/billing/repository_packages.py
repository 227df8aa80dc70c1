"""The SQL of packages: what is offered, who has bought it, and the tokens that are left."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Text, any_, cast, func, select
from sqlalchemy.orm import Session

from engine.billing.models import Account, Entry
from engine.billing.models_packages import AllowanceRow, PackageRow, SubscriptionRow
from engine.kit.database import Base


def _among(column: Any, values: Collection[str]) -> Any:
    return column == any_(cast(list(values), ARRAY(Text)))


def add(uow: Session, row: Base) -> None:
    """Write a row."""
    uow.add(row)
    uow.flush()


def package(uow: Session, package_id: str, *, lock: bool = False) -> PackageRow | None:
    """Return a package as it stands, locked on request."""
    query = select(PackageRow).where(PackageRow.id == package_id)
    if lock:
        query = query.with_for_update(key_share=True)
    return uow.scalar(query.execution_options(populate_existing=True))


def packages(uow: Session, subject: str, *, offered_only: bool) -> list[PackageRow]:
    """Return the packages of a subject: what is offered first, the smallest first."""
    query = select(PackageRow).where(PackageRow.subject == subject)
    if offered_only:
        query = query.where(PackageRow.state == "offered")
    order = (PackageRow.state, PackageRow.tokens, PackageRow.price_micro, PackageRow.id)
    return list(uow.scalars(query.order_by(*order)))


def count_subscribers(uow: Session, package_ids: Collection[str]) -> dict[str, int]:
    """Return how many tenants have each package now."""
    query = (
        select(SubscriptionRow.package_id, func.count())
        .where(_among(SubscriptionRow.package_id, package_ids), SubscriptionRow.state != "ended")
        .group_by(SubscriptionRow.package_id)
    )
    return {package_id: int(count) for package_id, count in uow.execute(query)}


Bought = tuple[SubscriptionRow, PackageRow]
"""A subscription with its package."""


def subscription(uow: Session, subscription_id: str, *, lock: bool = False) -> Bought | None:
    """Return a subscription as it stands, locked on request."""
    found = _bought(uow, SubscriptionRow.id == subscription_id, lock=lock)
    return found[0] if found else None


def running(uow: Session, tenant_id: str, subject: str) -> Bought | None:
    """Return the subscription of a tenant to a subject that has not ended, locked."""
    mine = SubscriptionRow.tenant_id == tenant_id, SubscriptionRow.subject == subject
    found = _bought(uow, *mine, SubscriptionRow.state != "ended", lock=True)
    return found[0] if found else None


def subscriptions(uow: Session, tenant_id: str, limit: int) -> list[Bought]:
    """Return a tenant's subscriptions, newest first."""
    return _bought(uow, SubscriptionRow.tenant_id == tenant_id, limit=limit)


def due(uow: Session, at: datetime, limit: int) -> list[SubscriptionRow]:
    """Return subscriptions whose next month is to be looked at, the longest wait first."""
    query = select(SubscriptionRow).where(SubscriptionRow.due_at <= at)
    return list(uow.scalars(query.order_by(SubscriptionRow.due_at).limit(limit)))


def _bought(uow: Session, *where: Any, lock: bool = False, limit: int | None = None) -> list[Bought]:
    query = (
        select(SubscriptionRow, PackageRow)
        .join(PackageRow, PackageRow.id == SubscriptionRow.package_id)
        .where(*where)
        .order_by(SubscriptionRow.created_at.desc(), SubscriptionRow.id.desc())
        .limit(limit)
        .execution_options(populate_existing=True)
    )
    if lock:
        query = query.with_for_update(of=SubscriptionRow, key_share=True)
    return [(row, package) for row, package in uow.execute(query)]


def lock_allowances(uow: Session, ids: Collection[str]) -> dict[str, AllowanceRow]:
    """Return allowances by id, locked until the end."""
    if not ids:
        return {}
    query = (
        select(AllowanceRow)
        .where(_among(AllowanceRow.id, ids))
        .order_by(AllowanceRow.id)
        .with_for_update(key_share=True)
    )
    return {row.id: row for row in uow.scalars(query.execution_options(populate_existing=True))}


def last_allowances(uow: Session, subscription_ids: Collection[str]) -> dict[str, AllowanceRow]:
    """Return the newest allowance of each subscription."""
    query = (
        select(AllowanceRow)
        .where(_among(AllowanceRow.subscription_id, subscription_ids))
        .distinct(AllowanceRow.subscription_id)
        .order_by(AllowanceRow.subscription_id, AllowanceRow.starts_at.desc())
        .execution_options(populate_existing=True)
    )
    return {row.subscription_id: row for row in uow.scalars(query)}


def allowance_of_movement(uow: Session, transaction_id: str) -> AllowanceRow | None:
    """Return the allowance that a movement paid for."""
    return uow.scalar(select(AllowanceRow).where(AllowanceRow.transaction_id == transaction_id))


def running_allowances(
    uow: Session, subject: str, tenants: Collection[str], at: datetime
) -> dict[str, AllowanceRow]:
    """Return the allowances of tenants for a subject that hold at a moment, by tenant."""
    query = select(AllowanceRow).where(
        AllowanceRow.subject == subject,
        _among(AllowanceRow.tenant_id, tenants),
        AllowanceRow.starts_at <= at,
        AllowanceRow.ends_at > at,
    )
    return {row.tenant_id: row for row in uow.scalars(query.order_by(AllowanceRow.starts_at))}


def is_running(uow: Session, subject: str, at: datetime) -> bool:
    """Say whether anybody's allowance for a subject holds at a moment."""
    query = select(AllowanceRow.id).where(AllowanceRow.subject == subject, AllowanceRow.ends_at > at)
    return uow.scalar(query.limit(1)) is not None


def earned(uow: Session, developer_tenant_id: str) -> dict[str, int]:
    """Return what packages earned for a developer, by subject."""
    query = (
        select(AllowanceRow.subject, func.sum(Entry.amount_micro))
        .join(Entry, Entry.transaction_id == AllowanceRow.transaction_id)
        .join(Account, Account.id == Entry.account_id)
        .where(Entry.tenant_id == developer_tenant_id, Account.kind == "earnings")
        .group_by(AllowanceRow.subject)
    )
    return {subject: int(micro) for subject, micro in uow.execute(query)}
