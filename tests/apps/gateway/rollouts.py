"""Two versions of the published expert, callers of both, and a model that fails on demand."""

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import select

from engine.accounts.schemas import Person
from engine.analytics.models import UsageEventRow
from engine.billing import service as billing
from engine.flows.call_rounds import listings
from engine.inference import pool
from engine.inference.adapters import adapter_name
from engine.inference.fake import FakeModel
from engine.inference.schemas import Delta
from engine.kit.database import unit_of_work
from engine.kit.errors import UpstreamFailed
from engine.kit.money import CREDIT
from engine.market import service as market
from engine.market.schemas import SYSTEM, ExpertView
from tests.apps.gateway.test_chat import QUESTION, balance, fill

Gateway = Callable[[Person | None], TestClient]
WAY = "/api/market/experts/help-desk/rollout"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
PROMPT = {"model": "help-desk", "prompt": "Returns take"}
CALLS = [
    (CHAT, QUESTION),
    (TEXT, PROMPT),
    (CHAT, QUESTION | {"stream": True}),
    (TEXT, PROMPT | {"stream": True}),
]
NAMES = {adapter_name(f"adapters/{run}"): run for run in ("run_1", "run_2")}
CANARY = {"x-routing-strategy": "canary"}


class Failing(FakeModel):
    """Fails for one adapter, before its first word or after it; the name of each model asked is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.bad = ""
        self.words = 0
        self.error: Exception = UpstreamFailed("inference.broke_off")
        self.asked: list[str] = []

    async def stream(self, model: str, prompt: Any, **options: Any) -> AsyncGenerator[Delta, None]:
        self.asked.append(NAMES.get(model, model))
        said = 0
        async for delta in super().stream(model, prompt, **options):
            if self.bad and self.bad in self.asked[-1] and said >= self.words:
                raise self.error
            said += 1
            yield delta


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    """What the test before published is not known any more."""
    listings.forget()


@pytest.fixture
def model(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    made = Failing()
    monkeypatch.setattr("engine.inference.pool.FakeModel", lambda: made)
    pool.pool.cache_clear()
    yield made


@pytest.fixture
def approved(published: ExpertView, developer: Person, reviewer: Person) -> ExpertView:
    """The next version of the published expert, cheaper on its listing, reviewed and not published."""
    with unit_of_work() as uow:
        made = market.register(
            uow,
            person_id=developer.id,
            tenant_id=developer.tenant_id,
            name="help-desk",
            title="Help desk",
            run_id="run_2",
            adapter_prefix="adapters/run_2",
            base_model="starter",
            knowledge_base_ids=[],
        )
        market.change_state(uow, made.id, "testing", by=developer, reason="")
        market.record_quality(uow, made.id, {"passed": True}, True, by=SYSTEM)
        market.describe(
            uow,
            made.id,
            tenant_id=developer.tenant_id,
            title="Help desk",
            description="Answers questions about orders and returns.",
            category="customer-service",
            tags=[],
            input_price="1",
            output_price="1",
            example="How long do returns take?",
        )
        market.change_state(uow, made.id, "pending_review", by=developer, reason="")
        return market.change_state(uow, made.id, "approved", by=reviewer, reason="fine")


@pytest.fixture
def mine(gateway: Gateway, developer: Person, approved: ExpertView) -> TestClient:
    return gateway(developer)


@pytest.fixture
def theirs(gateway: Gateway, consumer: Person, published: ExpertView) -> TestClient:
    fill(consumer)
    return gateway(consumer)


def begin(client: TestClient, **changes: Any) -> dict[str, Any]:
    made = client.post(WAY, json=changes)
    assert made.status_code == 201, made.text
    return dict(made.json())


def arms(client: TestClient) -> dict[str, tuple[int, int]]:
    shown = client.get(WAY).json()["arms"]
    return {arm: (one["calls"], one["failed"]) for arm, one in shown.items()}


def receipt(answer: Response) -> dict[str, Any]:
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]", answer.text
        return dict(json.loads(lines[-2])["receipt"])
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["receipt"])


def events() -> list[tuple[str, str]]:
    with unit_of_work() as uow:
        rows = uow.scalars(select(UsageEventRow).order_by(UsageEventRow.at))
        return [(row.expert_id, row.outcome) for row in rows]


def agrees(person: Person, charged: int) -> None:
    """The wallet, what is held, and the ledger say that so much was paid."""
    assert balance(person) == (10 * CREDIT - charged, 0)
    with unit_of_work() as uow:
        assert billing.ledger_sum(uow) == 0
