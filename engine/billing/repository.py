"""The only place with billing's SQL. Many calls are handled at once: statements take lists."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ARRAY, BigInteger, ColumnElement, Text, any_, cast, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.billing.models import (
    Account,
    Budget,
    Entry,
    Hold,
    PriceRow,
    ReceiptRow,
    RefundRow,
    Transaction,
    Wallet,
)
from engine.billing.schemas import EntryView, ExpertEarnings
from engine.kit.clock import now
from engine.kit.database import insert_rows
from engine.kit.ids import new_id

AccountKey = tuple[str, str]
"""A tenant and the kind of its account."""


class Standing(NamedTuple):
    """What a wallet has and what of it is held, or what changes in both, in micro-credits."""

    balance: int
    held: int


def _among(column: Any, values: Collection[str]) -> ColumnElement[bool]:
    """One array, however many values: the statement stays the same, and so does its plan."""
    return column == any_(cast(list(values), ARRAY(Text)))  # type: ignore[no-any-return]


def account_ids(uow: Session, wanted: Collection[AccountKey]) -> dict[AccountKey, str]:
    """Return the ids of accounts, opened at their first use."""
    tenants, kinds = {tenant for tenant, _ in wanted}, {kind for _, kind in wanted}
    query = select(Account.tenant_id, Account.kind, Account.id).where(
        _among(Account.tenant_id, tenants), _among(Account.kind, kinds)
    )

    def known() -> dict[AccountKey, str]:
        return {(tenant, kind): account_id for tenant, kind, account_id in uow.execute(query)}

    found = known()
    if missing := set(wanted) - set(found):
        rows = [
            {"id": new_id("acc"), "tenant_id": tenant, "kind": kind, "created_at": now()}
            for tenant, kind in sorted(missing)
        ]
        uow.execute(insert(Account).values(rows).on_conflict_do_nothing())
        found = known()
    return found


def balance(uow: Session, tenant_id: str, kind: str) -> int:
    """Return the sum of an account's entries, 0 for one that was never used."""
    query = (
        select(func.sum(Entry.amount_micro))
        .join(Account, Account.id == Entry.account_id)
        .where(Account.tenant_id == tenant_id, Account.kind == kind)
    )
    return int(uow.scalar(query) or 0)


def ledger_sum(uow: Session) -> int:
    """Return the sum of every entry there is."""
    return int(uow.scalar(select(func.sum(Entry.amount_micro))) or 0)


def wallet(uow: Session, tenant_id: str) -> Standing:
    """Return a tenant's wallet as it stands."""
    row = uow.execute(select(Wallet.balance_micro, Wallet.held_micro).where(Wallet.tenant_id == tenant_id))
    return Standing(*(row.one_or_none() or (0, 0)))


def lock_wallets(uow: Session, tenants: Collection[str]) -> dict[str, Standing]:
    """Return wallets, opened at their first use, and keep others from moving them until the end."""
    query = (
        select(Wallet.tenant_id, Wallet.balance_micro, Wallet.held_micro)
        .where(_among(Wallet.tenant_id, tenants))
        .order_by(Wallet.tenant_id)
        .with_for_update(key_share=True)
    )

    def locked() -> dict[str, Standing]:
        return {tenant: Standing(balance, held) for tenant, balance, held in uow.execute(query)}

    found = locked()
    if missing := set(tenants) - set(found):
        rows = [{"tenant_id": tenant, "balance_micro": 0, "held_micro": 0} for tenant in sorted(missing)]
        uow.execute(insert(Wallet).values(rows).on_conflict_do_nothing())
        found = locked()
    return found


_MOVE_WALLETS = text(
    "UPDATE billing_wallets w SET balance_micro = w.balance_micro + d.balance,"
    " held_micro = w.held_micro + d.held"
    " FROM unnest(CAST(:tenants AS text[]), CAST(:balances AS bigint[]), CAST(:held AS bigint[]))"
    " AS d(tenant, balance, held) WHERE w.tenant_id = d.tenant"
    " AND w.balance_micro + d.balance >= w.held_micro + d.held"
)


def move_wallets(uow: Session, changes: Mapping[str, Standing]) -> int:
    """Add to locked wallets; one that would not cover its holds is left alone. Return how many moved."""
    given = {tenant: change for tenant, change in changes.items() if change != Standing(0, 0)}
    if not given:
        return len(changes)
    moved = uow.execute(
        _MOVE_WALLETS,
        {
            "tenants": list(given),
            "balances": [change.balance for change in given.values()],
            "held": [change.held for change in given.values()],
        },
    )
    return int(moved.rowcount) + len(changes) - len(given)  # type: ignore[attr-defined]


def budget(uow: Session, budget_id: str) -> Budget | None:
    """Return a budget."""
    return uow.get(Budget, budget_id, populate_existing=True)


def lock_budgets(uow: Session, ids: Collection[str]) -> dict[str, Budget]:
    """Return budgets by id, locked until the end."""
    if not ids:
        return {}
    query = select(Budget).where(_among(Budget.id, ids)).order_by(Budget.id).with_for_update(key_share=True)
    return {row.id: row for row in uow.scalars(query.execution_options(populate_existing=True))}


def add_budget(uow: Session, row: Budget) -> None:
    """Write a budget."""
    uow.add(row)
    uow.flush()


def transactions(uow: Session, keys: Collection[str]) -> dict[str, Transaction]:
    """Return the movements that were booked under these keys."""
    return {row.key: row for row in uow.scalars(select(Transaction).where(_among(Transaction.key, keys)))}


