"""Chunks belong to an index of a base, so that there can be two; documents have labels."""

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TARGET_TOKENS = 80  # what every base was cut with until now


def upgrade() -> None:
    """Make an index of every base. Search tables are named otherwise now: their vectors are made anew."""
    base = sa.ForeignKey("knowledge_bases.id", ondelete="CASCADE")
    op.create_table(
        "knowledge_indexes",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("base_id", sa.String(), base, nullable=False),
        sa.Column("tenant_id", sa.String(), nullable=False),
        sa.Column("embedder", sa.String(), nullable=False),
        sa.Column("target_tokens", sa.BigInteger(), nullable=False),
        sa.Column("live", sa.Boolean(), nullable=False),
        sa.Column("least_evidence", sa.Float()),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("base_id", "live", deferrable=True, initially="DEFERRED"),
    )
    op.execute(
        "INSERT INTO knowledge_indexes "
        "SELECT replace(id, 'kb_', 'ki_'), id, tenant_id, embedder, "
        f"{TARGET_TOKENS}, true, least_evidence, created_at FROM knowledge_bases"
    )
    op.drop_column("knowledge_bases", "embedder")
    op.drop_column("knowledge_bases", "least_evidence")
    _documents()
    _chunks()
    op.add_column("knowledge_checks", sa.Column("index_id", sa.String()))
    op.add_column("knowledge_checks", sa.Column("target_tokens", sa.BigInteger()))
    op.add_column("knowledge_checks", sa.Column("live", sa.Boolean()))
    op.execute(
        f"UPDATE knowledge_checks SET live = true, target_tokens = {TARGET_TOKENS}, index_id = "
        "(SELECT id FROM knowledge_indexes WHERE base_id = knowledge_checks.base_id)"
    )
    op.alter_column("knowledge_checks", "index_id", nullable=False)
    op.alter_column("knowledge_checks", "target_tokens", nullable=False)
    op.alter_column("knowledge_checks", "live", nullable=False)
    _jobs()


def _documents() -> None:
    index = sa.ForeignKey("knowledge_indexes.id", ondelete="CASCADE")
    document = sa.ForeignKey("knowledge_documents.id", ondelete="CASCADE")
    op.create_table(
        "knowledge_cuts",
        sa.Column("index_id", sa.String(), index, primary_key=True),
        sa.Column("document_id", sa.String(), document, primary_key=True, index=True),
    )
    op.execute(
        "INSERT INTO knowledge_cuts SELECT i.id, d.id FROM knowledge_documents d "
        "JOIN knowledge_indexes i ON i.base_id = d.base_id WHERE d.state = 'chunked'"
    )
    op.drop_column("knowledge_documents", "state")
    op.add_column(
        "knowledge_documents",
        sa.Column("labels", JSONB(), nullable=False, server_default=sa.text("'[]'::jsonb")),
    )


def _chunks() -> None:
    op.add_column("knowledge_chunks", sa.Column("index_id", sa.String()))
    op.execute(
        "UPDATE knowledge_chunks SET indexed_hash = NULL, index_id = "
        "(SELECT id FROM knowledge_indexes WHERE base_id = knowledge_chunks.base_id)"
    )
    op.drop_constraint("pk_knowledge_chunks", "knowledge_chunks", type_="primary")
    op.drop_column("knowledge_chunks", "base_id")
    op.drop_column("knowledge_chunks", "indexed_by")
    op.create_primary_key("pk_knowledge_chunks", "knowledge_chunks", ["index_id", "id"])
    op.create_foreign_key(
        "fk_knowledge_chunks_index_id",
        "knowledge_chunks",
        "knowledge_indexes",
        ["index_id"],
        ["id"],
        ondelete="CASCADE",
    )


def _jobs() -> None:
    """Jobs are about an index now; the snapshots that a waiting restoring names are gone."""
    op.execute(
        "UPDATE jobs SET subject_id = replace(subject_id, 'kb_', 'ki_'), params = "
        "params || jsonb_build_object('index_id', replace(params->>'base_id', 'kb_', 'ki_')) "
        "WHERE kind LIKE 'knowledge.%'"
    )
    op.execute(
        "UPDATE jobs SET state = 'cancelled', finished_at = now() WHERE kind = 'knowledge.restore' "
        "AND state IN ('queued', 'paused', 'failed')"
    )


def downgrade() -> None:
    """There is no way back: a base may have two indexes now, and only one of them would find room."""
    raise CommandError("0006 cannot be taken back; restore a backup made before it")
