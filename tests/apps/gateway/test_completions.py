"""Plain texts that go on, and what OpenAI's requests may hold."""

import json
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.market.schemas import ExpertView
from tests.apps.gateway.test_chat import QUESTION, balance, fill

Gateway = Callable[[Person | None], TestClient]
TEXT = {"model": "help-desk", "prompt": "How long do returns take?"}


def test_a_text_goes_on_and_is_paid(gateway: Gateway, consumer: Person, published: ExpertView) -> None:
    fill(consumer)
    answer = gateway(consumer).post("/v1/completions", json=TEXT).json()
    assert answer["object"] == "text_completion" and answer["choices"][0]["text"]
    assert answer["choices"][0]["finish_reason"] in ("stop", "length")
    assert answer["receipt"]["charged_micro"] > 0 and balance(consumer)[1] == 0


def test_a_text_streams(gateway: Gateway, consumer: Person, published: ExpertView) -> None:
    fill(consumer)
    whole = gateway(consumer).post("/v1/completions", json=TEXT).json()["choices"][0]["text"]
    answer = gateway(consumer).post("/v1/completions", json={**TEXT, "stream": True})
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
    chunks = [json.loads(line) for line in lines[:-1]]
    assert lines[-1] == "[DONE]" and chunks[-1]["receipt"]["charged_micro"] > 0
    assert "".join(choice["text"] for chunk in chunks for choice in chunk["choices"]) == whole


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": ["one", "two"]}, "prompt"),
        ({"messages": []}, "messages"),
        ({"best_of": 3}, "best_of"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"prompt": "word " * 20_000}, "prompt"),
    ],
)
def test_bad_texts_name_their_field_and_cost_nothing(
    gateway: Gateway, consumer: Person, published: ExpertView, change: dict[str, object], field: str
) -> None:
    fill(consumer)
    before = balance(consumer)
    answer = gateway(consumer).post("/v1/completions", json=TEXT | change)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, field)
    assert balance(consumer) == before


def test_what_clients_send_along_without_effect_is_taken(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    fill(consumer)
    along = {
        "user": "u-1",
        "metadata": {"a": "b"},
        "store": False,
        "n": 1,
        "seed": 7,
        "presence_penalty": 0.5,
    }
    answer = gateway(consumer).post(
        "/v1/chat/completions", json=QUESTION | along | {"response_format": {"type": "text"}, "tools": []}
    )
    assert answer.status_code == 200
    message = answer.json()["choices"][0]["message"]
    assert set(message) == {"role", "content"} and message["role"] == "assistant"


def test_what_the_model_server_cannot_do_is_told_and_costs_nothing(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    fill(consumer)
    before = balance(consumer)
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
    answer = gateway(consumer).post("/v1/chat/completions", json=QUESTION | {"tools": [tool]})
    assert answer.status_code == 400 and "tools" in answer.json()["error"]["message"]
    assert balance(consumer) == before
