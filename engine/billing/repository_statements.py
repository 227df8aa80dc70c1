"""The SQL of statements: what was used and paid, by whatever it is to be told by."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Date, cast, func, literal, select, union_all
from sqlalchemy.orm import Session

from engine.billing.models import Account, Entry, ReceiptRow, RefundRow, Transaction

_NONE = ""


def _text(column: Any, name: str) -> Any:
    return func.coalesce(column[name].as_string(), _NONE)


def _tokens(name: str) -> Any:
    return func.coalesce(ReceiptRow.usage[name].as_string().cast(BigInteger), 0)


def _day(column: Any) -> Any:
    return cast(func.timezone("UTC", column), Date).label("day")


def _who() -> list[Any]:
    subject = ReceiptRow.subject
    return [
        ReceiptRow.tenant_id.label("tenant"),
        _text(subject, "project_id").label("project"),
        _text(subject, "person_id").label("person"),
        _text(ReceiptRow.usage, "model").label("model"),
    ]


def statement(
    uow: Session, tenant_id: str | None, since: datetime, until: datetime, by: Sequence[str], limit: int
) -> list[Any]:
    """Return sums of settled calls and of refunds in a time, by what `by` names; of all tenants for None.

    A refund counts at its own time, under what its receipt was for.
    """
    nothing = literal(0, BigInteger)
    charges = select(
        *_who(),
        _day(ReceiptRow.created_at),
        literal(1, BigInteger).label("calls"),
        _tokens("input_tokens").label("input_tokens"),
        _tokens("output_tokens").label("output_tokens"),
        ReceiptRow.charged_micro.label("charged_micro"),
        nothing.label("refunded_micro"),
    ).where(ReceiptRow.state == "settled", ReceiptRow.created_at >= since, ReceiptRow.created_at < until)
    returned = (
        select(
            *_who(),
            _day(RefundRow.created_at),
            nothing.label("calls"),
            nothing.label("input_tokens"),
            nothing.label("output_tokens"),
            nothing.label("charged_micro"),
            RefundRow.amount_micro.label("refunded_micro"),
        )
        .join(ReceiptRow, ReceiptRow.id == RefundRow.receipt_id)
        .where(RefundRow.created_at >= since, RefundRow.created_at < until)
    )
    if tenant_id is not None:
        charges = charges.where(ReceiptRow.tenant_id == tenant_id)
        returned = returned.where(RefundRow.tenant_id == tenant_id)
    lines = union_all(charges, returned).subquery()
    named = [lines.c[name] for name in by]
    sums = [
        cast(func.sum(lines.c[name]), BigInteger).label(name)
        for name in ("calls", "input_tokens", "output_tokens", "charged_micro", "refunded_micro")
    ]
    query = select(*named, *sums).group_by(*named).order_by(*named).limit(limit)
    return [row for row in uow.execute(query) if by or row.calls is not None]


def wallet_movements(uow: Session, tenant_id: str | None, since: datetime, until: datetime) -> dict[str, int]:
    """Return what moved a tenant's wallet, or all wallets, in a time: sums of entries by kind of movement."""
    query = (
        select(Transaction.kind, func.sum(Entry.amount_micro))
        .join(Transaction, Transaction.id == Entry.transaction_id)
        .join(Account, Account.id == Entry.account_id)
        .where(Account.kind == "wallet", Entry.at >= since, Entry.at < until)
        .group_by(Transaction.kind)
        .order_by(Transaction.kind)
    )
    if tenant_id is not None:
        query = query.where(Entry.tenant_id == tenant_id)
    return {kind: int(micro) for kind, micro in uow.execute(query)}


def trainings(uow: Session, tenant_id: str | None, since: datetime, until: datetime, limit: int) -> list[Any]:
    """Return what the machine time of each training was charged in a time, the newest first."""
    job_id, title = _text(Transaction.meta, "job_id"), _text(Transaction.meta, "title")
    charged = cast(-func.sum(Entry.amount_micro), BigInteger).label("charged_micro")
    query = (
        select(job_id.label("job_id"), title.label("title"), charged, func.max(Entry.at).label("at"))
        .join(Transaction, Transaction.id == Entry.transaction_id)
        .join(Account, Account.id == Entry.account_id)
        .where(Transaction.kind == "training", Account.kind == "wallet")
        .where(Entry.at >= since, Entry.at < until)
        .group_by(job_id, title)
        .order_by(func.max(Entry.at).desc(), job_id)
        .limit(limit)
    )
    if tenant_id is not None:
        query = query.where(Entry.tenant_id == tenant_id)
    return list(uow.execute(query))


def wallet_before(uow: Session, tenant_id: str | None, at: datetime) -> int:
    """Return what was in a tenant's wallet, or in all, just before a moment."""
    query = (
        select(func.sum(Entry.amount_micro))
        .join(Account, Account.id == Entry.account_id)
        .where(Account.kind == "wallet", Entry.at < at)
    )
    if tenant_id is not None:
        query = query.where(Account.tenant_id == tenant_id)
    return int(uow.scalar(query) or 0)
