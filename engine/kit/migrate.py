"""Bring a database to the current schema: our tables by Alembic, the queue's by procrastinate."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from engine.kit.database import sqlalchemy_url

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"


def alembic_config(url: str) -> Config:
    """Return an Alembic configuration for the PostgreSQL at `url`."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = sqlalchemy_url(url)
    return config


def upgrade(url: str) -> None:
    """Apply every migration that `url` lacks; does nothing when it has them all."""
    command.upgrade(alembic_config(url), "head")
