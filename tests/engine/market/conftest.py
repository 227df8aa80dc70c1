"""People and experts that the market's tests share."""

from typing import Any

import pytest

from engine.kit.database import unit_of_work
from engine.market import service
from engine.market.schemas import SYSTEM, Actor, ExpertView

OWNER = Actor("per_owner", "ten_a", frozenset({"developer"}))
REVIEWER = Actor("per_reviewer", "ten_p", frozenset({"reviewer"}))


class Market:
    """The market's doors, each in a unit of work of its own."""

    owner, reviewer = OWNER, REVIEWER
    other = Actor("per_other", "ten_b", frozenset({"developer"}))

    def register(
        self, name: str = "tent-helper", by: Actor = OWNER, title: str = "Tent helper"
    ) -> ExpertView:
        with unit_of_work() as uow:
            return service.register(
                uow,
                person_id=by.id,
                tenant_id=by.tenant_id,
                name=name,
                title=title,
                run_id="run_1",
                adapter_prefix="adapters/run_1",
                base_model="starter",
                knowledge_base_ids=["kb_1"],
            )

    def describe(self, expert_id: str, tenant_id: str = OWNER.tenant_id, **changes: Any) -> ExpertView:
        words: dict[str, Any] = {
            "title": "Tent helper",
            "description": "Answers questions about tents and sleeping bags.",
            "category": "customer-service",
            "tags": ["tents", "露营"],
            "input_price": "0.25",
            "output_price": "0.5",
            "example": "How do I pitch the Alder 2?",
        }
        with unit_of_work() as uow:
            return service.describe(uow, expert_id, tenant_id=tenant_id, **{**words, **changes})

    def move(self, expert_id: str, to: str, by: Actor = OWNER, reason: str = "") -> ExpertView:
        with unit_of_work() as uow:
            return service.change_state(uow, expert_id, to, by=by, reason=reason)

    def test(self, expert_id: str, passed: bool = True) -> ExpertView:
        """Run an expert through its quality test."""
        self.move(expert_id, "testing")
        with unit_of_work() as uow:
            return service.record_quality(uow, expert_id, {"accuracy": 0.9}, passed, SYSTEM)

    def submit(self, expert_id: str, **changes: Any) -> ExpertView:
        self.test(expert_id)
        self.describe(expert_id, **changes)
        return self.move(expert_id, "pending_review")

    def publish(self, expert_id: str, **changes: Any) -> ExpertView:
        """Take a trained expert all the way."""
        self.submit(expert_id, **changes)
        self.move(expert_id, "approved", REVIEWER)
        return self.move(expert_id, "published")

    def names(self, **wishes: Any) -> list[str]:
        with unit_of_work() as uow:
            return [one.name for one in service.catalog(uow, **wishes)]


@pytest.fixture
def market(db: str) -> Market:
    """An empty market."""
    return Market()
