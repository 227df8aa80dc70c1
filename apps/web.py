"""The front door: every page of the product under one origin, with one sign-in.

`python -m apps.web` serves it. Each face is also an app of its own, and can be mounted alone.
"""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from apps import front
from apps.asgi import BodyLimit, Trace
from apps.faces import Faces
from apps.frame import PLACES
from apps.gateway import errors
from apps.gateway.routes import reports, statements, take_along, uploads
from engine.kit import logs
from engine.kit.errors import EngineError
from engine.kit.process import supervised
from engine.kit.settings import settings


def create_app() -> ASGIApp:
    """Return all pages as one ASGI application."""
    faces: Faces | None = None

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        assert faces is not None
        async with faces.warm():
            yield

    app = FastAPI(title="MBE Studio", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    @app.middleware("http")
    async def to_a_language(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        """Lead `/studio` and the like to the visitor's language."""
        if request.url.path.strip("/").split("/")[0] in PLACES:
            query = f"?{request.url.query}" if request.url.query else ""
            return RedirectResponse(f"/{front.language_of(request)}{request.url.path}{query}", 307)
        return await answer(request)

    @app.exception_handler(EngineError)
    async def refused(request: Request, error: EngineError) -> HTMLResponse:
        return front.refusal(request, error)

    @app.exception_handler(HTTPException)
    async def nothing_here(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return front.missing(request)
        return HTMLResponse(str(error.detail), error.status_code, error.headers)

    app.include_router(front.router)
    app.mount("/api", page_api())
    faces = Faces(app)
    return Trace(BodyLimit(faces, limit=settings().upload_limit))


def page_api() -> FastAPI:
    """Return the gateway's routes that pages send files to or offer files from: one port, one sign-in."""
    api = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    errors.install(api)
    api.include_router(uploads.router)
    api.include_router(reports.router)
    api.include_router(take_along.router)
    api.include_router(statements.router)
    return api


def main() -> None:
    """Serve the pages until stopped."""
    supervised()
    logs.configure("web")
    os.environ.setdefault("GRADIO_TEMP_DIR", str(settings().home / "gradio"))
    uvicorn.run(
        create_app(),
        host=settings().host,
        port=settings().web_port,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # an address that the caller names proves nothing
        timeout_graceful_shutdown=3,
    )


if __name__ == "__main__":
    main()
