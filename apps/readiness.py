"""What is ready: model server, database, gateway, worker. Read by the front page every two seconds."""

from dataclasses import dataclass
from html import escape

import httpx
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from engine.inference import state
from engine.jobs import queue
from engine.kit.database import unit_of_work
from engine.kit.messages import t
from engine.kit.settings import settings


@dataclass(frozen=True)
class Part:
    """One part of the product and how it is; `progress` is 0-100 while it starts."""

    name: str
    state: str
    note: str = ""
    progress: int | None = None


def _model_server(language: str) -> Part:
    status = state.status()
    if status.state == "ready":
        return Part("model", "up", f"{status.backend} · {status.model}")
    waiting = status.state in ("starting", "restarting")
    return Part(
        "model",
        "waiting" if waiting else "down",
        status.text(language),
        status.progress if waiting else None,
    )


def _database() -> Part:
    try:
        with unit_of_work() as uow:
            version = str(uow.execute(text("show server_version")).scalar())
    except SQLAlchemyError:
        return Part("database", "down")
    return Part("database", "up", f"PostgreSQL {version.split()[0]}")


def _gateway() -> Part:
    try:
        answer = httpx.get(f"http://{settings().host}:{settings().gateway_port}/health", timeout=1)
    except httpx.HTTPError:
        return Part("gateway", "waiting")
    return Part("gateway", "up" if answer.status_code == 200 else "down", settings().gateway_url)


def _worker() -> Part:
    with unit_of_work() as uow:
        alive = queue.workers_alive(uow, settings().job_heartbeat_timeout)
    return Part("worker", "up" if alive else "waiting")


def parts(language: str) -> list[Part]:
    """Return every part as it is now."""
    database = _database()
    if database.state != "up":
        return [database]
    return [_model_server(language), _gateway(), _worker(), database]


def as_html(language: str) -> str:
    """Return the parts as rows: a word and a mark for each state, a bar for what is starting."""
    marks = {"up": ("✓", "ok"), "waiting": ("…", "muted"), "down": ("✕", "error")}
    rows = []
    for part in parts(language):
        mark, colour = marks[part.state]
        bar = (
            "" if part.progress is None else f'<div class="bar"><i style="width:{part.progress}%"></i></div>'
        )
        percent = "" if part.progress is None else f" {part.progress}%"
        rows.append(
            f'<div style="padding:6px 0"><span class="{colour}">{mark} {t(f"front.{part.state}", language)}'
            f"{percent}</span> &nbsp;<b>{t(f'front.ready_{part.name}', language)}</b> "
            f'<span class="muted">{escape(part.note)}</span>{bar}</div>'
        )
    return "".join(rows)
