"""The market's tables."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.database import Base


class Name(Base):
    """A public model id and the tenant it belongs to. Its row is the lock for everything under the name."""

    __tablename__ = "market_names"

    name: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[datetime]


class Expert(Base):
    """One version of an expert, with its listing."""

    __tablename__ = "market_experts"
    __table_args__ = (
        UniqueConstraint("name", "version"),
        CheckConstraint("input_price_micro >= 0 AND output_price_micro >= 0", name="prices_not_negative"),
        Index(
            "ix_market_experts_one_published",
            "name",
            unique=True,
            postgresql_where=text("state = 'published'"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    owner_id: Mapped[str]
    name: Mapped[str] = mapped_column(ForeignKey("market_names.name"))
    title: Mapped[str]
    description: Mapped[str]
    category: Mapped[str]
    tags: Mapped[list[str]]
    version: Mapped[str]
    state: Mapped[str] = mapped_column(index=True)
    input_price_micro: Mapped[int]
    output_price_micro: Mapped[int]
    example: Mapped[str]
    run_id: Mapped[str]
    adapter_prefix: Mapped[str]
    template: Mapped[str] = mapped_column(server_default=text("''"))
    base_model: Mapped[str]
    knowledge_base_ids: Mapped[list[str]]
    knowledge_tenant_id: Mapped[str]
    quality: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    published_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    calls: Mapped[int] = mapped_column(server_default=text("0"))
    tokens: Mapped[int] = mapped_column(server_default=text("0"))


class Change(Base):
    """One recorded step of an expert's road."""

    __tablename__ = "market_changes"

    id: Mapped[str] = mapped_column(primary_key=True)
    expert_id: Mapped[str] = mapped_column(ForeignKey("market_experts.id"), index=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    from_state: Mapped[str | None]
    to_state: Mapped[str]
    by_id: Mapped[str]
    reason: Mapped[str]
    at: Mapped[datetime]
