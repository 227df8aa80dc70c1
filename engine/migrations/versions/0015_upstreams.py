"""Model servers beside the built-in one, and what is said for an expert when none answers."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make both tables, empty: the built-in server answers as before, and failures are told as before."""
    op.create_table(
        "serving_upstreams",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("name", sa.String(), nullable=False, unique=True),
        *(
            sa.Column(name, sa.String(), nullable=False)
            for name in ("base_url", "key_variable", "model", "served_as")
        ),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("weight", "fallback")),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by_id", sa.String(), nullable=False),
    )
    op.create_table(
        "serving_degraded",
        sa.Column("name", sa.String(), primary_key=True),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by_id", sa.String(), nullable=False),
    )


def downgrade() -> None:
    """Forget the servers and the texts; the built-in server answers alone."""
    op.drop_table("serving_degraded")
    op.drop_table("serving_upstreams")
