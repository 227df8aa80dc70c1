"""Paid calls that are sent again with the same Idempotency-Key: one answer, one charge."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import text

from apps.gateway import replies
from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.flows import answer_once
from engine.inference import pool
from engine.inference.fake import FakeModel
from engine.inference.schemas import Delta
from engine.kit.database import unit_of_work
from engine.kit.errors import UpstreamFailed
from engine.kit.money import CREDIT
from engine.market.schemas import ExpertView

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


@pytest.fixture
def client(gateway: Gateway, consumer: Person, published: ExpertView) -> TestClient:
    fill(consumer)
    return gateway(consumer)


def fill(person: Person) -> None:
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=person.tenant_id, amount_micro=CREDIT * 10, key="f", by=person.id)


def send(client: TestClient, body: dict[str, Any] = QUESTION, path: str = CHAT, key: str = "k") -> Response:
    return client.post(path, json=body, headers={"Idempotency-Key": key})


def charged(person: Person) -> list[int]:
    with unit_of_work() as uow:
        found = billing.receipts(uow, person.tenant_id)
        spent = 10 * CREDIT - billing.balance(uow, person.tenant_id) - billing.held(uow, person.tenant_id)
    charges = [one.charged_micro for one in found if one.charged_micro]
    assert sum(charges) == spent
    return charges


def replayed(answer: Response) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def code(answer: Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_the_same_again_is_answered_again_and_charged_once(
    client: TestClient, consumer: Person, path: str, body: dict[str, Any]
) -> None:
    first = send(client, body, path)
    turned = dict(reversed(body.items()))
    for again in (send(client, body, path), send(client, turned, path)):
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["content-type"] == first.headers["content-type"]
        assert replayed(again) and not replayed(first)
    assert len(charged(consumer)) == 1


def test_a_key_stands_for_one_request_of_one_tenant(
    client: TestClient, gateway: Gateway, consumer: Person, developer: Person
) -> None:
    send(client)
    for path, body in ((CHAT, QUESTION | {"seed": 1}), (CHAT, QUESTION | {"stream": True}), (TEXT, PROMPT)):
        refused = send(client, body, path)
        assert code(refused) == (409, "serving.reply_key_reused")
        assert refused.json()["error"]["type"] == "conflict_error"
    assert len(charged(consumer)) == 1
    fill(developer)
    other = send(gateway(developer))
    assert other.status_code == 200 and not replayed(other)
    assert len(charged(developer)) == 1


def test_without_a_key_nothing_is_kept_or_asked(
    client: TestClient, consumer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "once", None)
    monkeypatch.setattr(answer_once, "begin", None)
    for path, body in CALLS * 2:
        assert not replayed(client.post(path, json=body))
    assert len(charged(consumer)) == 2 * len(CALLS)
    with unit_of_work() as uow:
        assert uow.execute(text("SELECT count(*) FROM serving_replies")).scalar_one() == 0


def slow(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr("engine.inference.pool.FakeModel", lambda: FakeModel(delay=seconds))


@pytest.mark.parametrize("stream", [False, True])
def test_of_sixteen_at_once_one_runs(
    client: TestClient, consumer: Person, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    slow(monkeypatch, 0.1)
    body = QUESTION | {"stream": stream}
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: send(client, body), range(16)))
    ran = [one for one in answers if one.status_code == 200 and not replayed(one)]
    assert len(ran) == len(charged(consumer)) == 1
    for one in answers:
        if one.status_code != 200:
            assert code(one) == (409, "serving.reply_running")
            assert int(one.headers["Retry-After"]) > 0
    with unit_of_work() as uow:
        assert len(billing.receipts(uow, consumer.tenant_id)) == 1
    assert send(client, body).content == ran[0].content


def fail(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Have the model break off after so many pieces."""
    whole = FakeModel.stream

    async def stream(self: FakeModel, *given: Any, **options: Any) -> AsyncGenerator[Delta, None]:
        pieces = 0
        async for delta in whole(self, *given, **options):
            if pieces == after:
                raise UpstreamFailed("inference.odd_answer")
            pieces += 1
            yield delta

    monkeypatch.setattr(FakeModel, "stream", stream)


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_a_failure_that_cost_nothing_frees_the_key(
    client: TestClient, consumer: Person, path: str, body: dict[str, Any]
) -> None:
    with pytest.MonkeyPatch.context() as broken:
        fail(broken, after=0)
        first = send(client, body, path)
        assert first.status_code == 502 or '"code":"inference.odd_answer"' in first.text
    assert charged(consumer) == []
    again = send(client, body, path)
    assert again.status_code == 200 and not replayed(again) and "odd_answer" not in again.text
    assert len(charged(consumer)) == 1


def test_a_stream_that_broke_off_after_words_that_were_charged_is_given_again(
    client: TestClient, consumer: Person
) -> None:
    with pytest.MonkeyPatch.context() as broken:
        fail(broken, after=2)
        first = send(client, QUESTION | {"stream": True})
    again = send(client, QUESTION | {"stream": True})
    assert again.content == first.content and replayed(again)
    assert "odd_answer" in again.text and len(charged(consumer)) == 1


