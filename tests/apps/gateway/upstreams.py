"""What tests of several model servers share: servers that fail as told, and people who use them."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from engine.accounts.schemas import Person
from engine.market.schemas import ExpertView
from tests import model_servers
from tests.apps.gateway.test_chat import fill
from tests.model_servers import ModelServer
from tests.support import make_person

Gateway = Callable[[Person | None], TestClient]
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
QUESTION = {"model": "help-desk", "messages": [{"role": "user", "content": "How long do returns take?"}]}
PROMPT = {"model": "help-desk", "prompt": "Returns take"}
CALLS = [
    (CHAT, QUESTION),
    (TEXT, PROMPT),
    (CHAT, QUESTION | {"stream": True}),
    (TEXT, PROMPT | {"stream": True}),
]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[ModelServer, ModelServer]]:
    """Two servers of this file."""
    with ExitStack() as stack:
        one, other = (stack.enter_context(model_servers.running(says)) for says in ("one", "other"))
        yield one, other


@pytest.fixture
def one(pair: tuple[ModelServer, ModelServer]) -> ModelServer:
    """A server that saw nothing yet."""
    return _fresh(pair[0])


@pytest.fixture
def other(pair: tuple[ModelServer, ModelServer]) -> ModelServer:
    """Another one."""
    return _fresh(pair[1])


def _fresh(server: ModelServer) -> ModelServer:
    server.mood, server.calls, server.probes, server.cut = "well", 0, 0, 0
    server.keys, server.models, server.names = [], [], ("base",)
    return server


@pytest.fixture
def operator(gateway: Gateway) -> TestClient:
    return gateway(make_person("op@example.com", "operator"))


@pytest.fixture
def client(gateway: Gateway, consumer: Person, published: ExpertView) -> Iterator[TestClient]:
    """A consumer's client, with one event loop for all its calls."""
    fill(consumer)
    with gateway(consumer) as made:
        yield made


def declare(operator: TestClient, server: ModelServer | str, **more: Any) -> dict[str, Any]:
    address = server if isinstance(server, str) else server.address
    given = {"name": f"s{time.monotonic_ns()}", "base_url": address, "served_as": "m", **more}
    answer = operator.post("/api/upstreams", json=given)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def turn_off_local(operator: TestClient) -> None:
    assert operator.patch("/api/upstreams/local", json={"enabled": False}).status_code == 200


def said(answer: Response) -> str:
    """Return the words of an answer of any of the four kinds."""
    assert answer.status_code == 200, answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        found = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
        choices = [choice for chunk in found for choice in chunk.get("choices", ())]
    else:
        choices = answer.json()["choices"]
    texts = [
        one["text"] if "text" in one else (one.get("message") or one["delta"]).get("content")
        for one in choices
    ]
    return "".join(text or "" for text in texts).strip()


def closing(answer: Response) -> dict[str, Any]:
    """Return what holds the receipt."""
    if not answer.headers["content-type"].startswith("text/event-stream"):
        return dict(answer.json())
    found = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: {")]
    return dict(found[-1])
