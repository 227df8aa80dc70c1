"""The SQL of money that comes in and goes out: codes, orders, payments, payouts."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from engine.billing.models import (
    CodeRow,
    CodeTry,
    OrderRow,
    PaymentEventRow,
    PayoutRow,
    ReceiptRow,
    RefundRow,
)
from engine.billing.schemas import CodeBatch
from engine.kit.database import insert_rows


def add_codes(uow: Session, rows: list[dict[str, Any]]) -> None:
    """Write codes."""
    insert_rows(uow, CodeRow, rows)


def lock_code(uow: Session, hashed: str) -> CodeRow | None:
    """Return a code by its hash, locked: of two who redeem it the second sees what the first did."""
    query = select(CodeRow).where(CodeRow.hash == hashed).with_for_update(key_share=True)
    return uow.scalar(query.execution_options(populate_existing=True))


def code_batches(uow: Session, limit: int) -> list[CodeBatch]:
    """Return what was made of codes, newest first, and how many of each were redeemed."""
    query = (
        select(
            CodeRow.batch_id,
            func.count(),
            func.count(CodeRow.redeemed_at),
            func.min(CodeRow.amount_micro),
            func.min(CodeRow.by_id),
            func.min(CodeRow.expires_at),
            func.min(CodeRow.created_at),
        )
        .group_by(CodeRow.batch_id)
        .order_by(func.min(CodeRow.created_at).desc(), CodeRow.batch_id)
        .limit(limit)
    )
    return [CodeBatch(*row) for row in uow.execute(query)]


def lock_tries(uow: Session, person_id: str) -> None:
    """Let one try of a person follow the other."""
    uow.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:who, 13))"), {"who": person_id})


def wrong_tries(uow: Session, person_id: str, since: datetime) -> list[datetime]:
    """Return when a person tried codes that are none, oldest first."""
    query = select(CodeTry.at).where(CodeTry.person_id == person_id, CodeTry.at > since)
    return list(uow.scalars(query.order_by(CodeTry.at)))


def add_try(uow: Session, row: CodeTry) -> None:
    """Write a wrong try, and forget the person's tries of earlier days."""
    old = CodeTry.person_id == row.person_id, CodeTry.at < row.at - timedelta(days=1)
    uow.execute(delete(CodeTry).where(*old))
    uow.add(row)
    uow.flush()


def order_by_key(uow: Session, key: str) -> OrderRow | None:
    """Return the order that was opened under a key."""
    return uow.scalar(select(OrderRow).where(OrderRow.key == key))


def lock_order(uow: Session, order_id: str) -> OrderRow | None:
    """Return an order as it stands, locked."""
    query = select(OrderRow).where(OrderRow.id == order_id).with_for_update(key_share=True)
    return uow.scalar(query.execution_options(populate_existing=True))


def orders(uow: Session, tenant_id: str, limit: int) -> list[OrderRow]:
    """Return a tenant's orders, newest first."""
    query = select(OrderRow).where(OrderRow.tenant_id == tenant_id)
    return list(uow.scalars(query.order_by(OrderRow.created_at.desc(), OrderRow.id.desc()).limit(limit)))


def payment_event(uow: Session, event_id: str) -> PaymentEventRow | None:
    """Return what was made of a provider's event before."""
    return uow.get(PaymentEventRow, event_id)


def lock_payout(uow: Session, payout_id: str, tenant_id: str | None = None) -> PayoutRow | None:
    """Return a payout as it stands, locked; only one of `tenant_id` where that is given."""
    query = select(PayoutRow).where(PayoutRow.id == payout_id)
    if tenant_id is not None:
        query = query.where(PayoutRow.tenant_id == tenant_id)
    return uow.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))


def payout_by_key(uow: Session, key: str) -> PayoutRow | None:
    """Return the payout that was asked for under a key."""
    return uow.scalar(select(PayoutRow).where(PayoutRow.key == key))


def payouts(
    uow: Session, limit: int, *, tenant_id: str | None = None, states: Collection[str] = ()
) -> list[PayoutRow]:
    """Return payouts, newest first: of one tenant or of all, in some states or in any."""
    query = select(PayoutRow).order_by(PayoutRow.created_at.desc(), PayoutRow.id.desc()).limit(limit)
    if tenant_id is not None:
        query = query.where(PayoutRow.tenant_id == tenant_id)
    if states:
        query = query.where(PayoutRow.state.in_(states))
    return list(uow.scalars(query))


def paid_out(uow: Session, tenant_id: str) -> int:
    """Return what a tenant was paid in all."""
    query = select(func.sum(PayoutRow.amount_micro)).where(
        PayoutRow.tenant_id == tenant_id, PayoutRow.state == "paid"
    )
    return int(uow.scalar(query) or 0)


def refunds_of(
    uow: Session, tenant_id: str, since: datetime, limit: int
) -> list[tuple[RefundRow, ReceiptRow]]:
    """Return a tenant's refunds since a moment with their receipts, newest first."""
    query = (
        select(RefundRow, ReceiptRow)
        .join(ReceiptRow, ReceiptRow.id == RefundRow.receipt_id)
        .where(RefundRow.tenant_id == tenant_id, RefundRow.created_at >= since)
        .order_by(RefundRow.created_at.desc(), RefundRow.id.desc())
        .limit(limit)
    )
    return [(refund, receipt) for refund, receipt in uow.execute(query)]


def add(uow: Session, row: CodeRow | OrderRow | PaymentEventRow | PayoutRow) -> None:
    """Write a row, or what was changed of it."""
    uow.add(row)
    uow.flush()
