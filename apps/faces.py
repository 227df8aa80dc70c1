"""The faces behind the front door: each is built in the background, or when it is first asked for.

Gradio and Streamlit take seconds to import and each app a second to build; the front page should not
wait for that.
"""

import asyncio
import contextlib
import functools
import importlib
import threading
from collections.abc import AsyncIterator, Callable
from urllib.parse import quote

from fastapi import FastAPI, HTTPException, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.accounts import sessions
from engine.flows import people
from engine.kit.errors import NotSignedIn
from engine.kit.logs import logger
from engine.kit.messages import LANGUAGES
from engine.kit.settings import settings

log = logger(__name__)

GRADIO = {
    "studio": "studio.app",
    "market": "apps.market",
    "arena": "arena.app",
    "human-eval": "apps.human_eval",
}


def signed_in(request: Request) -> str:
    """Return the id of the person behind a request to a Gradio face.

    A browser that opens a page without a session is led to the sign-in page; anything else is 401.
    """
    try:
        return people.by_cookie(request.cookies.get(sessions.COOKIE)).id
    except NotSignedIn as error:
        if "text/html" in request.headers.get("accept", ""):
            language = request.url.path.strip("/").split("/")[0]
            wanted = quote(str(request.url.path) + (f"?{request.url.query}" if request.url.query else ""))
            where = f"/{language if language in LANGUAGES else 'en'}/sign-in?next={wanted}"
            raise HTTPException(303, headers={"Location": where}) from error
        raise HTTPException(401, detail=error.message("en")) from error


def gradio_face(name: str, language: str) -> FastAPI:
    """Build one Gradio face in one language, at its address."""
    import gradio as gr

    from apps import shell

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    return gr.mount_gradio_app(
        app,
        importlib.import_module(GRADIO[name]).build(language),
        path=f"/{language}/{name}",
        auth_dependency=signed_in,
        theme=shell.theme(),
        css=shell.CSS,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        show_error=False,
        max_file_size=settings().upload_limit,
    )


def dashboard_face() -> FastAPI:
    """Build the dashboard; one app serves both languages."""
    from apps.dashboard.mount import dashboard_app, mount_dashboard

    dashboard = dashboard_app()
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=dashboard.lifespan())
    mount_dashboard(app, dashboard)
    return app


class Face:
    """An app that is built once and started once, by whoever asks first."""

    # Gradio keeps the page under construction in a global: two at once would take each other's parts.
    _one_at_a_time = threading.Lock()

    def __init__(self, name: str, build: Callable[[], FastAPI]) -> None:
        self.name = name
        self._build = build
        self._lock = asyncio.Lock()
        self._app: FastAPI | None = None
        self._running: asyncio.Task[None] | None = None

    async def app(self) -> FastAPI:
        """Return the app, ready to answer."""
        async with self._lock:
            if self._app is None:
                app = await asyncio.to_thread(self._built)
                started = asyncio.get_running_loop().create_future()
                self._running = asyncio.create_task(self._live(app, started))
                await started
                self._app = app
                log.info("face ready", face=self.name)
            return self._app

    def _built(self) -> FastAPI:
        with Face._one_at_a_time:
            return self._build()

    async def _live(self, app: FastAPI, started: asyncio.Future[None]) -> None:
        """Keep the app's lifespan open, in one task from its beginning to its end."""
        try:
            async with app.router.lifespan_context(app):
                started.set_result(None)
                await asyncio.Event().wait()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)

    async def close(self) -> None:
        """End the app."""
        if self._running:
            self._running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._running


class Faces:
    """Sends what is under a face's address to that face, and everything else to `rest`."""

    def __init__(self, rest: ASGIApp) -> None:
        dashboard = Face("dashboard", dashboard_face)
        self.rest = rest
        self.by_prefix = {f"/{language}/dashboard": dashboard for language in LANGUAGES}
        for language in LANGUAGES:
            for name in GRADIO:
                self.by_prefix[f"/{language}/{name}"] = Face(
                    f"{language}/{name}", functools.partial(gradio_face, name, language)
                )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        prefix = "/".join(str(scope.get("path", "")).split("/")[:3])
        face = self.by_prefix.get(prefix) if scope["type"] in ("http", "websocket") else None
        await (await face.app() if face else self.rest)(scope, receive, send)

    @contextlib.asynccontextmanager
    async def warm(self) -> AsyncIterator[None]:
        """Build every face in the background while the block runs, and end them all after it."""
        building = asyncio.create_task(self._build_all())
        try:
            yield
        finally:
            building.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await building
            for face in dict.fromkeys(self.by_prefix.values()):
                await face.close()

    async def _build_all(self) -> None:
        for face in dict.fromkeys(self.by_prefix.values()):
            try:
                await face.app()
            except Exception:
                log.exception("face could not be built", face=face.name)
