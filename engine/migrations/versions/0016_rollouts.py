"""Versions in traffic: a candidate's share of the calls of a name, and what came of the calls."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables, empty: every name has one version so far."""
    words = ("tenant_id", "stable_id", "candidate_id", "strategy", "state", "by_id")
    op.create_table(
        "serving_rollouts",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False),
        *(sa.Column(name, sa.String(), nullable=False, index=name == "tenant_id") for name in words),
        sa.Column("weight_percent", sa.BigInteger(), nullable=False),
        sa.Column("margins", postgresql.JSONB(), nullable=False),
        sa.Column("reason", postgresql.JSONB()),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("weight_percent BETWEEN 0 AND 100", name="weight_is_a_share"),
    )
    op.create_index(
        "ix_serving_rollouts_one_running",
        "serving_rollouts",
        ["name"],
        unique=True,
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index("ix_serving_rollouts_name_started_at", "serving_rollouts", ["name", "started_at"])
    op.create_table(
        "serving_outcomes",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("rollout_id", sa.String(), nullable=False),
        sa.Column("version_id", sa.String(), nullable=False),
        sa.Column("arm", sa.String(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("ix_serving_outcomes_rollout_id_arm_at", "serving_outcomes", ["rollout_id", "arm", "at"])


def downgrade() -> None:
    """Leave every name with its stable version."""
    op.drop_table("serving_outcomes")
    op.drop_table("serving_rollouts")
