"""JSON logs, one object a line on standard error, each with the trace id of the request behind it."""

import logging
import os
import sys
from typing import Any

import orjson
import structlog

from engine.kit.ids import new_id
from engine.kit.settings import settings


def _json(event: Any, **_: Any) -> str:
    return orjson.dumps(event, default=str).decode()


def _line(event: Any, **_: Any) -> bytes:
    return orjson.dumps(event, default=str)


def configure(process: str) -> None:
    """Set up logging for this process; `process` is its name in the Procfile.

    Our own lines go straight to standard error, a third of the way that the standard library's take.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    level = logging.getLevelNamesMapping()[settings().log_level]
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_line)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(serializer=_json),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # Those that speak HTTP would also write addresses down that somebody may upload to.
    speakers = ("httpx", "httpx2", "httpcore", "httpcore2", "urllib3")
    for noisy in (*speakers, "procrastinate", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel("WARNING")
    structlog.contextvars.bind_contextvars(process=process)
    if inherited := os.environ.get("MBE_TRACE_ID"):
        bind_trace(inherited)


def bind_trace(trace_id: str | None = None) -> str:
    """Give everything logged from here on in this context a trace id; returns it."""
    clean = "".join(c for c in (trace_id or "")[:64] if c.isalnum() or c in "-_")
    chosen = clean or new_id("tr")
    structlog.contextvars.bind_contextvars(trace_id=chosen)
    return chosen


def current_trace() -> str | None:
    """Return the trace id of this context, if there is one."""
    value = structlog.contextvars.get_contextvars().get("trace_id")
    return str(value) if value else None


def logger(name: str) -> Any:
    """Return a logger: `logger(__name__).info("adapter loaded", adapter=name)`."""
    return structlog.get_logger(name)
