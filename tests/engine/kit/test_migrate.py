import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from engine.kit.database import Base, engine, plain_url, unit_of_work
from engine.kit.migrate import upgrade


def test_the_migrations_make_exactly_the_tables_of_the_models(db: str) -> None:
    with engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": ours})
        assert compare_metadata(context, Base.metadata) == []


def ours(name: str | None, kind: str, _parents: object) -> bool:
    return not (kind == "table" and (name or "").startswith(("procrastinate_", "alembic_")))


def test_migrating_again_changes_nothing(db: str) -> None:
    upgrade(plain_url())
    with unit_of_work() as uow:
        assert uow.execute(text("select version_num from alembic_version")).scalar_one()


@pytest.mark.parametrize("table", ["billing_entries", "billing_transactions", "arena_votes"])
def test_a_migrated_database_refuses_to_rewrite_history(db: str, table: str) -> None:
    with pytest.raises(DBAPIError), unit_of_work() as uow:
        uow.execute(text(f"delete from {table}"))
