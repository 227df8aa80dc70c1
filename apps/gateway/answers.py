"""OpenAI's answers, with citations and the receipt beside its own fields."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, cast

import anyio
import orjson
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from apps.gateway.routes import passages
from engine.billing.schemas import Receipt
from engine.inference.schemas import Usage
from engine.kit.money import format_credits
from engine.kit.settings import settings
from engine.knowledge.schemas import Passage


def citations(found: Sequence[Passage], model: str) -> list[dict[str, object]]:
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
        for number, p in enumerate(found, 1)
    ]


def usage_of(usage: Usage | None) -> dict[str, int]:
    """Return token counts under OpenAI's names."""
    used = usage or Usage(prompt_tokens=0, completion_tokens=0)
    return {
        "prompt_tokens": used.prompt_tokens,
        "completion_tokens": used.completion_tokens,
        "total_tokens": used.prompt_tokens + used.completion_tokens,
    }


def receipt_of(receipt: Receipt | None) -> dict[str, object] | None:
    """Return the receipt as a caller sees it, amounts in micro-credits and in words."""
    if receipt is None:
        return None
    return {
        **receipt.model_dump(exclude={"tenant_id", "subject"}),
        "charged": format_credits(receipt.charged_micro),
    }


SAID = ("role", "content", "refusal", "tool_calls")


def plain_choice(choice: Mapping[str, Any]) -> dict[str, Any]:
    """Return a choice without what a model server adds to OpenAI's fields."""
    kept = {name: choice.get(name) for name in ("index", "finish_reason", "logprobs")}
    if "text" in choice:
        return {**kept, "text": choice["text"]}
    if "message" in choice:
        return {**kept, "message": {"content": None, **_said(choice["message"])}}
    return {**kept, "delta": _said(choice.get("delta") or {})}


def _said(message: Mapping[str, Any]) -> dict[str, Any]:
    return {name: message[name] for name in SAID if message.get(name) not in (None, [])}


def event(body: Mapping[str, object]) -> bytes:
    """Return a server-sent event."""
    return b"data: " + orjson.dumps(body) + b"\n\n"


DONE = b"data: [DONE]\n\n"


PATIENCE = 30.0  # seconds that a reader may be behind the model


class ClosedStream(StreamingResponse):
    """A stream that is closed at once when it was left, also while a part of it was being sent.

    One whose reader does not take it is ended in time for its hold to be settled.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream."""
        longest = min(settings().request_timeout + PATIENCE, 0.8 * settings().hold_timeout)
        try:
            with anyio.move_on_after(longest):
                await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await cast(AsyncGenerator[bytes, None], self.body_iterator).aclose()
