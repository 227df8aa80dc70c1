"""Questions that a knowledge base is checked with, what checks found, and chunks that people changed."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables of questions and checks; add the base's own threshold and the chunk's marks."""
    op.add_column("knowledge_bases", sa.Column("least_evidence", sa.Float()))
    op.add_column(
        "knowledge_chunks", sa.Column("enabled", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.add_column(
        "knowledge_chunks", sa.Column("edited", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    base = sa.ForeignKey("knowledge_bases.id", ondelete="CASCADE")
    op.create_table(
        "knowledge_questions",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("base_id", sa.String(), base, nullable=False, index=True),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("document_id", sa.String(), sa.ForeignKey("knowledge_documents.id", ondelete="CASCADE")),
        sa.Column("start", sa.BigInteger()),
        sa.Column("end", sa.BigInteger()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("base_id", "text"),
    )
    base = sa.ForeignKey("knowledge_bases.id", ondelete="CASCADE")
    op.create_table(
        "knowledge_checks",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("base_id", sa.String(), base, nullable=False, index=True),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("embedder", sa.String(), nullable=False),
        sa.Column("chunks", sa.BigInteger(), nullable=False),
        sa.Column("answerable", sa.BigInteger(), nullable=False),
        sa.Column("unanswerable", sa.BigInteger(), nullable=False),
        sa.Column("recall_1", sa.Float(), nullable=False),
        sa.Column("recall_5", sa.Float(), nullable=False),
        sa.Column("mrr", sa.Float(), nullable=False),
        sa.Column("least_evidence", sa.Float(), nullable=False),
        sa.Column("refused_wrongly", sa.Float()),
        sa.Column("refused_rightly", sa.Float()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Drop them."""
    op.drop_table("knowledge_checks")
    op.drop_table("knowledge_questions")
    op.drop_column("knowledge_chunks", "edited")
    op.drop_column("knowledge_chunks", "enabled")
    op.drop_column("knowledge_bases", "least_evidence")
