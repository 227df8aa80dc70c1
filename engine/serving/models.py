"""Tables: answers that are kept for a retry, model servers, and what is said when none answers."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
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
