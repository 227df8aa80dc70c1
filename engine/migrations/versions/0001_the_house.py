"""The house: every room's first tables, and procrastinate's queue."""

from pathlib import Path

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the frozen statements as they are: `%` and `:` in them are no placeholders."""
    cursor = op.get_bind().connection.cursor()
    for script in (Path(__file__).with_suffix(".sql").read_text("utf-8"), SchemaManager.get_schema()):
        cursor.execute(script)


def downgrade() -> None:
    """Not offered: taking back the first tables would take back everything in them."""
    raise RuntimeError("The first migration cannot be taken back; restore a backup instead.")
