"""Stand-ins for model servers that speak OpenAI's protocol, and fail in every way that servers fail."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

Mood = Literal["well", "fails", "refuses", "breaks", "opens", "hangs", "slow"]


@dataclass
class ModelServer:
    """What a stand-in does and saw.

    It answers "well", "fails" with 500, "refuses" with 400, "breaks" off after a word, "opens" and breaks off
    before the first, "hangs", or is "slow": a word now and then. `calls` counts without probes.
    """

    address: str = ""
    says: str = "from here"
    mood: Mood = "well"
    names: tuple[str, ...] = ("base",)
    calls: int = 0
    probes: int = 0
    cut: int = 0
    keys: list[str | None] = field(default_factory=list)
    models: list[str] = field(default_factory=list)


@contextmanager
def running(says: str = "from here") -> Iterator[ModelServer]:
    """Run a stand-in on a free port of 127.0.0.1."""
    stand_in = ModelServer(says=says)
    server = uvicorn.Server(uvicorn.Config(_app(stand_in), host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the model server did not start"
        time.sleep(0.01)
    stand_in.address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield stand_in
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def _app(server: ModelServer) -> FastAPI:
    app = FastAPI()

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"data": [{"id": name} for name in server.names]}

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await _answer(server, await request.json(), request, "message")

    @app.post("/v1/completions")
    async def complete(request: Request) -> Response:
        return await _answer(server, await request.json(), request, "text")

    return app


async def _answer(server: ModelServer, body: dict[str, Any], request: Request, kind: str) -> Response:
    if body.get("max_tokens") == 1:
        server.probes += 1
    else:
        server.calls += 1
        server.keys.append(request.headers.get("authorization"))
        server.models.append(body["model"])
    if server.mood == "fails" or (server.mood in ("breaks", "opens") and not body.get("stream")):
        return JSONResponse({"error": {"message": "no"}}, 500)
    if server.mood == "refuses":
        return JSONResponse({"error": {"message": "not that"}}, 400)
    if server.mood == "hangs":
        while not await request.is_disconnected():
            await asyncio.sleep(0.02)
        server.cut += 1
        return Response(status_code=500)
    if body.get("stream"):
        return StreamingResponse(_stream(server, kind), media_type="text/event-stream")
    said: dict[str, Any] = {"message": {"role": "assistant", "content": server.says}}
    if kind == "text":
        said = {"text": server.says}
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    return JSONResponse({"choices": [{"index": 0, **said, "finish_reason": "stop"}], "usage": usage})


async def _stream(server: ModelServer, kind: str) -> AsyncGenerator[bytes, None]:
    def piece(text: str, finish: str | None = None) -> bytes:
        said: dict[str, Any] = {"text": text} if kind == "text" else {"delta": {"content": text}}
        return _event({"choices": [{"index": 0, **said, "finish_reason": finish}]})

    whole = False
    try:
        yield piece("")
        if server.mood == "opens":
            raise ConnectionResetError
        for word in server.says.split():
            yield piece(word + " ")
            if server.mood == "breaks":
                raise ConnectionResetError
        while server.mood == "slow":
            await asyncio.sleep(0.02)
            yield piece("and ")
        yield piece("", "stop")
        yield _event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
        yield b"data: [DONE]\n\n"
        whole = True
    finally:
        server.cut += not whole
