"""Wallets and budgets that admission can guard, holds beside the ledger, versions of prices, refunds."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

REFUSE = """
CREATE OR REPLACE TRIGGER {0}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {0}
    FOR EACH STATEMENT EXECUTE FUNCTION billing_refuse_change();
"""

# All entries of a transaction are written by one statement, and this looks at just those.
BALANCED = """
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

# Holds were movements between two accounts; they stay in the wallet now, so what lies in `held` goes back.
GIVE_BACK = """
CREATE TEMPORARY TABLE held_before ON COMMIT DROP AS
    SELECT h.tenant_id, h.id AS held_id, w.id AS wallet_id, sum(e.amount_micro) AS amount
    FROM billing_accounts h
    JOIN billing_entries e ON e.account_id = h.id
    JOIN billing_accounts w ON w.tenant_id = h.tenant_id AND w.kind = 'wallet'
    WHERE h.kind = 'held' GROUP BY h.tenant_id, h.id, w.id HAVING sum(e.amount_micro) <> 0;
INSERT INTO billing_transactions (id, tenant_id, key, digest, kind, at, meta)
    SELECT 'txn_unheld_' || tenant_id, tenant_id, 'unheld:' || tenant_id, '', 'release', now(), '{}'
    FROM held_before;
INSERT INTO billing_entries (id, transaction_id, account_id, tenant_id, amount_micro, at)
    SELECT 'ent_unheld_' || side || '_' || tenant_id, 'txn_unheld_' || tenant_id,
        CASE side WHEN 'out' THEN held_id ELSE wallet_id END, tenant_id,
        CASE side WHEN 'out' THEN -amount ELSE amount END, now()
    FROM held_before, (VALUES ('out'), ('in')) AS sides (side);
INSERT INTO billing_wallets (tenant_id, balance_micro, held_micro)
    SELECT a.tenant_id,
        coalesce((SELECT sum(e.amount_micro) FROM billing_entries e WHERE e.account_id = a.id), 0),
        coalesce((SELECT sum(h.amount_micro) FROM billing_holds h
            WHERE h.tenant_id = a.tenant_id AND h.state = 'open'), 0)
    FROM billing_accounts a WHERE a.kind = 'wallet';
"""

PUBLISHED = """
INSERT INTO billing_prices
    (id, subject, number, input_micro, output_micro, call_micro, minimum_micro, tiers, by_id, created_at)
    SELECT 'pri_' || id, name, 1, input_price_micro, output_price_micro, 0, 0, '[]', owner_id, now()
    FROM market_experts WHERE state = 'published';
"""


def upgrade() -> None:
    """Open calls go on: their holds keep their ids and are settled by them."""
    _wallets()
    _holds()
    _receipts()
    _prices_and_refunds()
    op.add_column("usage_events", sa.Column("call_id", sa.String()))
    op.create_index("ix_usage_events_call_id", "usage_events", ["call_id"])
    op.create_index("ix_usage_events_expert", "usage_events", ["expert_id", "at"])
    for statement in (*_statements(BALANCED), *GIVE_BACK.split(";\n"), PUBLISHED):
        if statement.strip():
            op.execute(statement)


def _statements(script: str) -> list[str]:
    function, rest = script.split("$$;\n")
    return [f"{function}$$", *rest.split(";\n")]


def _wallets() -> None:
    op.create_table(
        "billing_wallets",
        sa.Column("tenant_id", sa.String(), primary_key=True),
        sa.Column("balance_micro", sa.BigInteger(), nullable=False),
        sa.Column("held_micro", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("held_micro >= 0 AND balance_micro >= held_micro", name="covers_holds"),
    )
    op.create_table(
        "billing_budgets",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("tenant_id", sa.String(), nullable=False, index=True),
        sa.Column("limit_micro", sa.BigInteger(), nullable=False),
        sa.Column("spent_micro", sa.BigInteger(), nullable=False),
        sa.Column("held_micro", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("held_micro >= 0 AND spent_micro >= 0", name="not_negative"),
    )


def _holds() -> None:
    op.add_column("billing_holds", sa.Column("key", sa.String()))
    op.add_column("billing_holds", sa.Column("digest", sa.String()))
    op.execute(
        "UPDATE billing_holds h SET key = t.key, digest = t.digest FROM billing_transactions t"
        " WHERE t.id = h.transaction_id"
    )
    op.alter_column("billing_holds", "key", nullable=False)
    op.alter_column("billing_holds", "digest", nullable=False)
    op.create_unique_constraint(None, "billing_holds", ["key"])
    op.add_column("billing_holds", sa.Column("budget_id", sa.String(), sa.ForeignKey("billing_budgets.id")))
    op.drop_column("billing_holds", "transaction_id")


def _receipts() -> None:
    table = "billing_receipts"
    op.execute(f"ALTER TABLE {table} DISABLE TRIGGER billing_receipts_append_only")
    op.alter_column(table, "transaction_id", nullable=True)
    op.add_column(table, sa.Column("beyond_micro", sa.BigInteger(), nullable=False, server_default="0"))
    op.alter_column(table, "beyond_micro", server_default=None)
    op.add_column(table, sa.Column("digest", sa.String(), nullable=False, server_default=""))
    op.alter_column(table, "digest", server_default=None)
    op.add_column(table, sa.Column("subject", JSONB()))
    op.execute(f"UPDATE {table} r SET subject = h.subject FROM billing_holds h WHERE h.id = r.hold_id")
    op.alter_column(table, "subject", nullable=False)
    op.drop_constraint("ck_billing_receipts_hold_accounted_for", table)
    op.create_check_constraint(
        "hold_accounted_for", table, "charged_micro + returned_micro = held_micro + beyond_micro"
    )
    op.execute(f"ALTER TABLE {table} ENABLE TRIGGER billing_receipts_append_only")


def _prices_and_refunds() -> None:
    op.create_table(
        "billing_prices",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("subject", sa.String(), nullable=False),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("number", "input_micro", "output_micro", "call_micro", "minimum_micro")
        ),
        sa.Column("tiers", JSONB(), nullable=False),
        sa.Column("by_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("subject", "number"),
        sa.CheckConstraint(
            "input_micro >= 0 AND output_micro >= 0 AND call_micro >= 0 AND minimum_micro >= 0",
            name="not_negative",
        ),
    )
    op.create_table(
        "billing_refunds",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column(
            "receipt_id", sa.String(), sa.ForeignKey("billing_receipts.id"), nullable=False, index=True
        ),
        sa.Column(
            "transaction_id",
            sa.String(),
            sa.ForeignKey("billing_transactions.id"),
            nullable=False,
            unique=True,
        ),
        sa.Column("tenant_id", sa.String(), nullable=False, index=True),
        *(
            sa.Column(name, sa.BigInteger(), nullable=False)
            for name in ("amount_micro", "developer_micro", "platform_micro")
        ),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("by_id", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("amount_micro > 0", name="gives_something"),
        sa.CheckConstraint("developer_micro + platform_micro = amount_micro", name="refund_split"),
    )
    for table in ("billing_prices", "billing_refunds"):
        op.execute(REFUSE.format(table))


def downgrade() -> None:
    """Not offered: holds would have to become movements again."""
    raise RuntimeError("Wallets cannot be taken back; restore a backup instead.")
