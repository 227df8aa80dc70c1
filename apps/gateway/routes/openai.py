"""OpenAI's part of the API: models and chat completions."""

import json
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from apps.gateway.errors import body_of, language_of
from apps.gateway.identity import Caller
from apps.gateway.routes import passages
from engine.flows import browse_market
from engine.flows.answer_request import AnswerPart, ChatRequest, answer
from engine.flows.speak import ANSWER_TOKENS, Sampling
from engine.inference.schemas import Usage
from engine.kit.errors import BadInput, EngineError
from engine.kit.ids import new_id
from engine.kit.money import format_credits
from engine.kit.prompts import Message
from engine.knowledge.schemas import Only

router = APIRouter(prefix="/v1", tags=["OpenAI"])


class Turn(BaseModel):
    """One message; `content` is text, or OpenAI's list of text parts."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]]


class StreamOptions(BaseModel):
    """What the last chunk of a stream holds."""

    include_usage: bool = False


class Narrowed(BaseModel):
    """An addition to OpenAI's request: the documents that an answer may come from."""

    model_config = ConfigDict(extra="forbid")

    labels: list[str] = Field([], max_length=20)
    kinds: list[str] = Field([], max_length=20)


class Chat(BaseModel):
    """OpenAI's chat completion request. Fields that cannot be honoured are refused, not ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: list[Turn] = Field(min_length=1, max_length=200)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float = Field(0.0, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    stop: str | list[str] | None = None
    seed: int | None = None
    n: Literal[1] = 1
    tools: None = None
    logprobs: Literal[False] | None = None
    knowledge: Narrowed = Narrowed()


def text_of(turn: Turn, number: int) -> str:
    """Return the text of a message. Raises BadInput for parts that are not text."""
    if isinstance(turn.content, str):
        return turn.content
    texts = [part.get("text") for part in turn.content if part.get("type") == "text"]
    if len(texts) != len(turn.content) or not all(isinstance(text, str) for text in texts):
        raise BadInput("chat.bad_message", field=f"messages.{number - 1}.content", number=number)
    return "".join(str(text) for text in texts)


def messages_of(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """Return a conversation as the engine takes it. Raises BadInput for parts that are not text."""
    return tuple(
        Message(role="system" if turn.role == "developer" else turn.role, content=text_of(turn, number))
        for number, turn in enumerate(turns, 1)
    )


def request_of(chat: Chat) -> ChatRequest:
    """Return the request as the engine takes it."""
    stop = (chat.stop,) if isinstance(chat.stop, str) else tuple(chat.stop or ())
    sampling = Sampling(
        max_tokens=chat.max_completion_tokens or chat.max_tokens or ANSWER_TOKENS,
        temperature=chat.temperature,
        top_p=chat.top_p,
        stop=stop,
        seed=chat.seed,
    )
    only = Only(labels=tuple(chat.knowledge.labels), kinds=tuple(chat.knowledge.kinds))
    return ChatRequest(model=chat.model, messages=messages_of(chat.messages), sampling=sampling, only=only)


def citations(part: AnswerPart, model: str) -> list[dict[str, object]]:
    """Return the passages of an answer as they are numbered in it; `url` gives one in its document."""
    return [
        {
            "number": number,
            "document": p.document_name,
            "document_id": p.document_id,
            "chunk_id": p.chunk_id,
            "heading": p.heading,
            "page": p.page,
            "text": p.text,
            "start": p.start,
            "end": p.end,
            "url": passages.address(model, p.chunk_id),
        }
        for number, p in enumerate(part.passages, 1)
    ]


def usage_of(usage: Usage | None) -> dict[str, int]:
    """Return token counts under OpenAI's names."""
    used = usage or Usage(prompt_tokens=0, completion_tokens=0)
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
    }


def receipt_of(part: AnswerPart) -> dict[str, object] | None:
    """Return the receipt as a caller sees it, amounts in micro-credits and in words."""
    if part.receipt is None:
        return None
    return {
        **part.receipt.model_dump(mode="json", exclude={"tenant_id"}),
        "charged": format_credits(part.receipt.charged_micro),
    }


@router.get("/models")
def models(_caller: Caller) -> dict[str, object]:
    """List the published experts."""
    data = [
        {
            "id": expert.name,
            "object": "model",
            "created": int((expert.published_at or expert.created_at).timestamp()),
            "owned_by": expert.tenant_id,
            "title": expert.title,
            "version": expert.version,
            "input_price_per_1k_micro": expert.input_price_micro,
            "output_price_per_1k_micro": expert.output_price_micro,
        }
        for expert in browse_market.catalog()
    ]
    return {"object": "list", "data": data}


@router.post("/chat/completions", response_model=None)
async def chat_completions(chat: Chat, caller: Caller, request: Request) -> Response:
    """Answer a conversation, whole or as a stream of chunks."""
    parts = answer(caller, request_of(chat))
    first = await anext(parts)  # raises before any byte is sent, so that errors keep their status
    if chat.stream:
        events = _events(chat, first, parts, language_of(request))
        return StreamingResponse(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
        )
    return await _whole(chat, first, parts, request)


async def _whole(
    chat: Chat, first: AnswerPart, parts: AsyncGenerator[AnswerPart, None], request: Request
) -> JSONResponse:
    text: list[str] = []
    last = first
    async for part in parts:
        if part.kind == "text":
            text.append(part.text)
            if await request.is_disconnected():
                await parts.aclose()
                return JSONResponse({}, status_code=499)
        last = part
    return JSONResponse(
        {
            "id": new_id("chatcmpl"),
            "object": "chat.completion",
            "created": int(time.time()),
            "model": chat.model,
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "".join(text)},
                    "finish_reason": last.finish_reason,
                    "logprobs": None,
                }
            ],
            "usage": usage_of(last.usage),
            "citations": citations(first, chat.model),
            "receipt": receipt_of(last),
        }
    )


async def _events(
    chat: Chat, first: AnswerPart, parts: AsyncGenerator[AnswerPart, None], language: str
) -> AsyncGenerator[str, None]:
    head = {
        "id": new_id("chatcmpl"),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": chat.model,
    }

    def chunk(delta: dict[str, str], finish: str | None = None, **more: object) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _event({**head, "choices": [choice], **more})

    try:
        yield chunk({"role": "assistant", "content": ""}, citations=citations(first, chat.model))
        async for part in parts:
            if part.kind == "text":
                yield chunk({"content": part.text})
            else:
                yield chunk({}, part.finish_reason)
                usage = {"usage": usage_of(part.usage), "receipt": receipt_of(part)}
                yield _event({**head, "choices": [], **usage})
        yield "data: [DONE]\n\n"
    except EngineError as error:
        yield _event(body_of(error, language))
    finally:
        # A client that left stops the model here, and what it got is settled.
        await parts.aclose()


def _event(body: dict[str, object]) -> str:
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"
