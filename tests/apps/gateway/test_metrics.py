"""What the gateway counts of calls, and who may read it."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families as parsed
from structlog.testing import capture_logs

from engine.accounts.schemas import Person
from engine.billing import reconciliation as books
from engine.billing import service as billing
from engine.billing.reconciliation import Difference
from engine.flows import answer_request, call_rounds, reconcile
from engine.kit import metrics
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import EngineError, UpstreamFailed
from engine.kit.money import CREDIT
from engine.market.schemas import ExpertView

Gateway = Callable[[Person | None], TestClient]
QUESTION = {"model": "help-desk", "messages": [{"role": "user", "content": "How long do returns take?"}]}
CHAT = "/v1/chat/completions"


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The books are read anew, and known to nobody afterwards."""
    monkeypatch.setattr(reconcile, "_shown", float("-inf"))
    yield
    metrics.books_unknown()


@pytest.fixture
def rich(consumer: Person) -> Person:
    with unit_of_work() as uow:
        billing.top_up(
            uow, tenant_id=consumer.tenant_id, amount_micro=10 * CREDIT, key="fill", by=consumer.id
        )
    return consumer


def read() -> dict[tuple[str, ...], float]:
    """All that is counted: the name of a sample, its label values by the order of their names, its value."""
    text, _ = metrics.exposition("")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in parsed(text.decode())
        for sample in family.samples
        if sample.name.startswith("mbe_") and not sample.name.startswith(("mbe_books", "mbe_upstream_up"))
    }


@contextmanager
def counted() -> Iterator[dict[tuple[str, ...], float]]:
    """What changed within the block, filled in at its end; of times only how many there were."""
    changes: dict[tuple[str, ...], float] = {}
    before = read()
    yield changes
    for key, value in read().items():
        if value != before.get(key, 0) and not key[0].endswith(("_bucket", "_sum")):
            changes[key] = value - before.get(key, 0)


LET_IN = {
    ("mbe_hold_seconds_count",): 1,
    ("mbe_settle_seconds_count",): 1,
    ("mbe_round_size_count", "look_up"): 1,
    ("mbe_round_size_count", "hold"): 1,
    ("mbe_round_size_count", "settle"): 1,
    ("mbe_request_seconds_count", "help-desk"): 1,
}


def paid(tenant: str, answer: dict[str, Any]) -> dict[tuple[str, ...], float]:
    usage, outcome = answer["usage"], answer["receipt"]["usage"]["finish"]
    return {
        ("mbe_requests_total", "help-desk", outcome, tenant): 1,
        ("mbe_tokens_total", "input", "help-desk", tenant): usage["prompt_tokens"],
        ("mbe_tokens_total", "output", "help-desk", tenant): usage["completion_tokens"],
        ("mbe_charged_micro_total", "help-desk", tenant): answer["receipt"]["charged_micro"],
    }


def test_a_plain_call(gateway: Gateway, rich: Person, published: ExpertView) -> None:
    client = gateway(rich)
    with counted() as changes, capture_logs() as lines:
        answer = client.post(CHAT, json=QUESTION, headers={"X-Trace-ID": "tr-plain"})
    assert changes == LET_IN | paid(rich.tenant_id, answer.json())
    assert answer.headers["X-Trace-ID"] == "tr-plain"
    [line] = [line for line in lines if line["event"] == "answered"]
    usage = answer.json()["usage"]
    assert line.pop("latency_ms") >= 0
    assert line == {
        "event": "answered",
        "log_level": "info",
        "trace_id": "tr-plain",
        "tenant_id": rich.tenant_id,
        "model": "help-desk",
        "outcome": "stop",
        "input_tokens": usage["prompt_tokens"],
        "output_tokens": usage["completion_tokens"],
        "charged_micro": answer.json()["receipt"]["charged_micro"],
        "first_token_ms": None,
    }


