"""Uploads that arrive in parts."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the two tables of the uploads room."""
    op.create_table(
        "uploads",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("tenant_id", sa.String(), nullable=False, index=True),
        sa.Column("owner_id", sa.String(), nullable=False),
        sa.Column("subject_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("result_id", sa.String()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("touched_at", sa.DateTime(timezone=True), nullable=False, index=True),
    )
    op.create_index(
        "uq_uploads_on_its_way",
        "uploads",
        ["tenant_id", "subject_id", "sha256"],
        unique=True,
        postgresql_where=sa.text("result_id IS NULL"),
    )
    op.create_table(
        "upload_parts",
        sa.Column(
            "upload_id", sa.String(), sa.ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("number", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("sha256", sa.String(), nullable=False),
    )


def downgrade() -> None:
    """Drop them; files that have become documents stay."""
    op.drop_table("upload_parts")
    op.drop_table("uploads")
