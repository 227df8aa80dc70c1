"""Paid answers over HTTP: shapes, prices, refusals."""

import json
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.kit.database import unit_of_work
from engine.kit.money import CREDIT, token_price
from engine.market.schemas import ExpertView

Gateway = Callable[[Person | None], TestClient]
QUESTION = {"model": "help-desk", "messages": [{"role": "user", "content": "How long do returns take?"}]}


def fill(person: Person, credits: int = 10) -> None:
    with unit_of_work() as uow:
        billing.top_up(
            uow, tenant_id=person.tenant_id, amount_micro=credits * CREDIT, key="fill", by=person.id
        )


def balance(person: Person) -> tuple[int, int]:
    with unit_of_work() as uow:
        return billing.balance(uow, person.tenant_id), billing.held(uow, person.tenant_id)


def test_an_answer_is_charged_by_its_tokens_and_split(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    answer = gateway(consumer).post("/v1/chat/completions", json=QUESTION).json()
    usage, receipt = answer["usage"], answer["receipt"]
    cost = token_price(
        usage["prompt_tokens"],
        usage["completion_tokens"],
        published.input_price_micro,
        published.output_price_micro,
    )
    assert answer["choices"][0]["message"]["content"]
    assert receipt["charged_micro"] == cost > 0
    assert receipt["developer_micro"] == cost * 80 // 100
    assert balance(consumer) == (10 * CREDIT - cost, 0)
    with unit_of_work() as uow:
        assert billing.earnings(uow, developer.tenant_id) == receipt["developer_micro"]
        assert billing.ledger_sum(uow) == 0


def test_the_price_decides_the_receipt(gateway: Gateway, consumer: Person, published: ExpertView) -> None:
    fill(consumer)
    receipt = gateway(consumer).post("/v1/chat/completions", json=QUESTION).json()["receipt"]
    used = receipt["usage"]
    assert receipt["charged_micro"] == -(
        -(used["input_tokens"] * 2_000_000 + used["output_tokens"] * 4_000_000) // 1000
    )


def test_a_stream_ends_with_usage_and_receipt(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    fill(consumer)
    answer = gateway(consumer).post("/v1/chat/completions", json={**QUESTION, "stream": True})
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    assert lines[-1] == "[DONE]"
    chunks = [json.loads(line) for line in lines[:-1]]
    assert chunks[0]["citations"] == []
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks[:-1])
    assert chunks[-1]["usage"]["total_tokens"] > 0
    assert chunks[-1]["receipt"]["charged_micro"] > 0
    assert balance(consumer)[1] == 0


def test_an_empty_wallet_is_told_what_is_missing(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    answer = gateway(consumer).post("/v1/chat/completions", json=QUESTION)
    assert answer.status_code == 402
    error = answer.json()["error"]
    assert error["type"] == "insufficient_quota" and float(error["details"]["missing"]) > 0


def test_an_unknown_model_names_the_near_ones(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    answer = gateway(consumer).post("/v1/chat/completions", json={**QUESTION, "model": "help-dask"})
    assert answer.status_code == 404
    assert "help-desk" in answer.json()["error"]["message"]


def test_nobody_and_revoked_keys_get_nothing(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    assert gateway(None).post("/v1/chat/completions", json=QUESTION).status_code == 401
    mine = gateway(consumer)
    made = mine.post("/api/keys", json={"name": "laptop"}).json()
    keyed = gateway(None)
    keyed.headers["Authorization"] = f"Bearer {made['secret']}"
    assert keyed.get("/v1/models").json()["data"][0]["id"] == "help-desk"
    mine.delete(f"/api/keys/{made['id']}")
    refused = keyed.get("/v1/models", headers={"Accept-Language": "zh-CN"})
    assert refused.status_code == 401 and "密钥" in refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "assistant", "content": "hello"}]}, "messages"),
        ({"messages": [{"role": "user", "content": " "}]}, "messages"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 10**6}, "max_tokens"),
        ({"temperature": 9}, "temperature"),
        ({"n": 9}, "n"),
        ({"temperature_": 1}, "temperature_"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "word " * 20_000}]}, "messages"),
    ],
)
def test_bad_requests_name_their_field_and_cost_nothing(
    gateway: Gateway,
    consumer: Person,
    published: ExpertView,
    change: dict[str, object],
    field: str,
) -> None:
    fill(consumer)
    answer = gateway(consumer).post("/v1/chat/completions", json={**QUESTION, **change})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert balance(consumer) == (10 * CREDIT, 0)


def test_while_the_model_warms_up_callers_are_told_when_to_come_back(
    gateway: Gateway, consumer: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(consumer)
    client = gateway(consumer)
    monkeypatch.setattr("engine.inference.state.answers", lambda: False)
    answer = client.post("/v1/chat/completions", json=QUESTION)
    assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0
    assert balance(consumer) == (10 * CREDIT, 0)


def test_a_page_of_another_site_cannot_spend(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    fill(consumer)
    answer = gateway(consumer).post(
        "/v1/chat/completions", json=QUESTION, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403


def test_an_expert_without_knowledge_cannot_be_kept_to_documents(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    asked = {"model": "help-desk", "messages": [{"role": "user", "content": "hi"}]}
    refused = gateway(consumer).post("/v1/chat/completions", json=asked | {"knowledge": {"labels": ["x"]}})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "knowledge"
