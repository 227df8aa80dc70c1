import pytest
from sqlalchemy import text

from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput


def test_migrated_database_has_the_queue_and_commits(db: str) -> None:
    with unit_of_work() as uow:
        assert uow.execute(text("select count(*) from procrastinate_jobs")).scalar() == 0
        uow.execute(text("create table probe (n int)"))
    with unit_of_work() as uow:
        assert uow.execute(text("select count(*) from probe")).scalar() == 0


def test_an_error_rolls_back(db: str) -> None:
    try:
        with unit_of_work() as uow:
            uow.execute(text("create table probe (n int)"))
            raise ValueError
    except ValueError:
        pass
    with unit_of_work() as uow:
        assert uow.execute(text("select to_regclass('probe')")).scalar() is None


def test_a_value_that_cannot_be_stored_is_bad_input_and_changes_nothing(db: str) -> None:
    with unit_of_work() as uow:
        uow.execute(text("create table probe (n int)"))
    for statement, value in (("select :value", "a\0b"), ("insert into probe values (:value)", 2**40)):
        with pytest.raises(BadInput) as caught, unit_of_work() as uow:
            uow.execute(text("insert into probe values (1)"))
            uow.execute(text(statement), {"value": value})
        assert caught.value.key == "kit.unstorable"
    with unit_of_work() as uow:
        assert uow.execute(text("select count(*) from probe")).scalar() == 0
