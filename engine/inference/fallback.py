"""The model server for machines without vLLM: the same HTTP routes, on transformers and PEFT.

`python -m engine.inference.fallback --model DIR --port P`. Loopback only, like vLLM's own: its
adapter routes read folders of this machine and must not be exposed.
"""

import argparse
import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from engine.inference.local_model import Answer, Ask, ContextFull, LocalModel, UnknownModel
from engine.kit.ids import new_id


class _StreamOptions(BaseModel):
    include_usage: bool = False
    continuous_usage_stats: bool = False


class _Turn(BaseModel):
    role: str
    content: str


class _ChatBody(BaseModel):
    """The part of OpenAI's request that this server honours; the rest is ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[_Turn] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    stream: bool = False
    stream_options: _StreamOptions = _StreamOptions()

    def ask(self) -> Ask:
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Ask(
            model=self.model,
            messages=[turn.model_dump() for turn in self.messages],
            max_tokens=self.max_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=1.0 if self.top_p is None else self.top_p,
            stop=tuple(stop),
            seed=self.seed,
        )


class _AdapterBody(BaseModel):
    lora_name: str = Field(min_length=1)
    lora_path: str = ""


class _Running:
    """One answer under way: its pieces come from the model's thread through a queue."""

    def __init__(self, model: LocalModel, ask: Ask) -> None:
        loop = asyncio.get_running_loop()
        self.answer = Answer()
        self._pieces: asyncio.Queue[str | None] = asyncio.Queue()

        def pass_on(piece: str | None) -> None:
            with suppress(RuntimeError):  # the loop is gone when the server is being stopped
                loop.call_soon_threadsafe(self._pieces.put_nowait, piece)

        self._done = model.answer(ask, self.answer, pass_on)
        self._done.add_done_callback(lambda _: pass_on(None))

    async def pieces(self) -> AsyncIterator[str]:
        """Yield text, also empty text, since each piece is a token made; then raise what failed."""
        try:
            while (piece := await self._pieces.get()) is not None:
                yield piece
            await asyncio.wrap_future(self._done)
        finally:
            self.stop()

    def stop(self) -> None:
        """Let the model end after the token it is making."""
        self.answer.stopped.set()
        self._done.cancel()  # while it waits in the queue; no effect once it runs

    def usage(self) -> dict[str, int]:
        made = len(self.answer.token_ids)
        prompt = self.answer.prompt_tokens
        return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}


def _error(status: int, message: str, kind: str) -> JSONResponse:
    return JSONResponse(
        {"error": {"message": message, "type": kind, "param": None, "code": status}}, status_code=status
    )


def _failed(error: Exception) -> JSONResponse:
    if isinstance(error, UnknownModel):
        return _error(404, f"The model `{error}` does not exist.", "NotFoundError")
    if isinstance(error, ContextFull | ValidationError | json.JSONDecodeError):
        return _error(400, str(error), "BadRequestError")
    return _error(500, f"{type(error).__name__}: {error}", "InternalServerError")


class _Routes:
    """The handlers, around one model."""

    def __init__(self, model: LocalModel) -> None:
        self._model = model

    async def health(self, _: Request) -> Response:
        return Response(status_code=200 if self._model.alive() else 503)

    async def models(self, _: Request) -> Response:
        entries = [{"id": name, "object": "model", "owned_by": "mbe"} for name in self._model.names()]
        return JSONResponse({"object": "list", "data": entries})

    async def load(self, request: Request) -> Response:
        body = _AdapterBody.model_validate_json(await request.body())
        if body.lora_name in self._model.names():
            message = f"The adapter '{body.lora_name}' has already been loaded."
            return _error(400, message, "InvalidUserInput")
        await asyncio.wrap_future(self._model.load(body.lora_name, Path(body.lora_path)))
        return PlainTextResponse(f"Success: adapter '{body.lora_name}' added.")

    async def unload(self, request: Request) -> Response:
        body = _AdapterBody.model_validate_json(await request.body())
        await asyncio.wrap_future(self._model.unload(body.lora_name))
        return PlainTextResponse(f"Success: adapter '{body.lora_name}' removed.")

    async def chat(self, request: Request) -> Response:
        body = _ChatBody.model_validate_json(await request.body())
        if body.model not in self._model.names():
            raise UnknownModel(body.model)
        running = _Running(self._model, body.ask())
        return await (_streamed(running, body) if body.stream else _whole(running, body, request))


def _guarded(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """Answer every error in OpenAI's shape; PEFT raises what it likes about a bad adapter."""

    async def guarded(request: Request) -> Response:
        try:
            return await handler(request)
        except Exception as error:
            return _failed(error)

    return guarded


def create_app(model: LocalModel) -> Starlette:
    """Return the ASGI app that serves `model`."""
    routes = _Routes(model)
    return Starlette(
        routes=[
            Route("/health", _guarded(routes.health)),
            Route("/v1/models", _guarded(routes.models)),
            Route("/v1/chat/completions", _guarded(routes.chat), methods=["POST"]),
            Route("/v1/load_lora_adapter", _guarded(routes.load), methods=["POST"]),
            Route("/v1/unload_lora_adapter", _guarded(routes.unload), methods=["POST"]),
        ]
    )


def _envelope(kind: Literal["chat.completion", "chat.completion.chunk"], model: str) -> dict[str, Any]:
    return {"id": new_id("chatcmpl"), "object": kind, "created": int(time.time()), "model": model}


async def _whole(running: _Running, body: _ChatBody, request: Request) -> Response:
    async def collect() -> str:
        return "".join([piece async for piece in running.pieces()])

    task = asyncio.create_task(collect())
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=0.2)
            if await request.is_disconnected():
                return Response(status_code=499)
        text = task.result()
    finally:
        running.stop()
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text},
        "finish_reason": running.answer.finish_reason,
    }
    return JSONResponse(
        {**_envelope("chat.completion", body.model), "choices": [choice], "usage": running.usage()}
    )


async def _streamed(running: _Running, body: _ChatBody) -> Response:
    """Answer with the first piece at hand, so that a bad request still gets its status code."""
    pieces = running.pieces()
    first = await anext(pieces, None)
    envelope = _envelope("chat.completion.chunk", body.model)

    def event(choices: list[dict[str, Any]], *, with_usage: bool) -> str:
        data = {**envelope, "choices": choices, **({"usage": running.usage()} if with_usage else {})}
        return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"

    def choice(delta: dict[str, str], reason: str | None = None) -> list[dict[str, Any]]:
        return [{"index": 0, "delta": delta, "finish_reason": reason}]

    async def send() -> AsyncIterator[str]:
        always = body.stream_options.continuous_usage_stats
        try:
            yield event(choice({"role": "assistant", "content": first or ""}), with_usage=always)
            async for piece in pieces:
                if piece or always:
                    yield event(choice({"content": piece}), with_usage=always)
            yield event(choice({}, running.answer.finish_reason), with_usage=always)
            if body.stream_options.include_usage:
                yield event([], with_usage=True)
        except Exception as error:
            yield f"data: {json.dumps({'error': {'message': str(error), 'code': 500}})}\n\n"
        finally:
            running.stop()
        yield "data: [DONE]\n\n"

    return StreamingResponse(send(), media_type="text/event-stream")


def main() -> None:
    """Load the model, then listen: a refused connection means that it is not ready."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-model-len", type=int, default=2048)
    given = parser.parse_args()
    model = LocalModel(given.model, max_model_len=given.max_model_len)
    uvicorn.run(
        create_app(model), host="127.0.0.1", port=given.port, log_level="warning", timeout_graceful_shutdown=2
    )


if __name__ == "__main__":
    main()
