"""Streamlit under the front door: signed-in people only, the same script for both languages."""

from pathlib import Path
from urllib.parse import quote

import streamlit as st
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.accounts import sessions
from engine.kit.messages import LANGUAGES

PERSON_HEADER, LANGUAGE_HEADER = "x-mbe-person", "x-mbe-language"
PUBLIC = ("/static/", "/_stcore/health")


class SignedIn:
    """Lets signed-in people through, for pages and for the websocket, and tells the script who they are.

    What a client sends under our header names is dropped: only the cookie says who somebody is.
    """

    def __init__(self, app: ASGIApp, language: str) -> None:
        self.app = app
        self.language = language

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        person_id = sessions.read(HTTPConnection(scope).cookies.get(sessions.COOKIE))
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if person_id is None and not path.startswith(PUBLIC):
            await self._refuse(scope, receive, send)
            return
        kept = [
            (name, value)
            for name, value in scope["headers"]
            if name not in (PERSON_HEADER.encode(), LANGUAGE_HEADER.encode())
        ]
        told = [
            (PERSON_HEADER.encode(), (person_id or "").encode()),
            (LANGUAGE_HEADER.encode(), self.language.encode()),
        ]
        await self.app({**scope, "headers": [*kept, *told]}, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 4401})
            return
        wants_page = "text/html" in Headers(scope=scope).get("accept", "")
        goal = f"/{self.language}/sign-in?next={quote(f'/{self.language}/dashboard/')}"
        response = RedirectResponse(goal if wants_page else "/", 303)
        await response(scope, receive, send)


def dashboard_app() -> st.App:
    """Return the dashboard as an ASGI application; one per process."""
    return st.App(str(Path(__file__).with_name("page.py")))


def mount_dashboard(app: FastAPI, dashboard: st.App) -> None:
    """Mount the dashboard in each language; the app's lifespan must be the dashboard's."""
    for language in LANGUAGES:
        app.mount(f"/{language}/dashboard", SignedIn(dashboard, language))
