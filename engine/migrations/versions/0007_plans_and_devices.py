"""Plans of tenants; what jobs cost, what they wait for, and the machines and devices that do them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let tenants that are there keep what they could do: they get the plan "pro"."""
    op.add_column("tenants", sa.Column("plan", sa.String(20), nullable=False, server_default="pro"))
    op.alter_column("tenants", "plan", server_default=None)
    op.drop_column("jobs", "priority")
    op.drop_column("jobs", "delivery_id")
    op.add_column("jobs", sa.Column("resource", sa.String()))
    op.execute(
        "UPDATE jobs SET resource = CASE WHEN kind LIKE 'training.%' THEN 'training' "
        "WHEN kind LIKE 'knowledge.%' THEN 'indexing' ELSE 'other' END"
    )
    op.alter_column("jobs", "resource", nullable=False)
    op.add_column("jobs", sa.Column("urgent", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.alter_column("jobs", "urgent", server_default=None)
    op.add_column("jobs", sa.Column("memory", sa.BigInteger(), nullable=False, server_default="0"))
    op.alter_column("jobs", "memory", server_default=None)
    op.add_column("jobs", sa.Column("machine", sa.String()))
    op.add_column("jobs", sa.Column("device_id", sa.String()))
    op.add_column("jobs", sa.Column("queued_at", sa.DateTime(timezone=True)))
    op.execute("UPDATE jobs SET queued_at = created_at")
    op.alter_column("jobs", "queued_at", nullable=False)
    _costs()
    _machines()


def _costs() -> None:
    job = sa.ForeignKey("jobs.id", ondelete="CASCADE")
    op.create_table(
        "job_attempts",
        sa.Column("job_id", sa.String(), job, primary_key=True),
        sa.Column("token", sa.BigInteger(), primary_key=True),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("machine", sa.String(), nullable=False),
        sa.Column("device_id", sa.String()),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("cpu_ms", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_job_attempts_tenant_id_started_at", "job_attempts", ["tenant_id", "started_at"])


def _machines() -> None:
    op.create_table(
        "machines",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("slots", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
    machine = sa.ForeignKey("machines.name", ondelete="CASCADE")
    op.create_table(
        "devices",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("machine", sa.String(), machine, nullable=False, index=True),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("memory", sa.BigInteger(), nullable=False),
    )


def downgrade() -> None:
    """Drop it all; waiting jobs get their messages again from the worker's rescue."""
    op.drop_table("devices")
    op.drop_table("machines")
    op.drop_table("job_attempts")
    for name in ("queued_at", "device_id", "machine", "memory", "urgent", "resource"):
        op.drop_column("jobs", name)
    op.add_column("jobs", sa.Column("delivery_id", sa.BigInteger()))
    op.add_column("jobs", sa.Column("priority", sa.BigInteger(), nullable=False, server_default="0"))
    op.drop_column("tenants", "plan")
