"""What attempts at jobs have measured, for whoever charges it."""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from sqlalchemy.orm import Session

from engine.jobs import repository

Attempt = tuple[str, int]
"""A job's id, and the token that it had while the attempt held it."""


class Measured(NamedTuple):
    """The time of an attempt in milliseconds: of processors, and of a GPU. `ended_at` is None while it runs.

    Both only ever grow. Of an attempt that runs, a GPU's time counts up to its last sign of life: should it
    be lost, that is where it ended.
    """

    cpu_ms: int
    gpu_ms: int
    ended_at: datetime | None


def measured(uow: Session, attempts: Collection[Attempt]) -> dict[Attempt, Measured]:
    """Return what attempts have measured so far; those that never were are left out."""
    rows = repository.measured(uow, attempts) if attempts else []
    return {(row.job_id, row.token): Measured(row.cpu_ms, int(row.gpu_ms), row.ended_at) for row in rows}


def begun(uow: Session, resources: Collection[str], since: datetime, until: datetime) -> list[Attempt]:
    """Return the attempts at jobs of some resources that began in a time."""
    return repository.begun(uow, resources, since, until)
