"""Which function does the work of which kind of job. Filled by the wiring, read by the job's process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from engine.jobs.context import JobContext
from engine.jobs.schemas import JobView
from engine.kit.errors import NotFound

Handler = Callable[[JobContext], dict[str, Any]]
OnSuccess = Callable[[Session, JobView, dict[str, Any]], None]


@dataclass(frozen=True)
class Entry:
    """A handler, and what happens in the transaction that marks its job succeeded."""

    handler: Handler
    on_success: OnSuccess | None


_entries: dict[str, Entry] = {}


def register(kind: str, handler: Handler, *, on_success: OnSuccess | None = None) -> None:
    """Let `handler` do jobs of `kind`; it returns the job's result.

    `on_success(uow, job, result)` runs exactly once, in the transaction that marks the job succeeded:
    when it raises, the job has not succeeded.
    """
    _entries[kind] = Entry(handler, on_success)


def find(kind: str) -> Entry:
    """Return the entry of a kind; NotFound when this installation has none."""
    if kind not in _entries:
        raise NotFound("jobs.unknown_kind", kind=kind)
    return _entries[kind]
