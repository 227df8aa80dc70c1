"""Tables: answers kept for a retry, model servers, what is said when none answers, versions in traffic."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.database import Base


class ReplyRow(Base):
    """What an idempotency key of a tenant stands for: a call that is running, or how it was answered.

    `id` is another for each attempt, and the key of the attempt's hold. A call that was answered and has no
    `body` had one that was too large to keep, or, without a `status` as well, none that arrived here.
    """

    __tablename__ = "serving_replies"
    __table_args__ = (UniqueConstraint("tenant_id", "key"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    key: Mapped[str]
    digest: Mapped[str]
    state: Mapped[str]
    status: Mapped[int | None]
    media_type: Mapped[str | None]
    body: Mapped[bytes | None]
    created_at: Mapped[datetime] = mapped_column(index=True)
    expires_at: Mapped[datetime]


class UpstreamRow(Base):
    """A model server that an operator declared; `key_variable` names the variable that holds its key."""

    __tablename__ = "serving_upstreams"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    base_url: Mapped[str]
    key_variable: Mapped[str]
    model: Mapped[str]
    served_as: Mapped[str]
    weight: Mapped[int]
    fallback: Mapped[int]
    enabled: Mapped[bool]
    created_at: Mapped[datetime]
    by_id: Mapped[str]


class DegradedRow(Base):
    """What callers of an expert read when no model server answers, written by its owner."""

    __tablename__ = "serving_degraded"

    name: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str]
    text: Mapped[str]
    updated_at: Mapped[datetime]
    by_id: Mapped[str]


class RolloutRow(Base):
    """A candidate that gets a share of the calls of a name, beside its stable version."""

    __tablename__ = "serving_rollouts"
    __table_args__ = (
        CheckConstraint("weight_percent BETWEEN 0 AND 100", name="weight_is_a_share"),
        Index(
            "ix_serving_rollouts_one_running",
            "name",
            unique=True,
            postgresql_where=text("state = 'running'"),
        ),
        Index("ix_serving_rollouts_name_started_at", "name", "started_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    tenant_id: Mapped[str] = mapped_column(index=True)
    stable_id: Mapped[str]
    candidate_id: Mapped[str]
    strategy: Mapped[str]
    weight_percent: Mapped[int]
    margins: Mapped[dict[str, Any]]
    state: Mapped[str]
    reason: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    by_id: Mapped[str]


class OutcomeRow(Base):
    """What came of one call while a rollout ran, of either arm."""

    __tablename__ = "serving_outcomes"
    __table_args__ = (Index("ix_serving_outcomes_rollout_id_arm_at", "rollout_id", "arm", "at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    rollout_id: Mapped[str]
    version_id: Mapped[str]
    arm: Mapped[str]
    failed: Mapped[bool]
    latency_ms: Mapped[int]
    at: Mapped[datetime]
