"""A stand-in model, people, and experts on the market."""

from collections.abc import Callable

import pytest

from engine.accounts.schemas import Person
from engine.kit.database import unit_of_work
from engine.market import service as market
from engine.market.schemas import SYSTEM, ExpertView
from tests.support import make_person

Publish = Callable[..., ExpertView]


@pytest.fixture
def publish(dana: Person) -> Publish:
    """Return a function that puts an expert of Dana's on the market."""
    reviewer = make_person("rui@example.com", "reviewer")

    def publish(name: str, example: str, category: str = "other", title: str = "") -> ExpertView:
        with unit_of_work() as uow:
            expert = market.register(
                uow,
                person_id=dana.id,
                tenant_id=dana.tenant_id,
                name=name,
                title=title or name,
                run_id=f"run_{name}",
                adapter_prefix=f"adapters/{name}",
                base_model="starter",
                knowledge_base_ids=[],
            )
            market.change_state(uow, expert.id, "testing", by=dana, reason="")
            market.record_quality(uow, expert.id, {"passed": True}, True, by=SYSTEM)
            market.describe(
                uow,
                expert.id,
                tenant_id=dana.tenant_id,
                title=title or name,
                description="Answers questions about orders and returns.",
                category=category,
                tags=[],
                input_price="1",
                output_price="1",
                example=example,
            )
            market.change_state(uow, expert.id, "pending_review", by=dana, reason="")
            market.change_state(uow, expert.id, "approved", by=reviewer, reason="fine")
            return market.change_state(uow, expert.id, "published", by=dana, reason="")

    return publish
