"""`Idempotency-Key`: a paid call that is sent again gets the first one's answer, and is charged once.

A plain call with a key is finished and kept also when its caller leaves: whoever sends a key means to come
back for the answer. A stream stops when its caller leaves, as ever. If words were charged, the key stands for
what was sent, closed by the receipt; if none were, it is free.
"""

import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Annotated, cast

import anyio
import anyio.to_thread
import orjson
from fastapi import Depends, Request
from fastapi.responses import Response, StreamingResponse

from apps.gateway.answers import DONE, ClosedStream, event, receipt_of, usage_of
from apps.gateway.identity import words
from engine.billing.schemas import Receipt
from engine.flows import answer_once
from engine.flows.charge_call import Offer
from engine.inference.schemas import Usage
from engine.kit.errors import BadInput
from engine.kit.logs import logger
from engine.serving.replies import LARGEST, check_key
from engine.serving.schemas import Reply

HEADER = "idempotency-key"
DEGRADED = "x-degraded"
REPLAYED = {"Idempotent-Replayed": "true"}
PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
    "description": "Sent again with the same body within 24 hours, it gets the same answer, charged once.",
}

log = logger(__name__)


def key_of(request: Request) -> str | None:
    """Return the key that a request was sent with. Raises BadInput for one that is none."""
    key = words(request, HEADER)
    if key is not None:
        check_key(key)
    return key


HeaderKey = Annotated[str | None, Depends(key_of)]


def either(given: str | None, header: str | None) -> str:
    """Return a movement's key, from the body or else from the header. Raises BadInput without any."""
    key = given or header
    if not key:
        raise BadInput("gateway.invalid", field="key", place="key", why="Field required")
    return key


async def once(request: Request, offer: Offer, answering: Callable[[Offer], Awaitable[Response]]) -> Response:
    """Return the answer to a request that has a key: of this call, or of the first one with its key.

    Raises as `answer_once.begin` does.
    """
    key = key_of(request) or ""
    digest = _digest(request, offer, await request.body())
    found = await anyio.to_thread.run_sync(partial(answer_once.begin, offer, key=key, digest=digest))
    if isinstance(found, Reply):
        stream = {"Cache-Control": "no-cache"} if found.media_type == "text/event-stream" else {}
        headers = {**stream, **REPLAYED}
        return Response(found.body, found.status, media_type=found.media_type, headers=headers)
    try:
        response = await answering(found)
    except BaseException:
        await _surely(answer_once.leave, found, lambda _: None)
        raise
    # Who left before the first word, or got a text that stood in for an answer, may ask again.
    final = response.status_code == 200 and DEGRADED not in response.headers
    if isinstance(response, StreamingResponse):
        events = cast(AsyncGenerator[bytes, None], response.body_iterator)
        kept = _kept(found, events, response.status_code) if final else _freed(found, events)
        return ClosedStream(kept, response.status_code, headers=dict(response.headers))
    if not final:
        await _surely(answer_once.leave, found, lambda _: None)
        return response
    body, kind = bytes(response.body), response.media_type or ""
    await _surely(answer_once.keep, found, Reply(status=response.status_code, media_type=kind, body=body))
    return response


def _digest(request: Request, offer: Offer, raw: bytes) -> str:
    """Return what tells a request from others; order and blanks of its JSON do not matter."""
    with suppress(ValueError):  # a number of thousands of digits: as it was sent, then
        raw = json.dumps(json.loads(raw), sort_keys=True).encode()
    head = f"{request.method} {request.scope['path']} {offer.expert.name}\n"
    return hashlib.sha256(head.encode() + raw).hexdigest()


async def _freed(offer: Offer, events: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Yield events, and free the key when they have ended."""
    try:
        async with aclosing(events):
            async for part in events:
                yield part
    finally:
        await _surely(answer_once.leave, offer, lambda _: None)


async def _kept(
    offer: Offer, events: AsyncGenerator[bytes, None], status: int
) -> AsyncGenerator[bytes, None]:
    """Yield events, and keep them before the last one is sent: who has seen it may ask again at once."""
    sent = bytearray()
    whole = over = False

    def reply(closing: bytes = b"") -> Reply:
        return Reply(status=status, media_type="text/event-stream", body=bytes(sent) + closing)

    try:
        async with aclosing(events):
            async for part in events:
                if len(sent) <= LARGEST:  # beyond, only that it was too large has to be known
                    sent += part
                if part == DONE:
                    over = True
                    whole = await _surely(answer_once.keep, offer, reply())
                yield part
        over = True
    finally:
        if not whole:
            # The stream broke off: by an event that says so, or because the caller left.
            await _surely(
                answer_once.leave, offer, lambda receipt: reply(b"" if over else _closing(sent, receipt))
            )


def _closing(sent: bytearray, receipt: Receipt) -> bytes:
    """Return the end of a stream that was left: usage and receipt, under the ids of its events."""
    first = orjson.loads(sent.partition(b"\n\n")[0].removeprefix(b"data: "))
    used = receipt.usage
    usage = Usage(prompt_tokens=used["input_tokens"], completion_tokens=used["output_tokens"])
    head = {name: first[name] for name in ("id", "object", "created", "model")}
    told: dict[str, object] = {"choices": [], "usage": usage_of(usage), "receipt": receipt_of(receipt)}
    return event({**head, **told}) + DONE


async def _surely(work: Callable[..., None], *facts: object) -> bool:
    """Do something whoever leaves meanwhile, and say whether it was done; nobody's answer fails for it."""
    try:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(work, *facts)
    except Exception:
        log.exception("an answer was not kept for a retry")
        return False
    return True
