"""Puts the gateway together."""

from fastapi import FastAPI

from apps.asgi import BodyLimit, Crowd, Trace
from apps.gateway import docs, errors
from apps.gateway.direct import Direct
from apps.gateway.routes import (
    accounts,
    arena,
    cash,
    datasets,
    embeddings,
    human_eval,
    indexes,
    jobs,
    keys,
    knowledge,
    market,
    metrics,
    openai,
    packages,
    passages,
    reports,
    retrieval,
    rollouts,
    search,
    statements,
    take_along,
    training,
    uploads,
    upstreams,
    wallet,
    webhooks,
)
from engine.inference import state
from engine.kit.settings import settings

LONGEST_REQUEST = 4 * 2**20
"""Bytes of a request to a model: far more than any model here can read."""


def create_app() -> FastAPI:
    """Return the gateway as an ASGI application."""
    app = FastAPI(title="MBE Studio gateway", version="1", docs_url=None, redoc_url=None)
    errors.install(app)
    parts = (
        openai,
        passages,
        embeddings,
        accounts,
        keys,
        wallet,
        cash,
        webhooks,
        uploads,
        knowledge,
        retrieval,
        indexes,
        datasets,
        training,
        search,
        reports,
        take_along,
        market,
        upstreams,
        packages,
        rollouts,
        arena,
        human_eval,
        jobs,
    )
    for part in parts:
        app.include_router(part.router)
    app.include_router(statements.router, prefix="/api")

    app.include_router(docs.router)
    app.include_router(metrics.router)

    @app.get("/health", tags=["status"])
    def health() -> dict[str, object]:
        """Say whether the gateway answers and how far the model server is."""
        return {"status": "ok", "model_server": state.status().state}

    # The last is asked first.
    app.add_middleware(Direct, endpoints=openai.PAID)
    app.add_middleware(BodyLimit, limit=settings().upload_limit, lesser={"/v1/": LONGEST_REQUEST})
    app.add_middleware(Crowd, most=settings().gateway_parallel, always=("/health", "/metrics"))
    app.add_middleware(Trace)
    return app
