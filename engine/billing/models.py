"""Billing's tables, and the database's own guards over the ledger.

The ledger is `billing_transactions` with `billing_entries`. A balance is a sum of entries and is stored
nowhere. Nothing that was booked is ever changed: a correction is another transaction.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import DDL, CheckConstraint, ForeignKey, Index, Table, UniqueConstraint, event, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.database import Base


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
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    transaction_id: Mapped[str] = mapped_column(ForeignKey("billing_transactions.id"), index=True)
    account_id: Mapped[str] = mapped_column(ForeignKey("billing_accounts.id"))
    tenant_id: Mapped[str]
    amount_micro: Mapped[int]
    at: Mapped[datetime]


class Hold(Base):
    """Credits set aside for one call until it is settled or released."""

    __tablename__ = "billing_holds"
    __table_args__ = (
        CheckConstraint("amount_micro >= 0", name="not_negative"),
        Index("ix_billing_holds_open", "expires_at", postgresql_where=text("state = 'open'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    transaction_id: Mapped[str] = mapped_column(ForeignKey("billing_transactions.id"), unique=True)
    amount_micro: Mapped[int]
    subject: Mapped[dict[str, Any]]
    state: Mapped[str]
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime]


class ReceiptRow(Base):
    """How a hold ended. Exactly one per hold, written with the movement that ended it."""

    __tablename__ = "billing_receipts"
    __table_args__ = (
        CheckConstraint("charged_micro + returned_micro = held_micro", name="hold_accounted_for"),
        CheckConstraint("developer_micro + platform_micro = charged_micro", name="charge_split"),
        Index("ix_billing_receipts_newest", "tenant_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    hold_id: Mapped[str] = mapped_column(ForeignKey("billing_holds.id"), unique=True)
    transaction_id: Mapped[str] = mapped_column(ForeignKey("billing_transactions.id"), unique=True)
    tenant_id: Mapped[str]
    developer_tenant_id: Mapped[str | None] = mapped_column(index=True)
    held_micro: Mapped[int]
    charged_micro: Mapped[int]
    returned_micro: Mapped[int]
    developer_micro: Mapped[int]
    platform_micro: Mapped[int]
    usage: Mapped[dict[str, Any]]
    state: Mapped[str]
    reason: Mapped[str | None]
    created_at: Mapped[datetime]


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


_BALANCED = """
CREATE OR REPLACE FUNCTION billing_refuse_unbalanced() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (SELECT sum(amount_micro) FROM billing_entries WHERE transaction_id = NEW.transaction_id) <> 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation',
            MESSAGE = 'entries of ' || NEW.transaction_id || ' do not sum to zero';
    END IF;
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS billing_entries_balanced ON billing_entries;
CREATE CONSTRAINT TRIGGER billing_entries_balanced AFTER INSERT ON billing_entries
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION billing_refuse_unbalanced();
"""

# Table -> SQL that guards it. `create_all` runs each after its table; a migration that creates a table
# by hand runs the same text. It can be run again, and holds no percent sign or bind parameter.
LEDGER_GUARDS: dict[str, str] = {
    Transaction.__tablename__: _append_only(Transaction.__tablename__),
    Entry.__tablename__: _append_only(Entry.__tablename__) + _BALANCED,
    ReceiptRow.__tablename__: _append_only(ReceiptRow.__tablename__),
}

for _model in (Transaction, Entry, ReceiptRow):
    _table = _model.__table__
    assert isinstance(_table, Table)
    event.listen(_table, "after_create", DDL(LEDGER_GUARDS[_table.name]))
