"""The short way to the few endpoints that paid calls take."""

from collections.abc import Awaitable, Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from apps.gateway.errors import language_of, response_for
from engine.kit.errors import EngineError

Endpoint = Callable[[Request], Awaitable[Response]]


class Direct:
    """Hands POST requests to `endpoints`, by path, past the framework's routing.

    They read their bodies and know their callers themselves, so that there is nothing for it to resolve; on
    its way to them it would spend as much processor time as they do on half of a call. It still describes
    them, and answers every other method and path.
    """

    def __init__(self, app: ASGIApp, endpoints: Mapping[str, Endpoint]) -> None:
        self.app = app
        self.endpoints = endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] not in self.endpoints:
            await self.app(scope, receive, send)
            return
        request = Request(scope, receive, send)
        try:
            response = await self.endpoints[scope["path"]](request)
        except EngineError as error:
            response = response_for(error, language_of(request))
        await response(scope, receive, send)
