"""A declared text that stands in for an answer: what callers get, what it costs, and who writes it."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.analytics.models import UsageEventRow
from engine.billing import service as billing
from engine.kit.database import unit_of_work
from engine.market.schemas import ExpertView
from tests.apps.gateway.upstreams import (
    CALLS,
    CHAT,
    QUESTION,
    Gateway,
    client,
    closing,
    declare,
    one,
    operator,
    pair,
    said,
    turn_off_local,
)
from tests.model_servers import ModelServer, Mood
from tests.support import make_person

__all__ = ["client", "one", "operator", "pair"]

SORRY = "We are away for a moment. Call 555-0100."


def money(person: Person) -> tuple[int, int, int, int]:
    """Return balance, held, the ledger's sum and how many movements there are."""
    with unit_of_work() as uow:
        return (
            billing.balance(uow, person.tenant_id),
            billing.held(uow, person.tenant_id),
            billing.ledger_sum(uow),
            len(billing.entries(uow, person.tenant_id, limit=500)),
        )


@pytest.mark.parametrize("mood", ["fails", "opens"])
@pytest.mark.parametrize(("path", "body"), CALLS)
def test_a_declared_text_stands_in_and_costs_nothing(
    gateway: Gateway,
    client: TestClient,
    operator: TestClient,
    developer: Person,
    consumer: Person,
    one: ModelServer,
    mood: Mood,
    path: str,
    body: dict[str, Any],
) -> None:
    turn_off_local(operator)
    declare(operator, one)
    one.mood = mood
    before = money(consumer)
    assert client.post(path, json=body).status_code == 502
    written = gateway(developer).put("/api/market/experts/help-desk/degraded", json={"text": SORRY})
    assert written.status_code == 200
    # Also when the server is broken and nobody is asked any more.
    for _ in range(6):
        answer = client.post(path, json=body, headers={"Idempotency-Key": "k"})
        assert (answer.headers["X-Degraded"], said(answer)) == ("1", SORRY)
        assert '"finish_reason":"stop"' in answer.text and "Idempotent-Replayed" not in answer.headers
        end = closing(answer)
        assert end["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        assert (end["receipt"]["state"], end["receipt"]["charged_micro"]) == ("released", 0)
    assert money(consumer) == before
    with unit_of_work() as uow:
        found = [(row.outcome, row.output_tokens) for row in uow.query(UsageEventRow).all()]
    assert sorted(found) == [("degraded", 0)] * 6 + [("failed", 0)]
    # The key is free: once a server is back, the answer is one.
    one.mood = "well"
    for each in operator.get("/api/upstreams").json():
        operator.post(f"/api/upstreams/{each['id']}/probe")
    answer = client.post(path, json=body, headers={"Idempotency-Key": "k"})
    assert said(answer) == "one" and "X-Degraded" not in answer.headers


def test_no_text_stands_in_after_the_first_word_or_for_a_refused_request(
    gateway: Gateway, client: TestClient, operator: TestClient, developer: Person, one: ModelServer
) -> None:
    turn_off_local(operator)
    declare(operator, one)
    gateway(developer).put("/api/market/experts/help-desk/degraded", json={"text": SORRY})
    one.mood = "breaks"
    answer = client.post(CHAT, json=QUESTION | {"stream": True})
    assert "inference.broke_off" in answer.text and SORRY not in answer.text
    one.mood = "refuses"
    assert client.post(CHAT, json=QUESTION).status_code == 400


def test_only_the_owner_writes_the_text(gateway: Gateway, developer: Person, published: ExpertView) -> None:
    address = "/api/market/experts/help-desk/degraded"
    mine = gateway(developer)
    rival = gateway(make_person("rival@example.com", "developer"))
    assert mine.get(address).status_code == 404
    assert mine.put(address, json={"text": SORRY}).json()["text"] == SORRY
    assert mine.get(address).json()["text"] == SORRY
    for method, body in (("GET", None), ("PUT", {"text": "hacked"}), ("DELETE", None)):
        assert rival.request(method, address, json=body).status_code == 404
    assert mine.get("/api/market/experts/nobody/degraded").status_code == 404
    for text in ("", " ", "x" * 2001):
        refused = mine.put(address, json={"text": text})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "text")
    assert mine.delete(address).status_code == 204 and mine.get(address).status_code == 404
