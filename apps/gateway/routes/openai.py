"""OpenAI's part of the API: models, chat completions, completions."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

import orjson
from fastapi import APIRouter, Request
from fastapi.responses import Response

from apps.gateway import replies, requests
from apps.gateway.answers import DONE, ClosedStream, citations, event, plain_choice, receipt_of, usage_of
from apps.gateway.errors import body_of, language_of
from apps.gateway.identity import Caller, credentials
from engine.flows import answer_request, browse_market, charge_call, complete_text, route_call
from engine.flows.answer_request import AnswerPart, WholeAnswer
from engine.flows.charge_call import Offer
from engine.kit.errors import EngineError
from engine.kit.ids import new_id

router = APIRouter(prefix="/v1", tags=["OpenAI"])

Answer = TypeVar("Answer")


@router.get("/models")
def models(_caller: Caller) -> dict[str, object]:
    """List the published experts."""
    return {"object": "list", "data": [_model(expert) for expert in browse_market.catalog()]}


@router.get("/models/{model}")
def model(model: str, _caller: Caller) -> dict[str, object]:
    """Return one published expert."""
    return _model(browse_market.expert(model))


def _model(expert: browse_market.ExpertView) -> dict[str, object]:
    return {
        "id": expert.name,
        "object": "model",
        "created": int((expert.published_at or expert.created_at).timestamp()),
        "owned_by": expert.tenant_id,
        "title": expert.title,
        "version": expert.version,
        "input_price_per_1k_micro": expert.input_price_micro,
        "output_price_per_1k_micro": expert.output_price_micro,
    }


def _schema(kind: type[requests.Chat] | type[requests.Completion]) -> dict[str, Any]:
    """The body is read by hand, once; this is how the API's description knows of it."""
    content = {"application/json": {"schema": kind.model_json_schema()}}
    parameters = [replies.PARAMETER, *requests.ROUTING_PARAMETERS]
    return {"requestBody": {"required": True, "content": content}, "parameters": parameters}


@router.post("/chat/completions", response_model=None, openapi_extra=_schema(requests.Chat))
async def chat_completions(request: Request) -> Response:
    """Answer a conversation, whole or as a stream of chunks; `X-Model-Version` says which version did."""
    who = await credentials(request)
    chat = await requests.body_of(request, requests.Chat)
    routing = requests.routing_of(request)
    offer = await charge_call.look_up(who, chat.model)
    asked = chat.request()
    offer = route_call.of_chat(offer, routing, asked.messages)

    def answering(offer: Offer) -> Awaitable[Response]:
        if chat.stream:
            parts = answer_request.answer(offer, asked)
            return _streamed("chat.completion.chunk", chat.model, parts, request)
        return _whole("chat.completion", offer, answer_request.whole_answer(offer, asked), request)

    if replies.HEADER in request.headers:
        return await replies.once(request, offer, answering)
    return await answering(offer)


@router.post("/completions", response_model=None, openapi_extra=_schema(requests.Completion))
async def completions(request: Request) -> Response:
    """Continue a text, whole or as a stream of chunks. An expert's knowledge is not asked."""
    who = await credentials(request)
    body = await requests.body_of(request, requests.Completion)
    routing = requests.routing_of(request)
    offer = await charge_call.look_up(who, body.model)
    asked = body.request()
    offer = route_call.of_text(offer, routing, asked.prompt)

    def answering(offer: Offer) -> Awaitable[Response]:
        if body.stream:
            return _streamed("text_completion", body.model, complete_text.stream(offer, asked), request)
        return _whole("text_completion", offer, complete_text.whole(offer, asked), request)

    if replies.HEADER in request.headers:
        return await replies.once(request, offer, answering)
    return await answering(offer)


PAID = {"/v1/chat/completions": chat_completions, "/v1/completions": completions}
"""By path; see `Direct`."""


LOOK_AFTER = 0.2  # seconds


async def _unless_left(request: Request, answering: Coroutine[Any, Any, Answer]) -> Answer | None:
    """Return the answer, or stop the model when the caller goes away meanwhile."""
    mine, left = asyncio.current_task(), False
    assert mine is not None

    async def watch() -> None:
        nonlocal left
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left = True
        mine.cancel()

    # Most answers are there before anybody could leave.
    watching: list[asyncio.Task[None]] = []
    loop = asyncio.get_running_loop()
    later = loop.call_later(LOOK_AFTER, lambda: watching.append(loop.create_task(watch())))
    try:
        return await answering
    except asyncio.CancelledError:
        if not left:
            raise
        mine.uncancel()
        return None
    finally:
        later.cancel()
        for task in watching:
            task.cancel()


def _head(kind: str, model: str) -> dict[str, object]:
    prefix = "cmpl" if kind == "text_completion" else "chatcmpl"
    return {"id": new_id(prefix), "object": kind, "created": int(time.time()), "model": model}


async def _whole(
    kind: str, offer: Offer, answering: Coroutine[Any, Any, WholeAnswer], request: Request
) -> Response:
    # With a key, the answer is kept for its caller to come back.
    answer = await (answering if offer.call_key else _unless_left(request, answering))
    if answer is None:
        return Response(status_code=499)
    model = offer.expert.name
    body = {
        **_head(kind, model),
        "choices": [plain_choice(choice) for choice in answer.completion.choices],
        "usage": usage_of(answer.usage),
        "citations": citations(answer.passages, model),
        "receipt": receipt_of(answer.receipt),
    }
    return Response(orjson.dumps(body), media_type="application/json", headers=dict(answer.headers))


async def _streamed(
    kind: str, model: str, parts: AsyncGenerator[AnswerPart, None], request: Request
) -> Response:
    # The first word is waited for before any byte is sent: errors keep their status, and headers can tell of
    # an answer that is none.
    begun = await _unless_left(request, _begin(parts))
    if begun is None:
        return Response(status_code=499)
    first, word = begun
    events = _events(kind, model, first, _after(word, parts), language_of(request))
    headers = {"Cache-Control": "no-cache", **first.headers, **word.headers}
    return ClosedStream(events, media_type="text/event-stream", headers=headers)


async def _begin(parts: AsyncGenerator[AnswerPart, None]) -> tuple[AnswerPart, AnswerPart]:
    return await anext(parts), await anext(parts)


async def _after(
    word: AnswerPart, parts: AsyncGenerator[AnswerPart, None]
) -> AsyncGenerator[AnswerPart, None]:
    async with aclosing(parts):
        yield word
        async for part in parts:
            yield part


async def _events(
    kind: str, model: str, first: AnswerPart, parts: AsyncGenerator[AnswerPart, None], language: str
) -> AsyncGenerator[bytes, None]:
    head = _head(kind, model)
    opening: dict[str, object] = {"index": 0, "finish_reason": None, "logprobs": None}
    opening |= {"text": ""} if kind == "text_completion" else {"delta": {"role": "assistant", "content": ""}}
    # A client that leaves stops the model here, and what it got is settled.
    async with aclosing(parts):
        try:
            yield event({**head, "choices": [opening], "citations": citations(first.passages, model)})
            async for part in parts:
                if part.kind == "text":
                    yield event({**head, "choices": [plain_choice(choice) for choice in part.choices]})
                else:
                    usage = {"usage": usage_of(part.usage), "receipt": receipt_of(part.receipt)}
                    yield event({**head, "choices": [], **usage})
            yield DONE
        except EngineError as error:
            yield event(body_of(error, language))