def test_a_stream_has_times_of_its_tokens(gateway: Gateway, rich: Person, published: ExpertView) -> None:
    client = gateway(rich)
    with counted() as changes:
        text = client.post(CHAT, json={**QUESTION, "stream": True}).text
    chunks = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: {")]
    times = {
        ("mbe_first_token_seconds_count", "help-desk"): 1.0,
        ("mbe_token_seconds_count", "help-desk"): 1.0,
    }
    assert changes == LET_IN | times | paid(rich.tenant_id, chunks[-1])


def test_an_empty_wallet(gateway: Gateway, consumer: Person, published: ExpertView) -> None:
    client = gateway(consumer)
    with counted() as changes:
        refused = client.post(CHAT, json=QUESTION)
    assert refused.status_code == 402
    assert changes == {
        ("mbe_requests_total", "help-desk", "refused", consumer.tenant_id): 1,
        ("mbe_errors_total", refused.json()["error"]["code"]): 1,
        ("mbe_hold_seconds_count",): 1,
        ("mbe_round_size_count", "look_up"): 1,
        ("mbe_round_size_count", "hold"): 1,
    }


def test_an_unknown_model_is_no_label(gateway: Gateway, rich: Person, published: ExpertView) -> None:
    client = gateway(rich)
    with counted() as changes:
        refused = client.post(CHAT, json={**QUESTION, "model": "no-such-thing"})
    assert refused.status_code == 404
    code = refused.json()["error"]["code"]
    assert changes == {("mbe_errors_total", code): 1, ("mbe_round_size_count", "look_up"): 1}
    assert not any("no-such-thing" in key for key in read())


def test_a_limit_that_is_reached(gateway: Gateway, rich: Person, published: ExpertView) -> None:
    made = gateway(rich).post("/api/keys", json={"name": "k", "requests_per_minute": 1}).json()
    keyed = gateway(None)
    keyed.headers["Authorization"] = f"Bearer {made['secret']}"
    assert keyed.post(CHAT, json=QUESTION).status_code == 200
    with counted() as changes:
        refused = keyed.post(CHAT, json=QUESTION)
    assert refused.status_code == 429
    assert refused.headers["x-ratelimit-limit-requests"] == "1"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    assert changes == {
        ("mbe_requests_total", "help-desk", "refused", rich.tenant_id): 1,
        ("mbe_limit_refusals_total", "key_requests_per_minute"): 1,
        ("mbe_errors_total", "serving.limit_reached"): 1,
        ("mbe_round_size_count", "look_up"): 1,
    }


def test_no_call_is_under_way_when_all_ended(gateway: Gateway, rich: Person, published: ExpertView) -> None:
    gateway(rich).post(CHAT, json=QUESTION)
    assert read()[("mbe_requests_running",)] == 0


def here(client: TestClient, address: str = "127.0.0.1") -> TestClient:
    return TestClient(client.app, client=(address, 50_000), raise_server_exceptions=False)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_machine_reads_it(gateway: Gateway, address: str) -> None:
    answer = here(gateway(None), address).get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain")
    names = {family.name for family in parsed(answer.text)}
    assert {"mbe_requests", "mbe_requests_running", "mbe_round_size", "mbe_limit_refusals"} <= names


@pytest.mark.parametrize("address", ["10.0.0.7", "192.168.1.2", "fd00::1", "::ffff:10.0.0.7", "testclient"])
def test_others_are_told_that_there_is_nothing(gateway: Gateway, address: str) -> None:
    client = here(gateway(None), address)
    answer, nothing = client.get("/metrics"), client.get("/no-such-page")
    assert answer.status_code == nothing.status_code == 404
    assert answer.json() == nothing.json()


def test_a_proxy_on_this_machine_does_not_open_it(gateway: Gateway) -> None:
    client = here(gateway(None))
    assert client.get("/metrics", headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 404


def shown(client: TestClient) -> list[float]:
    families = {family.name: family for family in parsed(client.get("/metrics").text)}
    names = ("mbe_books_difference_micro", "mbe_books_difference_tokens")
    return [families[name].samples[0].value for name in names]


def test_the_books_are_read_now_and_then(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    client = here(gateway(None))
    assert str(shown(client)) == "[nan, nan]"  # nobody compared yet
    one = Difference(kind="usage", id="rcp_1", micro=30, tokens=4)
    with unit_of_work() as uow:
        books.save(uow, whole=True, until=now(), checked=1, differences=[one])
    assert str(shown(client)) == "[nan, nan]"  # too soon to look again
    monkeypatch.setattr(reconcile, "_shown", float("-inf"))
    assert shown(client) == [30, 4]


def test_without_a_database_all_else_is_shown(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise OSError("no database")

    monkeypatch.setattr(reconcile, "unit_of_work", broken)
    assert str(shown(here(gateway(None)))) == "[nan, nan]"


def test_errors_of_the_framework_are_counted_by_their_status(gateway: Gateway) -> None:
    client = gateway(None)
    with counted() as changes:
        client.get("/no-such-page")
        client.delete("/health")
        client.post(CHAT, json=QUESTION)
    assert changes == {
        ("mbe_errors_total", "http.404"): 1,
        ("mbe_errors_total", "http.405"): 1,
        ("mbe_errors_total", "accounts.sign_in_first"): 1,
    }


def test_an_error_within_a_stream_and_a_settlement_that_fails_are_counted(
    gateway: Gateway, rich: Person, published: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_rows: object) -> list[EngineError]:
        return [UpstreamFailed("inference.broke_off")]

    client = gateway(rich)
    monkeypatch.setattr(call_rounds.settled, "_work", broken)
    with counted() as changes:
        text = client.post(CHAT, json={**QUESTION, "stream": True}).text
    assert "inference.broke_off" in text
    assert changes == {
        ("mbe_requests_total", "help-desk", "failed", rich.tenant_id): 1,
        ("mbe_errors_total", "inference.broke_off"): 1,
        **{key: 1 for key in LET_IN if key[0] != "mbe_request_seconds_count"},
    }


def test_a_stream_that_is_left_is_counted_once(gateway: Gateway, rich: Person, published: ExpertView) -> None:
    async def leave() -> None:
        asked = answer_request.ChatRequest(
            model="help-desk", messages=({"role": "user", "content": "How long do returns take?"},)
        )
        parts = answer_request.answer(rich, asked)
        await anext(parts)
        await anext(parts)
        assert read()[("mbe_requests_running",)] == 1
        await parts.aclose()

    with counted() as changes:
        asyncio.run(leave())
    assert read()[("mbe_requests_running",)] == 0
    assert changes.pop(("mbe_charged_micro_total", "help-desk", rich.tenant_id)) > 0
    assert changes.pop(("mbe_tokens_total", "input", "help-desk", rich.tenant_id)) > 0
    assert changes.pop(("mbe_tokens_total", "output", "help-desk", rich.tenant_id)) > 0
    left = {
        ("mbe_requests_total", "help-desk", "cancelled", rich.tenant_id): 1,
        ("mbe_first_token_seconds_count", "help-desk"): 1,
    }
    assert changes == LET_IN | left
