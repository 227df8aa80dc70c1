"""The only place with billing's SQL."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.billing.models import Account, Entry, Hold, ReceiptRow, Transaction
from engine.billing.schemas import EntryView, ExpertEarnings
from engine.kit.clock import now
from engine.kit.ids import new_id


def account(uow: Session, tenant_id: str, kind: str) -> Account:
    """Return an account, opened at its first use."""
    found = select(Account).where(Account.tenant_id == tenant_id, Account.kind == kind)
    if (known := uow.scalar(found)) is not None:
        return known
    row = {"id": new_id("acc"), "tenant_id": tenant_id, "kind": kind, "created_at": now()}
    uow.execute(insert(Account).values(row).on_conflict_do_nothing())
    return uow.scalars(found).one()


def lock(uow: Session, account: Account) -> None:
    """Wait for, then keep, the account until the transaction ends; movements into it go on meanwhile.

    The weaker lock (NO KEY UPDATE) is on purpose: the foreign keys of new entries must not wait for it.
    """
    uow.execute(select(Account.id).where(Account.id == account.id).with_for_update(key_share=True))


def balance(uow: Session, tenant_id: str, kind: str) -> int:
    """Return the balance of a tenant's account, 0 for one that was never used."""
    query = (
        select(func.sum(Entry.amount_micro))
        .join(Account, Account.id == Entry.account_id)
        .where(Account.tenant_id == tenant_id, Account.kind == kind)
    )
    return int(uow.scalar(query) or 0)


def ledger_sum(uow: Session) -> int:
    """Return the sum of every entry there is."""
    return int(uow.scalar(select(func.sum(Entry.amount_micro))) or 0)


def transaction_by_key(uow: Session, key: str) -> Transaction | None:
    """Return the movement that was booked under `key`."""
    return uow.scalar(select(Transaction).where(Transaction.key == key))


def add_transaction(
    uow: Session, *, tenant_id: str, key: str, digest: str, kind: str, meta: dict[str, Any], at: datetime
) -> Transaction:
    """Write the head of a movement; its entries follow in the same unit of work."""
    row = Transaction(
        id=new_id("txn"), tenant_id=tenant_id, key=key, digest=digest, kind=kind, meta=meta, at=at
    )
    uow.add(row)
    uow.flush()
    return row


def add_entries(uow: Session, movement: Transaction, legs: Sequence[tuple[Account, int]]) -> None:
    """Write a movement's (account, amount) legs, leaving out those that move nothing."""
    uow.add_all(
        Entry(
            id=new_id("ent"),
            transaction_id=movement.id,
            account_id=account.id,
            tenant_id=account.tenant_id,
            amount_micro=amount,
            at=movement.at,
        )
        for account, amount in legs
        if amount
    )
    uow.flush()


def entries(
    uow: Session,
    tenant_id: str,
    *,
    limit: int,
    account: str | None = None,
    transaction_id: str | None = None,
) -> list[EntryView]:
    """Return a tenant's entries, newest first."""
    query = (
        select(Entry, Account.kind, Transaction)
        .join(Account, Account.id == Entry.account_id)
        .join(Transaction, Transaction.id == Entry.transaction_id)
        .where(Entry.tenant_id == tenant_id)
        .order_by(Entry.at.desc(), Entry.id.desc())
        .limit(limit)
    )
    if account is not None:
        query = query.where(Account.kind == account)
    if transaction_id is not None:
        query = query.where(Transaction.id == transaction_id)
    return [
        EntryView(
            id=entry.id,
            transaction_id=movement.id,
            tenant_id=tenant_id,
            account=kind,
            kind=movement.kind,
            amount_micro=entry.amount_micro,
            at=entry.at,
            meta=movement.meta,
        )
        for entry, kind, movement in uow.execute(query)
    ]


def add_hold(uow: Session, row: Hold) -> None:
    """Write a hold."""
    uow.add(row)
    uow.flush()


def hold_of_transaction(uow: Session, transaction_id: str) -> Hold:
    """Return the hold that a movement made."""
    return uow.scalars(select(Hold).where(Hold.transaction_id == transaction_id)).one()


def lock_hold(uow: Session, hold_id: str) -> Hold | None:
    """Return the hold as it stands, locked: only one of settle, release and sweep ends it."""
    query = select(Hold).where(Hold.id == hold_id).with_for_update()
    return uow.scalar(query.execution_options(populate_existing=True))


def lock_expired_holds(uow: Session, at: datetime, limit: int) -> list[Hold]:
    """Return open holds that expired by `at`, locked; those being ended elsewhere are passed over."""
    query = (
        select(Hold)
        .where(Hold.state == "open", Hold.expires_at <= at)
        .order_by(Hold.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list(uow.scalars(query.execution_options(populate_existing=True)))


def add_receipt(uow: Session, row: ReceiptRow) -> None:
    """Write a receipt and the end of its hold."""
    uow.add(row)
    uow.flush()


def receipt_of_hold(uow: Session, hold_id: str) -> ReceiptRow:
    """Return the receipt of a hold that has ended."""
    return uow.scalars(select(ReceiptRow).where(ReceiptRow.hold_id == hold_id)).one()


def receipt(uow: Session, receipt_or_hold_id: str, tenant_id: str) -> ReceiptRow | None:
    """Return a tenant's receipt by its own id or its hold's."""
    either = or_(ReceiptRow.id == receipt_or_hold_id, ReceiptRow.hold_id == receipt_or_hold_id)
    return uow.scalar(select(ReceiptRow).where(either, ReceiptRow.tenant_id == tenant_id))


def receipts(uow: Session, tenant_id: str, limit: int) -> list[ReceiptRow]:
    """Return a tenant's receipts, newest first."""
    newest = (ReceiptRow.created_at.desc(), ReceiptRow.id.desc())
    query = select(ReceiptRow).where(ReceiptRow.tenant_id == tenant_id).order_by(*newest).limit(limit)
    return list(uow.scalars(query))


def earnings_by_expert(uow: Session, developer_tenant_id: str) -> list[ExpertEarnings]:
    """Return what each expert earned, the best earner first."""

    def tokens(name: str) -> Any:
        return func.coalesce(ReceiptRow.usage[name].as_string().cast(BigInteger), 0)

    name = func.coalesce(ReceiptRow.usage["model"].as_string(), "")
    earned = func.sum(ReceiptRow.developer_micro)
    query = (
        select(name, func.count(), func.sum(tokens("input_tokens") + tokens("output_tokens")), earned)
        .where(ReceiptRow.developer_tenant_id == developer_tenant_id, ReceiptRow.state == "settled")
        .group_by(name)
        .order_by(earned.desc(), name)
    )
    return [ExpertEarnings(row[0], int(row[1]), int(row[2]), int(row[3])) for row in uow.execute(query)]
