"""The state file home/inference.json: written by the supervisor, read by everyone."""

import json
import os
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from engine.inference.schemas import Backend, ServerState, ServerStatus
from engine.kit.clock import now
from engine.kit.settings import settings


def state_path() -> Path:
    """Return where the state file is."""
    return settings().home / "inference.json"


def identity(pid: int) -> list[float] | None:
    """Return [pid, start time] of a living process, which no later process can share."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return [pid, process.create_time()]
    except psutil.NoSuchProcess:
        return None


def alive(mark: object) -> bool:
    """Return whether the process that `identity` described still runs."""
    if not isinstance(mark, list) or len(mark) != 2:
        return False
    current = identity(int(mark[0]))
    # Start times are counted in clock ticks from boot, so two readings may differ by a little.
    return current is not None and abs(current[1] - float(mark[1])) < 0.1


def write(
    state: ServerState,
    backend: Backend,
    *,
    since: datetime,
    progress: int,
    message: str | None = None,
    facts: dict[str, str | int] | None = None,
    child: list[float] | None = None,
) -> None:
    """Replace the state file in one step."""
    values = {
        "state": state,
        "backend": backend,
        "message": message or f"inference.state_{state}",
        "facts": facts or {},
        "progress": progress,
        "since": since.isoformat(),
        "model": settings().base_model,
        "pid": os.getpid(),
        "supervisor": identity(os.getpid()),
        "child": child,
    }
    path = state_path()
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".json.new")
    new.write_text(json.dumps(values), "utf-8")
    os.replace(new, path)


def read() -> dict[str, Any] | None:
    """Return what the file says, or None when there is none that can be read."""
    try:
        values = json.loads(state_path().read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def status() -> ServerStatus:
    """Return the state of the model server; "stopped" when its supervisor is not running."""
    values = read()
    if values is None or not alive(values.get("supervisor")):
        configured = settings().inference
        return ServerStatus(
            state="stopped",
            backend="vllm" if configured == "auto" else configured,
            message="inference.state_stopped",
            since=now(),
            model=settings().base_model,
        )
    return ServerStatus.model_validate({k: values[k] for k in ServerStatus.model_fields})


LOOK_SECONDS = 0.5
_looked: tuple[float, Path, bool] | None = None


def answers() -> bool:
    """Return whether an answer can be asked for now, as it was at most half a second ago.

    Every call asks this, and looking costs more than much else of a call.
    """
    global _looked
    if settings().inference == "fake":
        return True
    home, at = settings().home, time.monotonic()
    if _looked is None or not _looked[2] or _looked[1] is not home or at - _looked[0] > LOOK_SECONDS:
        _looked = at, home, status().state == "ready"
    return _looked[2]
