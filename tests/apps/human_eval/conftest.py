"""People around a campaign, and an expert that has passed its test."""

import pytest

from engine.accounts.schemas import Person
from engine.kit.database import unit_of_work
from engine.market import service as market
from engine.market.schemas import SYSTEM, ExpertView
from tests.support import make_person


@pytest.fixture
def otto(db: str) -> Person:
    """A developer of another tenant."""
    return make_person("otto@example.com", "developer")


@pytest.fixture
def chen(db: str) -> Person:
    """A consumer, who has no part in rating."""
    return make_person("chen@example.com", "consumer")


@pytest.fixture
def expert(dana: Person) -> ExpertView:
    """An expert of Dana's that passed its test, beside one that was only trained."""
    with unit_of_work() as uow:
        made = [
            market.register(
                uow,
                person_id=dana.id,
                tenant_id=dana.tenant_id,
                name=name,
                title=title,
                run_id=f"run_{name}",
                adapter_prefix=f"adapters/{name}",
                base_model="starter",
                knowledge_base_ids=[],
            )
            for name, title in (("help-desk", "Help <b>desk</b>"), ("raw", "Only trained"))
        ]
        market.change_state(uow, made[0].id, "testing", by=dana, reason="")
        return market.record_quality(uow, made[0].id, {"passed": True}, True, by=SYSTEM)
