"""Errors in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`."""

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from engine.kit import metrics
from engine.kit.errors import BadInput, EngineError, NotReady
from engine.kit.logs import current_trace, logger
from engine.kit.messages import pick_language, t
from engine.serving.schemas import LimitReached

log = logger(__name__)

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "insufficient_quota",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
    502: "upstream_error",
    503: "service_unavailable",
}


def language_of(request: Request) -> str:
    """Return the language the caller reads."""
    return pick_language(request.cookies.get("mbe_lang"), request.headers.get("accept-language"))


def body_of(error: EngineError, language: str) -> dict[str, object]:
    """Return the body of an error response, which counts as given; facts such as the amount missing are
    beside the text.
    """
    metrics.error(error.key)
    plain = {k: v for k, v in error.facts.items() if isinstance(v, (str, int, float, list))}
    return {
        "error": {
            "message": error.message(language),
            "type": TYPES.get(error.status, "server_error"),
            "param": error.field,
            "code": error.key,
            "details": plain,
        }
    }


def response_for(error: EngineError, language: str) -> JSONResponse:
    """Return the whole error response."""
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, NotReady) else {}
    if isinstance(error, LimitReached):
        headers |= error.headers()
    return JSONResponse(body_of(error, language), status_code=error.status, headers=headers)


def install(app: FastAPI) -> None:
    """Have every error of the product and of the framework answered in the same shape."""

    @app.exception_handler(EngineError)
    async def ours(request: Request, error: EngineError) -> JSONResponse:
        return response_for(error, language_of(request))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
        ours = BadInput("gateway.invalid", field=place or None, place=place or "body", why=first["msg"])
        return response_for(ours, language_of(request))

    @app.exception_handler(HTTPException)
    async def framework(request: Request, error: HTTPException) -> JSONResponse:
        metrics.error(f"http.{error.status_code}")
        kind = TYPES.get(error.status_code, "server_error")
        body = {"message": str(error.detail), "type": kind, "param": None, "code": None}
        return JSONResponse({"error": body}, status_code=error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", path=request.url.path, exc_info=error)
        metrics.error("gateway.unexpected")
        text = t("gateway.unexpected", language_of(request), trace=current_trace() or "-")
        body = {"message": text, "type": "server_error", "param": None, "code": "gateway.unexpected"}
        return JSONResponse({"error": body}, status_code=500)
