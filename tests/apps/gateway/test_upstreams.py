"""Several model servers behind the real gateway: who is asked, what is tried again, what is paid."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.flows import upstream_health
from engine.flows.upstream_health import Servers
from engine.kit.money import CREDIT
from engine.kit.settings import settings
from engine.serving.breaker import Terms
from tests import model_servers
from tests.apps.gateway.test_chat import balance
from tests.apps.gateway.test_replies import leave
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
    other,
    pair,
    said,
    turn_off_local,
)
from tests.model_servers import ModelServer

__all__ = ["client", "one", "operator", "other", "pair"]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_a_declared_server_answers_and_is_paid(
    client: TestClient,
    operator: TestClient,
    consumer: Person,
    one: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    body: dict[str, Any],
) -> None:
    monkeypatch.setenv("MBE_UPSTREAM_KEY_ONE", "secret-key")
    turn_off_local(operator)
    declare(operator, one, model="help-desk", served_as="big-model", key_variable="MBE_UPSTREAM_KEY_ONE")
    answer = client.post(path, json=body)
    assert said(answer) == "one" and "X-Degraded" not in answer.headers
    receipt = closing(answer)["receipt"]
    assert receipt["charged_micro"] == (7 * 2 + 2 * 4) * 1000
    assert balance(consumer) == (10 * CREDIT - receipt["charged_micro"], 0)
    assert (one.keys, one.models) == (["Bearer secret-key"], ["big-model"])
    assert "secret-key" not in operator.get("/api/upstreams").text


def test_a_server_like_ours_is_asked_for_the_adapter(
    client: TestClient, operator: TestClient, one: ModelServer
) -> None:
    from engine.inference.adapters import adapter_name

    turn_off_local(operator)
    one.names = ("base", adapter_name("adapters/run_1"))
    declare(operator, one, served_as="")
    assert said(client.post(CHAT, json=QUESTION)) == "one"
    assert one.models == [adapter_name("adapters/run_1")]


def test_calls_are_shared_out_and_other_experts_servers_get_none(
    client: TestClient, operator: TestClient, developer: Person, one: ModelServer, other: ModelServer
) -> None:
    turn_off_local(operator)
    declare(operator, one, weight=500)
    declare(operator, other, weight=500)
    drained = declare(operator, "https://nowhere.invalid", weight=0)
    declare(operator, "https://nowhere.invalid", fallback=1)
    with model_servers.running("drained") as third:
        operator.patch(f"/api/upstreams/{drained['id']}", json={"base_url": third.address})
        for _ in range(40):
            client.post(CHAT, json=QUESTION)
        assert third.calls == 0
    assert one.calls + other.calls == 40 and one.calls and other.calls


@pytest.mark.parametrize("mood", ["fails", "hangs", "opens", "gone"])
@pytest.mark.parametrize(("path", "body"), CALLS)
def test_another_server_is_tried_while_nothing_was_delivered(
    client: TestClient,
    operator: TestClient,
    consumer: Person,
    one: ModelServer,
    other: ModelServer,
    monkeypatch: pytest.MonkeyPatch,
    mood: Any,
    path: str,
    body: dict[str, Any],
) -> None:
    if mood == "hangs":
        monkeypatch.setenv("MBE_REQUEST_TIMEOUT", "0.5")
        settings.cache_clear()
    turn_off_local(operator)
    one.mood = "well" if mood == "gone" else mood
    declare(operator, "http://127.0.0.1:9" if mood == "gone" else one)
    declare(operator, other, fallback=1)
    answer = client.post(path, json=body)
    if mood == "hangs":
        # All of the time is gone; nobody is asked any more, and nothing is paid.
        assert answer.status_code == 502 and answer.json()["error"]["code"] == "inference.too_slow"
        assert (other.calls, balance(consumer)) == (0, (10 * CREDIT, 0))
        return
    assert said(answer) == "other"
    assert (one.calls, other.calls) == (0 if mood == "gone" else 1, 1)
    assert closing(answer)["receipt"]["charged_micro"] == (7 * 2 + 2 * 4) * 1000


def test_at_most_three_are_tried(client: TestClient, operator: TestClient, one: ModelServer) -> None:
    one.mood = "fails"
    for rank in range(5):
        declare(operator, one, fallback=rank)
    operator.patch("/api/upstreams/local", json={"fallback": 9})
    refused = client.post(CHAT, json=QUESTION)
    assert (refused.status_code, one.calls) == (502, 3)


def test_after_the_first_word_nobody_else_is_tried(
    client: TestClient, operator: TestClient, consumer: Person, one: ModelServer, other: ModelServer
) -> None:
    turn_off_local(operator)
    one.mood = "breaks"
    declare(operator, one)
    declare(operator, other, fallback=1)
    answer = client.post(CHAT, json=QUESTION | {"stream": True})
    assert "inference.broke_off" in answer.text and "one" in answer.text
    assert (one.calls, other.calls) == (1, 0)
    assert 0 < 10 * CREDIT - balance(consumer)[0] < CREDIT and balance(consumer)[1] == 0


def test_a_request_that_is_refused_is_tried_nowhere_else_and_breaks_nothing(
    client: TestClient, operator: TestClient, one: ModelServer, other: ModelServer
) -> None:
    turn_off_local(operator)
    one.mood = "refuses"
    made = declare(operator, one)
    declare(operator, other, fallback=1)
    for _ in range(6):
        assert client.post(CHAT, json=QUESTION).status_code == 400
    assert (one.calls, other.calls) == (6, 0)
    assert state_of(operator, made) == "closed"


def state_of(operator: TestClient, made: dict[str, Any]) -> str | None:
    (found,) = [each for each in operator.get("/api/upstreams").json() if each["name"] == made["name"]]
    return found["state"]  # type: ignore[no-any-return]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.02)


def test_a_broken_server_is_left_alone_until_a_probe_goes_well(
    client: TestClient, operator: TestClient, one: ModelServer, other: ModelServer
) -> None:
    upstream_health.start_anew(Servers(terms=Terms(first=0.1, longest=0.2)))
    turn_off_local(operator)
    made = declare(operator, one)
    declare(operator, other, fallback=1)
    assert state_of(operator, made) is None
    # One more than a twentieth of twenty calls.
    for number in range(20):
        one.mood = "fails" if number in (5, 15) else "well"
        assert said(client.post(CHAT, json=QUESTION)) in ("one", "other")
        assert state_of(operator, made) == ("closed" if number < 19 else state_of(operator, made))
    one.mood = "fails"
    until(lambda: one.probes >= 2)  # it is asked for one token again and again, by nobody's call
    before = one.calls
    assert said(client.post(CHAT, json=QUESTION)) == "other"
    assert one.calls == before and state_of(operator, made) != "closed"
    one.mood = "well"
    until(lambda: state_of(operator, made) == "closed")
    assert said(client.post(CHAT, json=QUESTION)) == "one"


def test_five_failures_in_a_row_are_enough_and_the_next_call_waits_for_nobody(
    client: TestClient, operator: TestClient, one: ModelServer
) -> None:
    turn_off_local(operator)
    one.mood = "fails"
    made = declare(operator, one)
    codes = [client.post(CHAT, json=QUESTION).status_code for _ in range(7)]
    assert codes == [502] * 5 + [503] * 2 and one.calls == 5
    refused = client.post(CHAT, json=QUESTION)
    assert 1 <= int(refused.headers["Retry-After"]) <= 10
    assert state_of(operator, made) == "open"
    one.mood = "well"
    shown = operator.post(f"/api/upstreams/{made['id']}/probe").json()
    assert shown["probe_good"] and shown["probe_ms"] >= 0 and shown["state"] == "closed"
    assert said(client.post(CHAT, json=QUESTION)) == "one"


def test_a_call_is_not_refused_while_the_built_in_server_warms_up(
    client: TestClient, operator: TestClient, one: ModelServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.inference.state.answers", lambda: False)
    assert client.post(CHAT, json=QUESTION).status_code == 503
    declare(operator, one)
    for path, body in CALLS:
        assert said(client.post(path, json=body)) == "one"


def test_leaving_stops_the_server(client: TestClient, operator: TestClient, one: ModelServer) -> None:
    turn_off_local(operator)
    declare(operator, one)
    one.mood = "hangs"
    asyncio.run(leave(client, None, QUESTION | {"stream": True}))
    until(lambda: one.cut == 1)
    one.mood = "slow"
    asyncio.run(leave(client, 3, QUESTION | {"stream": True}))
    until(lambda: one.cut == 2)


def test_leaving_counts_for_nothing(client: TestClient, operator: TestClient, one: ModelServer) -> None:
    turn_off_local(operator)
    made = declare(operator, one)
    one.mood = "hangs"
    for seed in range(6):
        asyncio.run(leave(client, None, QUESTION | {"stream": True, "seed": seed}))
    assert one.calls == 6
    assert state_of(operator, made) == "closed"


def test_only_operators_declare_servers(
    gateway: Gateway, operator: TestClient, developer: Person, one: ModelServer
) -> None:
    made = declare(operator, one)
    others = gateway(developer)
    one_of = f"/api/upstreams/{made['id']}"
    for method, path in (
        ("GET", "/api/upstreams"),
        ("POST", "/api/upstreams"),
        ("PATCH", one_of),
        ("DELETE", one_of),
        ("POST", f"{one_of}/probe"),
    ):
        body = {"name": "x"} if method in ("POST", "PATCH") else None
        body = {} if method == "PATCH" else body
        assert others.request(method, path, json=body).status_code == 403
    for body, field in (
        ({"weight": -1}, "weight"),
        ({"name": "x"}, "name"),
        ({"base_url": "http://gpu.example"}, "base_url"),
        ({"key_variable": "MBE_SECRET"}, "key_variable"),
        ({"weight": "many"}, "weight"),
    ):
        refused = operator.patch(one_of, json=body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)
    unknown = operator.patch(one_of, json={"model": "no-such-expert"})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (404, "model")
    one.mood = "fails"
    assert operator.post(f"{one_of}/probe").json()["probe_good"] is False
    assert operator.post("/api/upstreams/local/probe").json()["probe_good"] is True
    assert operator.delete(one_of).status_code == 204
    assert operator.delete(one_of).status_code == 404
