"""Keys with scopes, models, addresses, an expiry and limits; projects that they may belong to."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

LIMITS = ("requests_per_minute", "tokens_per_minute", "parallel")


def upgrade() -> None:
    """Keys that are there go on as they were: for everything, from everywhere, without an end."""
    op.create_table(
        "projects",
        sa.Column("id", sa.String(), primary_key=True),
        sa.Column("tenant_id", sa.String(), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in (*LIMITS, "requests_per_day")),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("archived_at", sa.DateTime(timezone=True)),
        sa.UniqueConstraint("tenant_id", "name"),
    )
    for name, old in (("scopes", '["chat", "embeddings", "account"]'), ("models", "[]"), ("ips", "[]")):
        op.add_column("api_keys", sa.Column(name, JSONB(), nullable=False, server_default=old))
        op.alter_column("api_keys", name, server_default=None)
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(timezone=True)))
    op.add_column("api_keys", sa.Column("project_id", sa.String(), sa.ForeignKey("projects.id")))
    op.create_index("ix_api_keys_project_id", "api_keys", ["project_id"])
    for name in (*LIMITS, "cap_micro"):
        op.add_column("api_keys", sa.Column(name, sa.BigInteger()))


def downgrade() -> None:
    """Forget projects, and revoke keys that were limited in any way: they must not do more than before."""
    op.execute(
        "UPDATE api_keys SET revoked_at = now() WHERE revoked_at IS NULL AND NOT ("
        """scopes @> '["chat", "embeddings", "account"]' AND models = '[]' AND ips = '[]'"""
        " AND num_nonnulls(expires_at, project_id, requests_per_minute, tokens_per_minute, parallel,"
        " cap_micro) = 0)"
    )
    for name in ("cap_micro", *LIMITS, "project_id", "expires_at", "ips", "models", "scopes"):
        op.drop_column("api_keys", name)
    op.drop_table("projects")