def add_movements(uow: Session, heads: Sequence[dict[str, Any]], entries: Sequence[dict[str, Any]]) -> None:
    """Write movements with all their entries."""
    insert_rows(uow, Transaction, heads)
    insert_rows(uow, Entry, entries)


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


def add_holds(uow: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write holds."""
    insert_rows(uow, Hold, rows)


def holds_by_key(uow: Session, keys: Collection[str]) -> dict[str, Hold]:
    """Return holds by their idempotency keys."""
    return {row.key: row for row in uow.scalars(select(Hold).where(_among(Hold.key, keys)))}


def lock_holds(uow: Session, ids: Collection[str]) -> dict[str, Hold]:
    """Return holds as they stand, locked: only one of settle, release and sweep ends each."""
    query = select(Hold).where(_among(Hold.id, ids)).order_by(Hold.id).with_for_update(key_share=True)
    return {row.id: row for row in uow.scalars(query.execution_options(populate_existing=True))}


def lock_expired_holds(uow: Session, at: datetime, limit: int) -> list[Hold]:
    """Return open holds that expired by `at`, locked; those being ended elsewhere are passed over."""
    query = (
        select(Hold)
        .where(Hold.state == "open", Hold.expires_at <= at)
        .order_by(Hold.expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    )
    return list(uow.scalars(query.execution_options(populate_existing=True)))


_END_HOLDS = text(
    "UPDATE billing_holds h SET state = e.state"
    " FROM unnest(CAST(:ids AS text[]), CAST(:states AS text[])) AS e(id, state) WHERE h.id = e.id"
)


def end_holds(uow: Session, states: Mapping[str, str]) -> None:
    """Write how locked holds ended."""
    if states:
        uow.execute(_END_HOLDS, {"ids": list(states), "states": list(states.values())})


def add_receipts(uow: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write receipts."""
    insert_rows(uow, ReceiptRow, rows)


def receipts_of_holds(uow: Session, hold_ids: Collection[str]) -> dict[str, ReceiptRow]:
    """Return the receipts of holds that have ended, by hold."""
    rows = uow.scalars(select(ReceiptRow).where(_among(ReceiptRow.hold_id, hold_ids)))
    return {row.hold_id: row for row in rows}


def receipt(uow: Session, receipt_or_hold_id: str, tenant_id: str | None = None) -> ReceiptRow | None:
    """Return a receipt by its own id or its hold's; only one of `tenant_id` where that is given."""
    either = or_(ReceiptRow.id == receipt_or_hold_id, ReceiptRow.hold_id == receipt_or_hold_id)
    query = select(ReceiptRow).where(either)
    return uow.scalar(query if tenant_id is None else query.where(ReceiptRow.tenant_id == tenant_id))


def receipts(uow: Session, tenant_id: str, limit: int) -> list[ReceiptRow]:
    """Return a tenant's receipts, newest first."""
    newest = (ReceiptRow.created_at.desc(), ReceiptRow.id.desc())
    query = select(ReceiptRow).where(ReceiptRow.tenant_id == tenant_id).order_by(*newest).limit(limit)
    return list(uow.scalars(query))


def add_refund(uow: Session, row: RefundRow) -> None:
    """Write a refund."""
    uow.add(row)
    uow.flush()


def refunds(uow: Session, receipt_ids: Collection[str]) -> list[RefundRow]:
    """Return the refunds on receipts, oldest first."""
    found = select(RefundRow).where(_among(RefundRow.receipt_id, receipt_ids))
    return list(uow.scalars(found.order_by(RefundRow.created_at, RefundRow.id)))


def earnings_by_expert(uow: Session, developer_tenant_id: str) -> list[ExpertEarnings]:
    """Return what each expert earned, refunds taken off, the best earner first."""

    def tokens(name: str) -> Any:
        return func.coalesce(ReceiptRow.usage[name].as_string().cast(BigInteger), 0)

    refunded = (
        select(RefundRow.receipt_id, func.sum(RefundRow.developer_micro).label("micro"))
        .group_by(RefundRow.receipt_id)
        .subquery()
    )
    name = func.coalesce(ReceiptRow.usage["model"].as_string(), "")
    earned = func.sum(ReceiptRow.developer_micro - func.coalesce(refunded.c.micro, 0))
    query = (
        select(name, func.count(), func.sum(tokens("input_tokens") + tokens("output_tokens")), earned)
        .outerjoin(refunded, refunded.c.receipt_id == ReceiptRow.id)
        .where(ReceiptRow.developer_tenant_id == developer_tenant_id, ReceiptRow.state == "settled")
        .group_by(name)
        .order_by(earned.desc(), name)
    )
    return [ExpertEarnings(row[0], int(row[1]), int(row[2]), int(row[3])) for row in uow.execute(query)]


def current_prices(uow: Session, subjects: Collection[str]) -> dict[str, PriceRow]:
    """Return the newest price of each subject that has one."""
    query = (
        select(PriceRow)
        .where(_among(PriceRow.subject, subjects))
        .distinct(PriceRow.subject)
        .order_by(PriceRow.subject, PriceRow.number.desc())
    )
    return {row.subject: row for row in uow.scalars(query)}


def prices(uow: Session, subject: str) -> list[PriceRow]:
    """Return every version of a price, newest first."""
    return list(
        uow.scalars(select(PriceRow).where(PriceRow.subject == subject).order_by(PriceRow.number.desc()))
    )


def add_price(uow: Session, row: PriceRow) -> None:
    """Write a version of a price."""
    uow.add(row)
    uow.flush()


def add_first_price(uow: Session, row: dict[str, Any]) -> None:
    """Write the first version of a price, unless somebody else just did."""
    uow.execute(insert(PriceRow).values(row).on_conflict_do_nothing())
