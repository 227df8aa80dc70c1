"""The tables of jobs, of what they cost, and of the machines that do them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from engine.jobs.schemas import TRANSITIONS, error_words
from engine.kit.database import Base

STATE_NAMES = ", ".join(f"'{state}'" for state in TRANSITIONS)


class Job(Base):
    """One piece of long work.

    `token` grows each time the job changes hands; a write with an older one is refused (fencing).
    `silent_ends` is how often its process or worker vanished since the last checkpoint. `heartbeat_at` is
    the database's clock, not a worker's. `resource` is what of a tenant's plan the job takes a place of.
    `queued_at` is when it began to wait. `memory` is what it asks of a device in bytes, 0 for none; while a
    process holds it, it runs on `machine`, and has the device `device_id`.
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
    resource: Mapped[str]
    urgent: Mapped[bool] = mapped_column(default=False)
    memory: Mapped[int] = mapped_column(default=0)
    machine: Mapped[str | None]
    device_id: Mapped[str | None]
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
    trace_id: Mapped[str]
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]

    @property
    def error(self) -> str | None:
        """Why the job failed, in English."""
        return error_words(self.id, self.error_key, self.error_facts, "en") if self.error_key else None


class JobAttempt(Base):
    """What one attempt at a job cost; `token` is the job's while it held it. Times are milliseconds."""

    __tablename__ = "job_attempts"
    __table_args__ = (Index(None, "tenant_id", "started_at"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    token: Mapped[int] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    machine: Mapped[str]
    device_id: Mapped[str | None]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    cpu_ms: Mapped[int] = mapped_column(default=0)


class Machine(Base):
    """A machine with a worker; `slots` counts the jobs that it does at once, training aside."""

    __tablename__ = "machines"

    name: Mapped[str] = mapped_column(primary_key=True)
    slots: Mapped[int]
    seen_at: Mapped[datetime]


class DeviceRow(Base):
    """A device of a machine that jobs are given memory of, in bytes."""

    __tablename__ = "devices"

    id: Mapped[str] = mapped_column(primary_key=True)
    machine: Mapped[str] = mapped_column(ForeignKey("machines.name", ondelete="CASCADE"), index=True)
    number: Mapped[int]
    name: Mapped[str]
    memory: Mapped[int]
