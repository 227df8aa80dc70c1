"""Human evaluation: campaigns, the answers to judge, and one slot per wanted judgement."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.database import Base


class Campaign(Base):
    """A set of answers that a tenant wants people to judge."""

    __tablename__ = "eval_campaigns"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    person_id: Mapped[str]
    title: Mapped[str]
    judgements_each: Mapped[int]
    created_at: Mapped[datetime]


class Item(Base):
    """One expert's answer to one question."""

    __tablename__ = "eval_items"
    __table_args__ = (UniqueConstraint("campaign_id", "ordinal"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    campaign_id: Mapped[str] = mapped_column(ForeignKey("eval_campaigns.id"))
    ordinal: Mapped[int]
    question: Mapped[str]
    answer: Mapped[str]
    expert_id: Mapped[str]
    expert_name: Mapped[str]
    owner_id: Mapped[str]


class Slot(Base):
    """Room for one judgement of an item: open, claimed by a person, or done. Its id is the task's id."""

    __tablename__ = "eval_slots"
    __table_args__ = (
        UniqueConstraint("item_id", "number"),
        CheckConstraint("state IN ('open', 'claimed', 'done')", name="state"),
        CheckConstraint("(state = 'open') = (person_id IS NULL)", name="taken_by_someone"),
        CheckConstraint(
            "state <> 'done' OR (accuracy BETWEEN 1 AND 5 AND helpfulness BETWEEN 1 AND 5"
            " AND tone BETWEEN 1 AND 5)",
            name="scores",
        ),
        # A person never holds two slots of one item, however many pages they have open.
        Index(
            "uq_eval_slots_item_person",
            "item_id",
            "person_id",
            unique=True,
            postgresql_where=text("person_id IS NOT NULL"),
        ),
        Index("ix_eval_slots_waiting", "number", "item_id", postgresql_where=text("state <> 'done'")),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    item_id: Mapped[str] = mapped_column(ForeignKey("eval_items.id"))
    number: Mapped[int]
    state: Mapped[str] = mapped_column(default="open")
    person_id: Mapped[str | None] = mapped_column(index=True)
    claimed_at: Mapped[datetime | None]
    submitted_at: Mapped[datetime | None]
    accuracy: Mapped[int | None]
    helpfulness: Mapped[int | None]
    tone: Mapped[int | None]
    comment: Mapped[str] = mapped_column(default="")


class Skip(Base):
    """A person passed over an item and does not get it again."""

    __tablename__ = "eval_skips"

    item_id: Mapped[str] = mapped_column(ForeignKey("eval_items.id"), primary_key=True)
    person_id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    created_at: Mapped[datetime]
