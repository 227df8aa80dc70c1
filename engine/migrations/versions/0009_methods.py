"""Learning from preferences, and experts that are a prompt."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MEASURED = ("margin", "eval_margin", "eval_accuracy")


def upgrade() -> None:
    """Points that are there are of trainings without preferences, experts that are there have adapters."""
    for name in MEASURED:
        op.add_column("training_points", sa.Column(name, sa.Float()))
    op.add_column(
        "market_experts", sa.Column("template", sa.String(), nullable=False, server_default=sa.text("''"))
    )


def downgrade() -> None:
    """Forget it."""
    op.drop_column("market_experts", "template")
    for name in MEASURED:
        op.drop_column("training_points", name)
