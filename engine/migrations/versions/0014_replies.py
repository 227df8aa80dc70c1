"""Answers that are kept for a retry with the same idempotency key."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, empty: no key was taken before."""
    op.create_table(
        "serving_replies",
        sa.Column("id", sa.String(), primary_key=True),
        *(sa.Column(name, sa.String(), nullable=False) for name in ("tenant_id", "key", "digest", "state")),
        sa.Column("status", sa.BigInteger()),
        sa.Column("media_type", sa.String()),
        sa.Column("body", sa.LargeBinary()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, index=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("tenant_id", "key"),
    )


def downgrade() -> None:
    """Forget the answers; a retry of theirs is a new call."""
    op.drop_table("serving_replies")
