"""Small ASGI middlewares that the gateway and the pages share."""

import json
from collections.abc import Collection, Mapping

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.kit import logs
from engine.kit.errors import EngineError, NotReady, TooLarge
from engine.kit.messages import pick_language

# A multipart body is a little longer than the file in it.
ENVELOPE = 64 * 1024

HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),
    (b"x-frame-options", b"SAMEORIGIN"),
]


class Trace:
    """Gives each request a trace id (the caller's, if sent) and sends it back, with safe headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        structlog.contextvars.unbind_contextvars("trace_id")
        sent = dict(scope["headers"]).get(b"x-trace-id", b"").decode("latin-1")
        trace_id = logs.bind_trace(sent)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-trace-id", trace_id.encode()),
                    *HEADERS,
                ]
            await send(message)

        await self.app(scope, receive, with_headers)


class BodyLimit:
    """Refuses a request body above `limit` bytes before it is read to its end.

    `lesser` are limits of paths that begin with a prefix.
    """

    def __init__(self, app: ASGIApp, limit: int, lesser: Mapping[str, int] | None = None) -> None:
        self.app = app
        self.limit = limit
        self.lesser = lesser or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        path = scope["path"]
        limit = next((n for start, n in self.lesser.items() if path.startswith(start)), self.limit)
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > limit + ENVELOPE:
            error = TooLarge("gateway.body_too_large", most=megabytes(limit))
            await refuse(error, "invalid_request_error", headers, send, close=True)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit + ENVELOPE:
                raise TooLarge("gateway.body_too_large", most=megabytes(limit))
            return message

        await self.app(scope, counted, send)


class Crowd:
    """Refuses requests beyond `most` at once, so that those inside are answered in time.

    `always` are paths that are answered all the same.
    """

    def __init__(self, app: ASGIApp, most: int, always: Collection[str] = ()) -> None:
        self.app = app
        self.most = most
        self.always = always
        self.inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.inside >= self.most and scope["path"] not in self.always:
            error = NotReady("gateway.crowded", retry_after=1)
            await refuse(error, "service_unavailable", dict(scope["headers"]), send, close=False)
            return
        self.inside += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.inside -= 1


async def refuse(
    error: EngineError, kind: str, headers: dict[bytes, bytes], send: Send, *, close: bool
) -> None:
    """Answer with an error in OpenAI's shape; `close` ends the connection, whose body is not read."""
    language = pick_language(headers.get(b"accept-language", b"").decode("latin-1"))
    body = json.dumps(
        {
            "error": {
                "message": error.message(language),
                "type": kind,
                "param": None,
                "code": error.key,
            }
        },
        ensure_ascii=False,
    ).encode()
    answer = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if close:
        answer.append((b"connection", b"close"))
    if isinstance(error, NotReady):
        answer.append((b"retry-after", str(error.retry_after).encode()))
    await send({"type": "http.response.start", "status": error.status, "headers": answer})
    await send({"type": "http.response.body", "body": body})


def megabytes(size: int) -> str:
    """Return a size in bytes as whole megabytes."""
    return f"{size / 2**20:.0f} MB"
