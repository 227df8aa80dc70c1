"""Billing's tables, and the database's own guards over the ledger.

The ledger is `billing_transactions` with `billing_entries`. A balance is a sum of entries; a wallet's is kept
beside them as well, moved in the transaction of its entries, so that admitting a call is one guarded
statement. Nothing that was booked is ever changed: a correction is another transaction.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import DDL, CheckConstraint, ForeignKey, Index, Table, UniqueConstraint, event, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.billing.models_packages import AllowanceRow
from engine.billing.schemas import Rates
from engine.kit.database import Base

IN_ORDER: dict[str, Any] = {"postgresql_using": "brin", "postgresql_with": {"autosummarize": True}}
"""An index over rows that are written in the order of their time: next to nothing to keep up."""


class Account(Base):
    """Where credits can be. `tenant_id` is "platform" for the platform's own accounts."""

    __tablename__ = "billing_accounts"
    __table_args__ = (UniqueConstraint("tenant_id", "kind"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    kind: Mapped[str]
    created_at: Mapped[datetime]


class Transaction(Base):
    """One movement of credits. `key` makes it happen once; `digest` tells a retry from another request."""

    __tablename__ = "billing_transactions"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    key: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[str]
    kind: Mapped[str]
    at: Mapped[datetime]
    meta: Mapped[dict[str, Any]]


class Entry(Base):
    """One leg of a movement: `amount_micro` is added to the account; a movement's legs sum to zero."""

    __tablename__ = "billing_entries"
    __table_args__ = (
        CheckConstraint("amount_micro <> 0", name="moves_something"),
        # Holds the amounts too, so that a balance is read from the index alone.
        Index("ix_billing_entries_balance", "account_id", postgresql_include=["amount_micro"]),
        Index("ix_billing_entries_newest", "tenant_id", "at"),
        Index("ix_billing_entries_time", "at", **IN_ORDER),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[str] = mapped_column(ForeignKey("billing_transactions.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("billing_accounts.id"))
    tenant_id: Mapped[str]
    amount_micro: Mapped[int]
    at: Mapped[datetime]


class Wallet(Base):
    """What a tenant can spend: the sums of its wallet's entries and of its open holds.

    The database refuses any change that would leave a hold without its credits.
    """

    __tablename__ = "billing_wallets"
    __table_args__ = (
        CheckConstraint("held_micro >= 0 AND balance_micro >= held_micro", name="covers_holds"),
    )

    tenant_id: Mapped[str] = mapped_column(primary_key=True)
    balance_micro: Mapped[int]
    held_micro: Mapped[int]


class Budget(Base):
    """The most that may be spent on something inside a tenant, such as all calls with one API key."""

    __tablename__ = "billing_budgets"
    __table_args__ = (CheckConstraint("held_micro >= 0 AND spent_micro >= 0", name="not_negative"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    limit_micro: Mapped[int]
    spent_micro: Mapped[int]
    held_micro: Mapped[int]


class Hold(Base):
    """Credits set aside for one call until it is settled or released. No entry: nothing has moved yet.

    Or, where `allowance_id` is there, tokens of a package instead, and no credits.
    """

    __tablename__ = "billing_holds"
    __table_args__ = (
        CheckConstraint("amount_micro >= 0", name="not_negative"),
        CheckConstraint(
            "(allowance_id IS NULL) = (held_tokens IS NULL) AND (allowance_id IS NULL OR amount_micro = 0)",
            name="tokens_or_credits",
        ),
        Index("ix_billing_holds_open", "expires_at", postgresql_where=text("state = 'open'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    key: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[str]
    amount_micro: Mapped[int]
    budget_id: Mapped[str | None] = mapped_column(ForeignKey("billing_budgets.id"))
    subject: Mapped[dict[str, Any]]
    state: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]
    allowance_id: Mapped[str | None] = mapped_column(ForeignKey(AllowanceRow.id))
    held_tokens: Mapped[int | None]


class ReceiptRow(Base):
    """How a hold ended. Exactly one per hold, written with the movement that ended it, if credits moved."""

    __tablename__ = "billing_receipts"
    __table_args__ = (
        CheckConstraint(
            "charged_micro + returned_micro = held_micro + beyond_micro", name="hold_accounted_for"
        ),
        CheckConstraint("developer_micro + platform_micro = charged_micro", name="charge_split"),
        Index("ix_billing_receipts_newest", "tenant_id", "created_at"),
        Index("ix_billing_receipts_time", "created_at", **IN_ORDER),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    hold_id: Mapped[str] = mapped_column(ForeignKey("billing_holds.id"), unique=True)
    transaction_id: Mapped[str | None] = mapped_column(ForeignKey("billing_transactions.id"), unique=True)
    tenant_id: Mapped[str]
    developer_tenant_id: Mapped[str | None] = mapped_column(index=True)
    held_micro: Mapped[int]
    beyond_micro: Mapped[int]
    charged_micro: Mapped[int]
    returned_micro: Mapped[int]
    developer_micro: Mapped[int]
    platform_micro: Mapped[int]
    subject: Mapped[dict[str, Any]]
    usage: Mapped[dict[str, Any]]
    digest: Mapped[str]
    state: Mapped[str]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]


class RefundRow(Base):
    """Credits given back on a receipt, in full or in part: the mirror of its movement."""

    __tablename__ = "billing_refunds"
    __table_args__ = (
        CheckConstraint("amount_micro > 0", name="gives_something"),
        CheckConstraint("developer_micro + platform_micro = amount_micro", name="refund_split"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    receipt_id: Mapped[str] = mapped_column(ForeignKey("billing_receipts.id"), index=True)
    transaction_id: Mapped[str] = mapped_column(ForeignKey("billing_transactions.id"), unique=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    amount_micro: Mapped[int]
    developer_micro: Mapped[int]
    platform_micro: Mapped[int]
    reason: Mapped[str]
    by_id: Mapped[str]
    created_at: Mapped[datetime]


class PriceRow(Base):
    """One version of the price of a subject, such as a model; it is never changed, the next one replaces it.

    Amounts are micro-credits: per 1,000 tokens in and out, per call, and the least that a call costs.
    `tiers` is a list of {"from_tokens", "input_micro", "output_micro"} for tenants that used so many tokens
    of it in the calendar month before the call.
    """

    __tablename__ = "billing_prices"
    __table_args__ = (
        UniqueConstraint("subject", "number"),
        CheckConstraint(
            "input_micro >= 0 AND output_micro >= 0 AND call_micro >= 0 AND minimum_micro >= 0",
            name="not_negative",
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str]
    number: Mapped[int]
    input_micro: Mapped[int]
    output_micro: Mapped[int]
    call_micro: Mapped[int]
    minimum_micro: Mapped[int]
    tiers: Mapped[list[dict[str, Any]]]
    by_id: Mapped[str]
    created_at: Mapped[datetime]


class Meter(Base):
    """What one attempt at a job has measured, and what was charged for it in `charges` movements.

    Charged and unpaid together are what its times cost at its rates. `work_id` is the job.
    """

    __tablename__ = "billing_meters"
    __table_args__ = (
        CheckConstraint("charged_micro >= 0 AND unpaid_micro >= 0", name="not_negative"),
        CheckConstraint("state IN ('running', 'closed')", name="state"),
        Index("ix_billing_meters_updated", "updated_at"),
        Index("ix_billing_meters_running", "created_at", postgresql_where=text("state = 'running'")),
        Index("ix_billing_meters_unpaid", "tenant_id", postgresql_where=text("unpaid_micro > 0")),
    )

    key: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    work_id: Mapped[str] = mapped_column(index=True)
    subject: Mapped[dict[str, Any]]
    cpu_ms: Mapped[int]
    gpu_ms: Mapped[int]
    cpu_hour_micro: Mapped[int]
    gpu_hour_micro: Mapped[int]
    charged_micro: Mapped[int]
    unpaid_micro: Mapped[int]
    charges: Mapped[int]
    state: Mapped[str]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    @property
    def rates(self) -> Rates:
        """What an hour of each costs on this meter."""
        return Rates(cpu_hour_micro=self.cpu_hour_micro, gpu_hour_micro=self.gpu_hour_micro)


class CodeRow(Base):
    """A code that somebody can redeem for credits, once. The code itself is nowhere, only its SHA-256."""

    __tablename__ = "billing_codes"
    __table_args__ = (CheckConstraint("amount_micro > 0", name="gives_something"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(index=True)
    hash: Mapped[str] = mapped_column(unique=True)
    amount_micro: Mapped[int]
    by_id: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]
    redeemed_by_id: Mapped[str | None]
    redeemed_at: Mapped[datetime | None]
    transaction_id: Mapped[str | None] = mapped_column(ForeignKey("billing_transactions.id"), unique=True)


class CodeTry(Base):
    """A code that somebody tried and that is none: too many of them, and the person has to wait."""

    __tablename__ = "billing_code_tries"
    __table_args__ = (Index("ix_billing_code_tries_newest", "person_id", "at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str]
    at: Mapped[datetime]


class OrderRow(Base):
    """Credits that somebody buys through the payment provider, and what they cost in its currency.

    `amount_minor` counts the currency's smallest unit; `reversed_minor` is what of it was taken back.
    """

    __tablename__ = "billing_orders"
    __table_args__ = (
        CheckConstraint("amount_micro > 0 AND amount_minor > 0", name="costs_something"),
        CheckConstraint("reversed_minor BETWEEN 0 AND amount_minor", name="reversed_once"),
        Index("ix_billing_orders_newest", "tenant_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    person_id: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    amount_micro: Mapped[int]
    amount_minor: Mapped[int]
    currency: Mapped[str]
    reversed_minor: Mapped[int]
    state: Mapped[str]
    reference: Mapped[str | None]
    url: Mapped[str | None]
    created_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]


class PaymentEventRow(Base):
    """What the payment provider told about an order, once per event; `id` is the provider's own."""

    __tablename__ = "billing_payment_events"

    id: Mapped[str] = mapped_column(primary_key=True)
    order_id: Mapped[str] = mapped_column(ForeignKey("billing_orders.id"), index=True)
    kind: Mapped[str]
    digest: Mapped[str]
    transaction_id: Mapped[str | None] = mapped_column(ForeignKey("billing_transactions.id"))
    at: Mapped[datetime]


class PayoutRow(Base):
    """Earnings that somebody asked to have paid out. `history` holds who did what when, oldest first."""

    __tablename__ = "billing_payouts"
    __table_args__ = (
        CheckConstraint("amount_micro > 0", name="pays_something"),
        Index("ix_billing_payouts_newest", "tenant_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    person_id: Mapped[str]
    key: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[str]
    amount_micro: Mapped[int]
    destination: Mapped[str]
    state: Mapped[str]
    reference: Mapped[str | None]
    history: Mapped[list[dict[str, Any]]]
    created_at: Mapped[datetime]


class ReconciliationRow(Base):
    """One comparison of usage events, receipts and ledger: what was looked at and what did not agree."""

    __tablename__ = "billing_reconciliations"

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    whole: Mapped[bool]
    until: Mapped[datetime]
    checked: Mapped[int]
    differences: Mapped[list[dict[str, Any]]]
    found: Mapped[int]
    micro: Mapped[int]
    tokens: Mapped[int]


def _append_only(table: str) -> str:
    return f"""
CREATE OR REPLACE FUNCTION billing_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'restrict_violation',
        MESSAGE = TG_TABLE_NAME || ' is append-only: ' || TG_OP || ' refused';
END $$;
CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
"""


# All entries of a transaction are written by one statement, and this looks at just those.
_BALANCED = """
CREATE OR REPLACE FUNCTION billing_refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE wrong text;
BEGIN
    SELECT transaction_id INTO wrong FROM new_entries
        GROUP BY transaction_id HAVING sum(amount_micro) <> 0 LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = 'entries of ' || wrong || ' do not sum to zero';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS billing_entries_balanced ON billing_entries;
CREATE TRIGGER billing_entries_balanced AFTER INSERT ON billing_entries
    REFERENCING NEW TABLE AS new_entries
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_unbalanced();
"""

# Table -> SQL that guards it. `create_all` runs each after its table; a migration that creates a table
# by hand runs the same text. It can be run again, and holds no percent sign or bind parameter.
LEDGER_GUARDS: dict[str, str] = {
    Transaction.__tablename__: _append_only(Transaction.__tablename__),
    Entry.__tablename__: _append_only(Entry.__tablename__) + _BALANCED,
    ReceiptRow.__tablename__: _append_only(ReceiptRow.__tablename__),
    RefundRow.__tablename__: _append_only(RefundRow.__tablename__),
    PriceRow.__tablename__: _append_only(PriceRow.__tablename__),
}

for _model in (Transaction, Entry, ReceiptRow, RefundRow, PriceRow):
    _table = _model.__table__
    assert isinstance(_table, Table)
    event.listen(_table, "after_create", DDL(LEDGER_GUARDS[_table.name]))
