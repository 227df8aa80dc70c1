"""A gateway with a stand-in model, a real database, and people with sessions."""

from collections.abc import Callable, Iterator

import pytest
from fastapi.testclient import TestClient

from engine.accounts import sessions
from engine.accounts.schemas import Person
from engine.inference import pool, tokens
from engine.kit.database import unit_of_work
from engine.market import service as market
from engine.market.schemas import SYSTEM, ExpertView
from tests.support import make_person


@pytest.fixture
def gateway(db: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Person | None], TestClient]]:
    """Return a function that gives a client signed in as a person."""
    from engine.kit.settings import settings

    monkeypatch.setenv("MBE_INFERENCE", "fake")
    monkeypatch.setenv("MBE_EMBEDDER", "auto")
    settings.cache_clear()
    pool.pool.cache_clear()
    tokens._tokenizer.cache_clear()
    from apps.gateway.app import create_app

    app = create_app()

    def client(person: Person | None) -> TestClient:
        made = TestClient(app, raise_server_exceptions=False)
        if person:
            made.cookies.set(sessions.COOKIE, sessions.issue(person.id))
        return made

    yield client
    pool.pool.cache_clear()
    tokens._tokenizer.cache_clear()


@pytest.fixture(params=["gateway", "pages"])
def door(
    request: pytest.FixtureRequest, gateway: Callable[[Person | None], TestClient]
) -> Callable[[Person | None], TestClient]:
    """The gateway, and the part of it that the pages' own origin serves."""
    if request.param == "gateway":
        return gateway
    from apps.web import page_api

    app = page_api()

    def client(person: Person | None) -> TestClient:
        made = TestClient(app, raise_server_exceptions=False)
        if person:
            made.cookies.set(sessions.COOKIE, sessions.issue(person.id))
        return made

    return client


@pytest.fixture
def developer(db: str) -> Person:
    return make_person("dev@example.com", "developer")


@pytest.fixture
def reviewer(db: str) -> Person:
    return make_person("rev@example.com", "reviewer")


@pytest.fixture
def consumer(db: str) -> Person:
    return make_person("con@example.com", "consumer")


@pytest.fixture
def base_ids() -> list[str]:
    """The knowledge bases of the published expert: none, unless a test file says otherwise."""
    return []


@pytest.fixture
def published(developer: Person, reviewer: Person, base_ids: list[str]) -> ExpertView:
    """A published expert that costs 2 credits per 1,000 tokens in and 4 out."""
    with unit_of_work() as uow:
        expert = market.register(
            uow,
            person_id=developer.id,
            tenant_id=developer.tenant_id,
            name="help-desk",
            title="Help desk",
            run_id="run_1",
            adapter_prefix="adapters/run_1",
            base_model="starter",
            knowledge_base_ids=base_ids,
        )
        market.change_state(uow, expert.id, "testing", by=developer, reason="")
        market.record_quality(uow, expert.id, {"passed": True}, True, by=SYSTEM)
        market.describe(
            uow,
            expert.id,
            tenant_id=developer.tenant_id,
            title="Help desk",
            description="Answers questions about orders and returns.",
            category="customer-service",
            tags=[],
            input_price="2",
            output_price="4",
            example="How long do returns take?",
        )
        market.change_state(uow, expert.id, "pending_review", by=developer, reason="")
        market.change_state(uow, expert.id, "approved", by=reviewer, reason="fine")
        return market.change_state(uow, expert.id, "published", by=developer, reason="")
