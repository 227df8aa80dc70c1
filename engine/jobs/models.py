"""The table of jobs."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index
from sqlalchemy.orm import Mapped, mapped_column

from engine.jobs.schemas import TRANSITIONS, error_words
from engine.kit.database import Base

STATE_NAMES = ", ".join(f"'{state}'" for state in TRANSITIONS)


class Job(Base):
    """One piece of long work.

    `token` grows each time the job changes hands; a write with an older one is refused (fencing).
    `delivery_id` is the queue's message for the job, `silent_ends` how often its process or worker
    vanished since the last checkpoint. `heartbeat_at` is the database's clock, not a worker's.
    """

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(f"state IN ({STATE_NAMES})", name="state"),
        Index("ix_jobs_tenant_id_created_at", "tenant_id", "created_at"),
        Index("ix_jobs_state_heartbeat_at", "state", "heartbeat_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    owner_id: Mapped[str]
    kind: Mapped[str]
    title: Mapped[str]
    subject_id: Mapped[str | None] = mapped_column(index=True)
    queue: Mapped[str]
    priority: Mapped[int]
    state: Mapped[str]
    done: Mapped[int] = mapped_column(default=0)
    total: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(default="")
    metrics: Mapped[dict[str, Any]] = mapped_column(default=dict)
    params: Mapped[dict[str, Any]]
    checkpoint: Mapped[dict[str, Any] | None]
    result: Mapped[dict[str, Any] | None]
    error_key: Mapped[str | None]
    error_facts: Mapped[dict[str, Any]] = mapped_column(default=dict)
    attempt: Mapped[int] = mapped_column(default=0)
    silent_ends: Mapped[int] = mapped_column(default=0)
    token: Mapped[int] = mapped_column(default=0)
    delivery_id: Mapped[int | None]
    trace_id: Mapped[str]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]

    @property
    def error(self) -> str | None:
        """Why the job failed, in English."""
        return error_words(self.id, self.error_key, self.error_facts, "en") if self.error_key else None
