"""Documents that are read by a parser, have pages, or come from a link."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add where pages begin, where a document was fetched from, and the page of a chunk."""
    op.add_column("knowledge_documents", sa.Column("page_starts", JSONB()))
    op.add_column("knowledge_documents", sa.Column("source_url", sa.String()))
    op.add_column("knowledge_chunks", sa.Column("page", sa.BigInteger()))


def downgrade() -> None:
    """Drop them."""
    op.drop_column("knowledge_chunks", "page")
    op.drop_column("knowledge_documents", "source_url")
    op.drop_column("knowledge_documents", "page_starts")