def test_refusals_before_the_call_free_the_key(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    client = gateway(consumer)
    assert send(client).status_code == 402
    assert send(client, QUESTION | {"max_tokens": 0}).status_code == 400
    fill(consumer)
    assert send(client, QUESTION | {"seed": 3}).status_code == 200


async def leave(client: TestClient, after: int | None, body: dict[str, Any]) -> None:
    """Ask, and be gone after so many parts of the answer, or before anything of it came for None."""
    gone = asyncio.Event()
    if after is None:
        asyncio.get_running_loop().call_later(0.5, gone.set)
    asked = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    parts = 0

    async def receive() -> dict[str, Any]:
        if asked:
            return asked.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def tell(message: dict[str, Any]) -> None:
        nonlocal parts
        parts += message["type"] == "http.response.body"
        if after is not None and parts > after:
            gone.set()
            await asyncio.sleep(0.01)

    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    headers = [(b"idempotency-key", b"k"), (b"cookie", cookies.encode()), (b"host", b"testserver")]
    scope = {"type": "http", "method": "POST", "path": CHAT, "raw_path": CHAT.encode(), "query_string": b""}
    scope |= {"headers": headers, "client": ("test", 1), "server": ("testserver", 80), "scheme": "http"}
    scope |= {"http_version": "1.1", "asgi": {"version": "3.0", "spec_version": "2.3"}, "root_path": ""}
    await client.app(scope, receive, tell)
    await asyncio.sleep(0.3)  # what nobody waits for any more has an end, too


def test_leaving_a_stream_keeps_what_was_sent_and_charged(
    client: TestClient, consumer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, 0.02)
    body = QUESTION | {"stream": True}
    asyncio.run(leave(client, 3, body))
    cost = charged(consumer)
    assert len(cost) == 1
    first, second = send(client, body), send(client, body)
    assert replayed(first) and first.content == second.content
    lines = [line[6:] for line in first.text.splitlines() if line]
    events = [json.loads(line) for line in lines[:-1]]
    assert lines[-1] == "[DONE]" and len({one["id"] for one in events}) == 1
    assert events[-1]["receipt"]["charged_micro"] == cost[0]
    assert events[-1]["receipt"]["usage"]["finish"] == "cancelled"
    assert charged(consumer) == cost


def test_leaving_a_stream_before_its_first_word_frees_the_key(client: TestClient, consumer: Person) -> None:
    body = QUESTION | {"stream": True}
    with pytest.MonkeyPatch.context() as waiting:
        slow(waiting, 5)
        asyncio.run(leave(client, None, body))
    assert charged(consumer) == []
    pool.pool.cache_clear()
    again = send(client, body)
    assert again.status_code == 200 and not replayed(again)
    assert len(charged(consumer)) == 1


def test_leaving_a_plain_call_keeps_its_answer(
    client: TestClient, consumer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow(monkeypatch, 0.02)
    asyncio.run(leave(client, -1, QUESTION))
    again = send(client)
    assert replayed(again) and again.json()["choices"][0]["message"]["content"]
    assert len(charged(consumer)) == 1


def test_an_answer_above_the_limit_is_refused_and_not_asked_for_again(
    client: TestClient, consumer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("engine.serving.replies", "apps.gateway.replies"):
        monkeypatch.setattr(f"{module}.LARGEST", 300)
    for key, body in (("plain", QUESTION), ("stream", QUESTION | {"stream": True})):
        assert send(client, body, key=key).status_code == 200
        assert code(send(client, body, key=key)) == (409, "serving.reply_too_large")
    assert len(charged(consumer)) == 2


@pytest.mark.parametrize("key", ["", "x" * 201, "a\tb"])
@pytest.mark.parametrize("path", [CHAT, TEXT, "/api/wallet/top-up"])
def test_bad_keys_name_the_header(client: TestClient, consumer: Person, path: str, key: str) -> None:
    body = {CHAT: QUESTION, TEXT: PROMPT}.get(path, {"amount": "1"})
    refused = send(client, body, path, key)
    assert code(refused) == (400, "serving.bad_reply_key")
    assert refused.json()["error"]["param"] == "Idempotency-Key"
    assert charged(consumer) == []


def test_a_movement_takes_its_key_from_the_header_as_well(gateway: Gateway, consumer: Person) -> None:
    client = gateway(consumer)
    for _ in range(2):
        assert send(client, {"amount": "1"}, "/api/wallet/top-up").json()["balance_micro"] == CREDIT
    assert (
        client.post("/api/wallet/top-up", json={"amount": "1", "key": "k"}).json()["balance_micro"] == CREDIT
    )
    refused = client.post("/api/wallet/top-up", json={"amount": "1"})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "key"


def test_a_stream_is_kept_before_its_end_is_seen(
    client: TestClient, consumer: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    kept = replies._kept

    async def watched(*given: Any) -> AsyncGenerator[bytes, None]:
        async with aclosing(kept(*given)) as parts:
            async for part in parts:
                if part == replies.DONE:
                    with unit_of_work() as uow:
                        states = uow.execute(text("SELECT state FROM serving_replies")).scalars().all()
                    seen.append(states == ["done"])
                yield part

    monkeypatch.setattr(replies, "_kept", watched)
    send(client, QUESTION | {"stream": True})
    assert seen == [True]
