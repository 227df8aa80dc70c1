"""People for the studio's tests: two developers of different tenants, and a reviewer; a base to be asked."""

from collections.abc import Callable

import pytest

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.flows import prepare_knowledge
from engine.kit.database import unit_of_work
from studio.handlers import knowledge
from tests.engine.knowledge.fakes import prepare

MakePerson = Callable[..., Person]
HELP = "## 营业时间\n\n门店每天早上九点开门。周末十点开门。\n\n## 停车\n\n停车场前<两>小时免费。"


@pytest.fixture
def make_person(db: str) -> MakePerson:
    """Return a function that adds a person with the given roles."""

    def make(name: str, *roles: str) -> Person:
        with unit_of_work() as uow:
            return accounts.create_person(
                uow,
                email=f"{name}@example.test",
                name=name,
                password="long enough",
                roles=roles,
                plan="pro",
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


@pytest.fixture
def base_id(dana: Person) -> str:
    """A base of Dana's that is ready to be asked."""
    made = knowledge.create(dana, "Shop", "zh")
    prepare_knowledge.add_document(dana, made, "help.md", HELP.encode())
    prepare(prepare_knowledge.base(dana, made))
    return made
