"""Credits from codes and payments, payouts, and the comparison of usage, receipts and ledger."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TIMES = (
    ("billing_entries", "at"),
    ("billing_receipts", "created_at"),
    ("usage_events", "at"),
)


def upgrade() -> None:
    """Make the tables, and indexes by which the newest rows are found."""
    _codes()
    _payments()
    _payouts()
    _reconciliations()
    for table, column in TIMES:
        op.create_index(
            f"ix_{table}_time",
            table,
            [column],
            postgresql_using="brin",
            postgresql_with={"autosummarize": True},
        )


def _text(name: str, **more: object) -> sa.Column[str]:
    return sa.Column(name, sa.String(), **{"nullable": False, **more})  # type: ignore[arg-type]


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _time(name: str, nullable: bool = False, index: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable, index=index)


def _movement(unique: bool) -> sa.Column[str]:
    return sa.Column(
        "transaction_id", sa.String(), sa.ForeignKey("billing_transactions.id"), unique=unique or None
    )


def _codes() -> None:
    op.create_table(
        "billing_codes",
        _text("id", primary_key=True),
        _text("batch_id", index=True),
        _text("hash", unique=True),
        _count("amount_micro"),
        _text("by_id"),
        _time("expires_at"),
        _time("created_at"),
        _text("redeemed_by_id", nullable=True),
        _time("redeemed_at", nullable=True),
        _movement(unique=True),
        sa.CheckConstraint("amount_micro > 0", name="gives_something"),
    )
    op.create_table(
        "billing_code_tries",
        _text("id", primary_key=True),
        _text("person_id"),
        _time("at"),
    )
    op.create_index("ix_billing_code_tries_newest", "billing_code_tries", ["person_id", "at"])


def _payments() -> None:
    op.create_table(
        "billing_orders",
        _text("id", primary_key=True),
        _text("tenant_id"),
        _text("person_id"),
        _text("key", unique=True),
        _count("amount_micro"),
        _count("amount_minor"),
        _text("currency"),
        _count("reversed_minor"),
        _text("state"),
        _text("reference", nullable=True),
        _text("url", nullable=True),
        _time("created_at"),
        _time("paid_at", nullable=True),
        sa.CheckConstraint("amount_micro > 0 AND amount_minor > 0", name="costs_something"),
        sa.CheckConstraint("reversed_minor BETWEEN 0 AND amount_minor", name="reversed_once"),
    )
    op.create_index("ix_billing_orders_newest", "billing_orders", ["tenant_id", "created_at"])
    op.create_table(
        "billing_payment_events",
        _text("id", primary_key=True),
        sa.Column("order_id", sa.String(), sa.ForeignKey("billing_orders.id"), nullable=False, index=True),
        _text("kind"),
        _text("digest"),
        _movement(unique=False),
        _time("at"),
    )


def _payouts() -> None:
    op.create_table(
        "billing_payouts",
        _text("id", primary_key=True),
        _text("tenant_id"),
        _text("person_id"),
        _text("key", unique=True),
        _text("digest"),
        _count("amount_micro"),
        _text("destination"),
        _text("state"),
        _text("reference", nullable=True),
        sa.Column("history", JSONB(), nullable=False),
        _time("created_at"),
        sa.CheckConstraint("amount_micro > 0", name="pays_something"),
    )
    op.create_index("ix_billing_payouts_newest", "billing_payouts", ["tenant_id", "created_at"])


def _reconciliations() -> None:
    op.create_table(
        "billing_reconciliations",
        _text("id", primary_key=True),
        _time("at", index=True),
        sa.Column("whole", sa.Boolean(), nullable=False),
        _time("until"),
        _count("checked"),
        sa.Column("differences", JSONB(), nullable=False),
        _count("found"),
        _count("micro"),
        _count("tokens"),
    )


def downgrade() -> None:
    """Forget codes, orders, payouts and comparisons; what they moved stays in the ledger."""
    for table, _ in TIMES:
        op.drop_index(f"ix_{table}_time", table)
    for table in (
        "billing_reconciliations",
        "billing_payouts",
        "billing_payment_events",
        "billing_orders",
        "billing_code_tries",
        "billing_codes",
    ):
        op.drop_table(table)
