"""People for the studio's tests: two developers of different tenants, and a reviewer."""

from collections.abc import Callable

import pytest

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.kit.database import unit_of_work

MakePerson = Callable[..., Person]


@pytest.fixture
def make_person(db: str) -> MakePerson:
    """Return a function that adds a person with the given roles."""

    def make(name: str, *roles: str) -> Person:
        with unit_of_work() as uow:
            return accounts.create_person(
                uow, email=f"{name}@example.test", name=name, password="long enough", roles=roles
            )

    return make


@pytest.fixture
def dana(make_person: MakePerson) -> Person:
    """A developer."""
    return make_person("Dana", "developer")


@pytest.fixture
def other(make_person: MakePerson) -> Person:
    """A developer of another tenant."""
    return make_person("Otto", "developer")


@pytest.fixture
def rui(make_person: MakePerson) -> Person:
    """A reviewer."""
    return make_person("Rui", "reviewer")
