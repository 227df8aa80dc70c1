"""A published expert with a stand-in model, and two people of different accounts."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from engine.accounts.schemas import Person
from engine.flows import top_up_wallet
from engine.inference import pool, tokens
from engine.kit.database import unit_of_work
from engine.kit.settings import settings
from engine.market import service as market
from engine.market.schemas import SYSTEM, ExpertView
from tests.support import make_person

Publish = Callable[..., ExpertView]


@pytest.fixture(autouse=True)
def stand_in_model(db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a deterministic model answer; without passages it gives the fixed refusal."""
    monkeypatch.setenv("MBE_INFERENCE", "fake")
    settings.cache_clear()
    caches = (pool.pool, tokens._tokenizer)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def chen(db: str) -> Person:
    """Somebody who asks, with 20 credits."""
    person = make_person("chen@example.com", "consumer")
    top_up_wallet.top_up(person, "20", "first")
    return person


@pytest.fixture
def poor(db: str) -> Person:
    """Somebody with an empty wallet."""
    return make_person("poor@example.com", "stakeholder")


@pytest.fixture
def publish(dana: Person) -> Publish:
    """Return a function that puts an expert of Dana's on the market: 2 credits per 1,000 tokens in, 4 out."""
    developer = dana
    reviewer = make_person("rui@example.com", "reviewer")

    def put(
        name: str = "help-desk", title: str = "Help desk", bases: Sequence[str] = (), **listing: object
    ) -> ExpertView:
        texts: dict[str, object] = {
            "description": "Answers questions about orders and returns.",
            "category": "customer-service",
            "tags": ["returns"],
            "input_price": "2",
            "output_price": "4",
            "example": "How long do returns take?",
        }
        quality = {"accuracy": 0.925, "response_p95_ms": 2140}
        with unit_of_work() as uow:
            expert = market.register(
                uow,
                person_id=developer.id,
                tenant_id=developer.tenant_id,
                name=name,
                title=title,
                run_id="run_1",
                adapter_prefix="adapters/run_1",
                base_model="starter",
                knowledge_base_ids=list(bases),
            )
            market.change_state(uow, expert.id, "testing", by=developer, reason="")
            market.record_quality(uow, expert.id, quality, True, by=SYSTEM)
            market.describe(
                uow,
                expert.id,
                tenant_id=developer.tenant_id,
                title=title,
                **{**texts, **listing},  # type: ignore[arg-type]
            )
            market.change_state(uow, expert.id, "pending_review", by=developer, reason="")
            market.change_state(uow, expert.id, "approved", by=reviewer, reason="fine")
            return market.change_state(uow, expert.id, "published", by=developer, reason="")

    return put
