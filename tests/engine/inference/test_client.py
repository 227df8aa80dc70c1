"""The client against a stand-in server that speaks, fails and breaks off on demand."""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engine.inference.client import ModelClient
from engine.inference.errors import ModelMissing, PromptTooLong
from engine.inference.schemas import Delta, Usage
from engine.kit.errors import NotReady, UpstreamFailed
from engine.kit.prompts import Message
from engine.kit.settings import settings

QUESTION: list[Message] = [{"role": "user", "content": "hello"}]
Script = Callable[[dict[str, Any]], Response]


def event(text: str | None = None, reason: str | None = None, usage: tuple[int, int] | None = None) -> bytes:
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]
    data: dict[str, Any] = {"choices": choices}
    if usage:
        data["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return f"data: {json.dumps(data, ensure_ascii=False)}\r\n\r\n".encode()


class StandIn:
    """A server whose answer to a chat request is whatever `script` returns."""

    def __init__(self) -> None:
        self.script: Script = lambda _: PlainTextResponse("unset", status_code=500)
        self.seen: list[dict[str, Any]] = []
        self.left = threading.Event()
        app = Starlette(
            routes=[
                Route("/v1/chat/completions", self.chat, methods=["POST"]),
                Route("/v1/load_lora_adapter", self.chat, methods=["POST"]),
                Route("/v1/unload_lora_adapter", self.chat, methods=["POST"]),
                Route("/v1/models", lambda _: JSONResponse({"data": [{"id": "base"}, {"id": "x"}]})),
            ]
        )
        self.server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
        self.thread = threading.Thread(target=self.server.run)

    async def chat(self, request: Request) -> Response:
        body = await request.json()
        self.seen.append({**body, "authorization": request.headers.get("authorization")})
        return self.script(body)

    def says(self, raw: bytes, cut: int = 7) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for start in range(0, len(raw), cut):
                yield raw[start : start + cut]
                await asyncio.sleep(0)

        self.script = lambda _: StreamingResponse(pieces(), media_type="text/event-stream")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"


@pytest.fixture
def server(home: object) -> Iterator[StandIn]:
    stand_in = StandIn()
    stand_in.thread.start()
    while not stand_in.server.started:
        assert stand_in.thread.is_alive()
    yield stand_in
    stand_in.server.should_exit = stand_in.server.force_exit = True
    stand_in.thread.join()


async def hear(client: ModelClient) -> list[Delta]:
    return [delta async for delta in client.stream("base", QUESTION, max_tokens=5)]


@pytest.mark.parametrize("cut", [1, 2, 3, 7, 100000])
def test_text_survives_any_split_of_the_bytes(server: StandIn, cut: int) -> None:
    line_separators = "a\u2028b\x85c 价格"
    server.says(
        b": a comment\r\n\r\n"
        + event("退货")
        + event(line_separators)
        + event("", "stop")
        + event(usage=(9, 4))
        + b"data: [DONE]\r\n\r\n",
        cut,
    )
    deltas = asyncio.run(hear(ModelClient(server.url)))
    assert "".join(d.text for d in deltas) == "退货" + line_separators
    assert [d.finish_reason for d in deltas if d.finish_reason] == ["stop"]
    assert deltas[-1].usage == Usage(prompt_tokens=9, completion_tokens=4)


def test_without_counts_from_the_server_usage_is_none(server: StandIn) -> None:
    server.says(event("hi", "stop") + b"data: [DONE]\n\n")
    assert [d.usage for d in asyncio.run(hear(ModelClient(server.url)))] == [None]


def test_only_what_was_asked_for_is_sent(server: StandIn) -> None:
    server.says(event("hi", "stop"))
    asyncio.run(hear(ModelClient(server.url, "secret")))
    assert server.seen == [
        {
            "model": "base",
            "messages": QUESTION,
            "max_tokens": 5,
            "stream": True,
            "stream_options": {"include_usage": True},
            "authorization": "Bearer secret",
        }
    ]


@pytest.mark.parametrize(
    "ending",
    [
        b"",
        b'data: {"error": {"message": "engine died", "code": 500}}\n\ndata: [DONE]\n\n',
        b"data: {oops\n\n",
    ],
)
def test_an_answer_without_its_end_is_an_error(server: StandIn, ending: bytes) -> None:
    server.says(event("half an") + ending)
    with pytest.raises(UpstreamFailed):
        asyncio.run(hear(ModelClient(server.url)))


def refusal(status: int, message: str, **headers: str) -> Script:
    body = {"error": {"message": message, "type": "x", "code": status}}
    return lambda _: JSONResponse(body, status_code=status, headers=headers)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (refusal(404, "The model `x` does not exist."), ModelMissing),
        (refusal(400, "This model's maximum context length is 5 tokens."), PromptTooLong),
        (refusal(400, "max_tokens=2000 cannot be greater than max_model_len=512."), PromptTooLong),
        (refusal(400, "temperature must be non-negative"), UpstreamFailed),
        (refusal(500, "boom"), UpstreamFailed),
        (lambda _: PlainTextResponse("Not Found", status_code=404), UpstreamFailed),
        (refusal(503, "loading"), NotReady),
    ],
)
def test_each_refusal_has_its_error(server: StandIn, script: Script, error: type[Exception]) -> None:
    server.script = script
    with pytest.raises(error) as streamed:
        asyncio.run(hear(ModelClient(server.url)))
    with pytest.raises(error) as whole:
        asyncio.run(ModelClient(server.url).complete("base", QUESTION))
    missing_too = {isinstance(e.value, ModelMissing) for e in (streamed, whole)}
    assert missing_too == {error is ModelMissing}


