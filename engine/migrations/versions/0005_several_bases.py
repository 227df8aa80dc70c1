"""Training runs with several knowledge bases."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the one base of a run the first of a list."""
    op.add_column(
        "training_runs",
        sa.Column("knowledge_base_ids", JSONB(), nullable=False, server_default=sa.text("'[]'")),
    )
    op.execute(
        "UPDATE training_runs SET knowledge_base_ids = jsonb_build_array(knowledge_base_id) "
        "WHERE knowledge_base_id <> ''"
    )
    op.drop_column("training_runs", "knowledge_base_id")


def downgrade() -> None:
    """Keep the first base only."""
    op.add_column("training_runs", sa.Column("knowledge_base_id", sa.String()))
    op.execute("UPDATE training_runs SET knowledge_base_id = knowledge_base_ids ->> 0")
    op.drop_column("training_runs", "knowledge_base_ids")
