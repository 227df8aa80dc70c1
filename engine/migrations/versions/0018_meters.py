"""Meters: what each attempt at a job measured, and what was charged for it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

COUNTS = ("cpu_ms", "gpu_ms", "cpu_hour_micro", "gpu_hour_micro", "charged_micro", "unpaid_micro", "charges")


def upgrade() -> None:
    """Make the table, empty: attempts from before it are not charged."""
    op.create_table(
        "billing_meters",
        sa.Column("key", sa.String(), primary_key=True),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("work_id", sa.String(), nullable=False, index=True),
        sa.Column("subject", JSONB(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.Column("state", sa.String(), nullable=False),
        *(
            sa.Column(name, sa.DateTime(timezone=True), nullable=False)
            for name in ("created_at", "updated_at")
        ),
        sa.CheckConstraint("charged_micro >= 0 AND unpaid_micro >= 0", name="not_negative"),
        sa.CheckConstraint("state IN ('running', 'closed')", name="state"),
    )
    op.create_index("ix_billing_meters_updated", "billing_meters", ["updated_at"])
    for name, column, condition in (
        ("ix_billing_meters_running", "created_at", "state = 'running'"),
        ("ix_billing_meters_unpaid", "tenant_id", "unpaid_micro > 0"),
    ):
        op.create_index(name, "billing_meters", [column], postgresql_where=sa.text(condition))


def downgrade() -> None:
    """Forget the meters; their movements stay in the ledger."""
    op.drop_table("billing_meters")
