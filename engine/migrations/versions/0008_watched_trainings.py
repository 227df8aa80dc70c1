"""What a training holds in memory, and what its model answers to questions on the way."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Points that are there keep an empty place, as what was held then is not known; no run has questions."""
    op.add_column("training_points", sa.Column("memory", sa.BigInteger()))
    op.add_column(
        "training_runs", sa.Column("questions", JSONB(), nullable=False, server_default=sa.text("'[]'"))
    )
    run = sa.ForeignKey("training_runs.id", ondelete="CASCADE")
    op.create_table(
        "training_samples",
        sa.Column("run_id", sa.String(), run, primary_key=True),
        sa.Column("step", sa.BigInteger(), primary_key=True),
        sa.Column("number", sa.BigInteger(), primary_key=True),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
    )


def downgrade() -> None:
    """Forget it."""
    op.drop_table("training_samples")
    op.drop_column("training_runs", "questions")
    op.drop_column("training_points", "memory")
