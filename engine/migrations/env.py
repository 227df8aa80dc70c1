"""Alembic's entry point: collects every room's tables and runs in one transaction."""

import importlib
import pkgutil

from alembic import context
from sqlalchemy import create_engine

import arena
import engine
from engine.kit.database import Base


def load_models() -> None:
    """Import each `models.py`, so that `Base.metadata` knows every table."""
    for package in (engine, arena):
        for found in pkgutil.iter_modules(package.__path__):
            name = f"{package.__name__}.{found.name}"
            if found.ispkg and importlib.util.find_spec(f"{name}.models"):
                importlib.import_module(f"{name}.models")
    if importlib.util.find_spec("arena.models"):
        importlib.import_module("arena.models")


def ours(name: str | None, kind: str, _parents: object) -> bool:
    """Leave the queue's own tables to procrastinate."""
    return not (kind == "table" and (name or "").startswith("procrastinate_"))


def run() -> None:
    """Run the migrations on the database that the configuration names."""
    load_models()
    connectable = create_engine(context.config.attributes["url"])
    with connectable.begin() as connection:
        context.configure(
            connection=connection, target_metadata=Base.metadata, include_name=ours, compare_type=True
        )
        with context.begin_transaction():
            context.run_migrations()
    connectable.dispose()


run()
