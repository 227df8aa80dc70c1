"""Searches for good values: a table of their own, and trials among the training runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table; runs that are there belong to no search."""
    op.create_table(
        "training_searches",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("tenant_id", sa.String(), nullable=False, index=True),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("job_id", sa.String()),
        sa.Column("dataset_id", sa.String(), nullable=False),
        sa.Column("dataset_fingerprint", sa.String()),
        sa.Column("knowledge_base_ids", JSONB(), nullable=False),
        sa.Column("questions", JSONB(), nullable=False),
        sa.Column("base_model", sa.String(), nullable=False),
        sa.Column("space", JSONB(), nullable=False),
        sa.Column("recipe", JSONB(), nullable=False),
        sa.Column("best_run_id", sa.String()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
    )
    search = sa.ForeignKey("training_searches.id", ondelete="CASCADE")
    op.add_column("training_runs", sa.Column("search_id", sa.String(), search))
    op.add_column("training_runs", sa.Column("trial", sa.BigInteger()))
    op.add_column("training_runs", sa.Column("ended", sa.String()))
    op.add_column("training_runs", sa.Column("result", JSONB()))
    op.create_unique_constraint(None, "training_runs", ["search_id", "trial"])


def downgrade() -> None:
    """Forget the searches with their trials; an expert keeps its adapter."""
    op.execute("delete from training_runs where search_id is not null")
    op.drop_constraint("uq_training_runs_search_id_trial", "training_runs")
    for column in ("result", "ended", "trial", "search_id"):
        op.drop_column("training_runs", column)
    op.drop_table("training_searches")
