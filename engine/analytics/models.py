"""One row per call to a model, waiting for its export or exported."""

from datetime import datetime

from sqlalchemy import Index, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.database import Base


class UsageEventRow(Base):
    """A usage event; `exported_at` is set in the transaction that wrote it to a Parquet file.

    `call_id` is the hold's of a paid call; where the event came without, reconciling finds it.
    """

    __tablename__ = "usage_events"
    __table_args__ = (
        Index("ix_usage_events_waiting", "id", postgresql_where=text("exported_at IS NULL")),
        Index("ix_usage_events_expert", "expert_id", "at"),
        # Events are written in the order of their time, so this one costs next to nothing.
        Index(
            "ix_usage_events_time",
            "at",
            postgresql_using="brin",
            postgresql_with={"autosummarize": True},
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    tenant_id: Mapped[str] = mapped_column(index=True)
    person_id: Mapped[str]
    expert_id: Mapped[str]
    expert_name: Mapped[str]
    developer_tenant_id: Mapped[str | None]
    input_tokens: Mapped[int]
    output_tokens: Mapped[int]
    charged_micro: Mapped[int]
    developer_micro: Mapped[int]
    platform_micro: Mapped[int]
    latency_ms: Mapped[int]
    first_token_ms: Mapped[int | None]
    outcome: Mapped[str]
    call_id: Mapped[str | None] = mapped_column(index=True)
    exported_at: Mapped[datetime | None]