def test_a_busy_server_tells_when_to_come_back(server: StandIn) -> None:
    server.script = refusal(503, "loading", **{"retry-after": "17"})
    with pytest.raises(NotReady) as refused:
        asyncio.run(hear(ModelClient(server.url)))
    assert refused.value.retry_after == 17


def test_nothing_listening_is_not_ready(home: object, free_port: int) -> None:
    client = ModelClient(f"http://127.0.0.1:{free_port}")
    with pytest.raises(NotReady):
        asyncio.run(hear(client))
    assert asyncio.run(client.probe("base")) is False


def test_closing_the_answer_closes_the_connection(server: StandIn) -> None:
    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield event("word ")
                await asyncio.sleep(0.01)
        finally:
            server.left.set()

    server.script = lambda _: StreamingResponse(endless(), media_type="text/event-stream")

    async def hear_two_words() -> bool:
        async with aclosing(ModelClient(server.url).stream("base", QUESTION)) as answer:  # type: ignore[type-var]
            await anext(answer)
            await anext(answer)
        return await asyncio.to_thread(server.left.wait, 5)

    assert asyncio.run(hear_two_words())


def test_an_answer_beyond_the_time_limit_is_cut(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow() -> AsyncIterator[bytes]:
        while True:
            yield event("word ")
            await asyncio.sleep(0.05)

    monkeypatch.setenv("MBE_REQUEST_TIMEOUT", "0.4")
    settings.cache_clear()
    server.script = lambda _: StreamingResponse(slow(), media_type="text/event-stream")
    with pytest.raises(UpstreamFailed, match="too long"):
        asyncio.run(hear(ModelClient(server.url)))


def test_one_client_serves_several_event_loops(server: StandIn) -> None:
    client = ModelClient(server.url)
    server.says(event("hi", "stop"))
    assert [len(asyncio.run(hear(client))) for _ in range(3)] == [1, 1, 1]


def test_loading_an_adapter_twice_is_no_error(server: StandIn, tmp_path: Any) -> None:
    client = ModelClient(server.url)
    server.script = refusal(400, "The lora adapter 'x' has already been loaded.")
    asyncio.run(client.load_adapter("x", tmp_path))
    server.script = refusal(400, "rank too large")
    with pytest.raises(UpstreamFailed, match="could not load the expert"):
        asyncio.run(client.load_adapter("x", tmp_path))


def test_unloading_what_is_not_there_is_no_error(server: StandIn) -> None:
    client = ModelClient(server.url)
    server.script = refusal(404, "The lora adapter 'x' cannot be found.")
    asyncio.run(client.unload_adapter("x"))
    server.script = refusal(500, "no")
    with pytest.raises(UpstreamFailed):
        asyncio.run(client.unload_adapter("x"))


def test_a_whole_answer(server: StandIn) -> None:
    server.script = lambda _: JSONResponse(
        {"choices": [{"message": {"content": "hi"}, "finish_reason": "length"}]}
    )
    completion = asyncio.run(ModelClient(server.url).complete("base", QUESTION))
    assert (completion.text, completion.finish_reason, completion.usage) == ("hi", "length", None)
    assert asyncio.run(ModelClient(server.url).models()) == ["base", "x"]
