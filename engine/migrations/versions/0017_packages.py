"""Packages of tokens, who has bought them, and holds that take tokens instead of credits."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def _text(name: str, **more: object) -> sa.Column[str]:
    return sa.Column(name, sa.String(), **{"nullable": False, **more})  # type: ignore[arg-type]


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=False)


def _time(name: str, nullable: bool = False) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), nullable=nullable)


def upgrade() -> None:
    """Make the tables, empty; holds that are open go on as they were."""
    _packages()
    _subscriptions()
    _allowances()
    op.add_column(
        "billing_holds", sa.Column("allowance_id", sa.String(), sa.ForeignKey("billing_allowances.id"))
    )
    op.add_column("billing_holds", sa.Column("held_tokens", sa.BigInteger()))
    op.create_check_constraint(
        "tokens_or_credits",
        "billing_holds",
        "(allowance_id IS NULL) = (held_tokens IS NULL) AND (allowance_id IS NULL OR amount_micro = 0)",
    )


def _packages() -> None:
    op.create_table(
        "billing_packages",
        _text("id", primary_key=True),
        *(_text(name) for name in ("subject", "tenant_id", "title")),
        _count("tokens"),
        _count("price_micro"),
        _text("state"),
        _text("by_id"),
        _time("created_at"),
        sa.CheckConstraint("tokens > 0 AND price_micro > 0", name="gives_something"),
    )
    op.create_index("ix_billing_packages_subject", "billing_packages", ["subject", "created_at"])


def _subscriptions() -> None:
    table = "billing_subscriptions"
    op.create_table(
        table,
        _text("id", primary_key=True),
        _text("tenant_id"),
        sa.Column(
            "package_id", sa.String(), sa.ForeignKey("billing_packages.id"), nullable=False, index=True
        ),
        *(_text(name) for name in ("subject", "person_id", "state")),
        sa.Column("renews", sa.Boolean(), nullable=False),
        _text("reason", nullable=True),
        _time("created_at"),
        _time("ends_at"),
        _time("due_at", nullable=True),
    )
    op.create_index(
        "ix_billing_subscriptions_running",
        table,
        ["tenant_id", "subject"],
        unique=True,
        postgresql_where=sa.text("state <> 'ended'"),
    )
    op.create_index(
        "ix_billing_subscriptions_due", table, ["due_at"], postgresql_where=sa.text("due_at IS NOT NULL")
    )
    op.create_index("ix_billing_subscriptions_newest", table, ["tenant_id", "created_at"])


def _allowances() -> None:
    table = "billing_allowances"
    op.create_table(
        table,
        _text("id", primary_key=True),
        sa.Column("subscription_id", sa.String(), sa.ForeignKey("billing_subscriptions.id"), nullable=False),
        _text("tenant_id"),
        _text("subject"),
        *(_count(name) for name in ("tokens", "used_tokens", "held_tokens")),
        _time("starts_at"),
        _time("ends_at"),
        sa.Column(
            "transaction_id",
            sa.String(),
            sa.ForeignKey("billing_transactions.id"),
            nullable=False,
            unique=True,
        ),
        sa.UniqueConstraint("subscription_id", "starts_at"),
        sa.CheckConstraint(
            "used_tokens >= 0 AND held_tokens >= 0 AND used_tokens + held_tokens <= tokens",
            name="covers_holds",
        ),
    )
    op.create_index("ix_billing_allowances_running", table, ["subject", "ends_at"])
    op.create_index("ix_billing_allowances_tenant", table, ["tenant_id", "subject", "ends_at"])


def downgrade() -> None:
    """Forget packages; what was paid for them stays in the ledger. Not while calls hold tokens."""
    op.drop_constraint("ck_billing_holds_tokens_or_credits", "billing_holds")
    op.drop_column("billing_holds", "held_tokens")
    op.drop_column("billing_holds", "allowance_id")
    for table in ("billing_allowances", "billing_subscriptions", "billing_packages"):
        op.drop_table(table)
