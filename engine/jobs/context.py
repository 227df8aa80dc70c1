"""What a handler holds while it works: its parameters, its progress, its checkpoint, its stop sign."""

import math
import time
from pathlib import Path
from typing import Any, Literal

from sqlalchemy.orm import Session

from engine.jobs import service
from engine.jobs.schemas import Fenced, JobView, StopJob
from engine.kit.database import unit_of_work
from engine.kit.settings import settings

__all__ = ["Fenced", "JobContext", "StopJob", "workdirs"]

REPORT_INTERVAL = 0.25
"""Seconds between two writes of progress; what comes in between is merged into the next."""
WISH_INTERVAL = 0.2
"""Seconds for which an answer to "should I stop?" is reused."""


def workdirs() -> Path:
    """Return the folder that holds the scratch folders of this machine's jobs, named by job id."""
    return settings().home / "jobs"


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: NaN and infinities, which PostgreSQL refuses, become None."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value


class JobContext:
    """One attempt at one job. Every write carries the fencing token; a stale one raises Fenced.

    Writes are short transactions of their own, so call `report` and `save_checkpoint` outside of yours,
    or pass yours to `save_checkpoint`.
    """

    def __init__(self, job: JobView, token: int) -> None:
        self.job = job
        self.params = job.params
        self.checkpoint = job.checkpoint
        self._token = token
        self._metrics = dict(job.metrics)
        self._total = job.total
        self._pending: dict[str, Any] = {}
        self._written = -math.inf
        self._asked = -math.inf
        self._wish: Literal["pause", "cancel"] | None = None
        self._handing_back = False

    @property
    def workdir(self) -> Path:
        """The job's scratch folder on this machine; it stays until the job has succeeded or is cancelled.

        Another machine may run the next attempt: what must survive belongs into the blob store.
        """
        folder = workdirs() / self.job.id
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def report(
        self,
        *,
        done: int | None = None,
        total: int | None = None,
        message: str | None = None,
        metrics: dict[str, Any] | None = None,
    ) -> None:
        """Tell people how far the job is. Cheap to call at each step: at most four writes a second.

        `done` and `total` count steps, `message` is short and free of language ("step 40/120"),
        `metrics` are merged into those reported before. Reaching the total is written at once.
        """
        self._total = self._total if total is None else total
        if metrics is not None:
            self._metrics |= plain(metrics)
            self._pending["metrics"] = dict(self._metrics)
        given = {"done": done, "total": total, "message": message}
        self._pending |= {name: value for name, value in given.items() if value is not None}
        complete = done is not None and done == self._total
        if complete or time.monotonic() - self._written >= REPORT_INTERVAL:
            self.flush()

    def save_checkpoint(self, checkpoint: dict[str, Any], *, uow: Session | None = None) -> None:
        """Keep what the handler needs to continue from here after a pause, a crash or another machine.

        With `uow`, the checkpoint commits together with the handler's own writes in it, which makes
        each step count exactly once. The job's row stays locked until then, so keep it short.
        """
        values = {**self._pending, "checkpoint": plain(checkpoint), "silent_ends": 0}
        if uow is None:
            with unit_of_work() as own:
                self._write(own, values)
        else:
            self._write(uow, values)
        self.checkpoint = values["checkpoint"]

    def stop_requested(self) -> Literal["pause", "cancel"] | None:
        """Return what the handler is asked to do; "pause" also when the worker itself must stop."""
        if self._handing_back:
            return "pause"
        if time.monotonic() - self._asked >= WISH_INTERVAL:
            with unit_of_work() as uow:
                self._wish = service.wish(uow, self.job.id, self._token)
            self._asked = time.monotonic()
        return self._wish

    def check_stop(self) -> None:
        """Raise StopJob when the job should stop here. Call it where a checkpoint was just saved."""
        if self.stop_requested():
            raise StopJob

    def hand_back(self) -> None:
        """Ask the handler to stop because its worker does; safe in a signal handler."""
        self._handing_back = True

    def flush(self) -> None:
        """Write what `report` has collected."""
        if self._pending:
            with unit_of_work() as uow:
                self._write(uow, self._pending)

    def succeed(self, uow: Session, result: dict[str, Any]) -> JobView:
        """Mark the job succeeded within `uow`, with all progress that was reported."""
        self._write(uow, {**self._pending})
        return service.succeed(uow, self.job.id, self._token, plain(result))

    def _write(self, uow: Session, values: dict[str, Any]) -> None:
        if values:
            service.write(uow, self.job.id, self._token, values)
        self._pending = {}
        self._written = time.monotonic()
