"""What a training holds in memory, step by step."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Points that are there keep an empty place: what was held then is not known."""
    op.add_column("training_points", sa.Column("memory", sa.BigInteger()))


def downgrade() -> None:
    """Forget it."""
    op.drop_column("training_points", "memory")
