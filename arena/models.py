"""Battles and votes. A vote is never changed or removed: the database itself refuses it."""

from datetime import datetime

from sqlalchemy import DDL, CheckConstraint, ForeignKey, Index, UniqueConstraint, event
from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.database import Base

# One trigger per statement, so that it also stops TRUNCATE and statements that match no row.
VOTES_APPEND_ONLY = """
CREATE OR REPLACE FUNCTION arena_votes_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'arena_votes is append-only';
END
$$;
CREATE OR REPLACE TRIGGER arena_votes_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON arena_votes
    FOR EACH STATEMENT EXECUTE FUNCTION arena_votes_append_only();
"""


class Battle(Base):
    """Two contestants answer one prompt. `*_model` is an expert id or "base"."""

    __tablename__ = "arena_battles"
    __table_args__ = (
        CheckConstraint("left_model <> right_model", name="two_models"),
        UniqueConstraint("person_id", "pair", "prompt_sha256"),
        Index("ix_arena_battles_person_created", "person_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    person_id: Mapped[str]
    prompt: Mapped[str]
    prompt_sha256: Mapped[str]
    category: Mapped[str | None]
    pair: Mapped[str] = mapped_column(index=True)
    left_model: Mapped[str] = mapped_column(index=True)
    left_name: Mapped[str]
    left_answer: Mapped[str] = mapped_column(default="")
    left_finished: Mapped[bool] = mapped_column(default=False)
    right_model: Mapped[str] = mapped_column(index=True)
    right_name: Mapped[str]
    right_answer: Mapped[str] = mapped_column(default="")
    right_finished: Mapped[bool] = mapped_column(default=False)
    rated: Mapped[bool]
    created_at: Mapped[datetime]


class Vote(Base):
    """One judgement. It repeats the models of its battle, so that it stands alone as a record."""

    __tablename__ = "arena_votes"
    __table_args__ = (
        UniqueConstraint("battle_id"),
        CheckConstraint("verdict IN ('left', 'right', 'tie', 'both_bad')", name="verdict"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    battle_id: Mapped[str] = mapped_column(ForeignKey("arena_battles.id"))
    tenant_id: Mapped[str] = mapped_column(index=True)
    person_id: Mapped[str] = mapped_column(index=True)
    category: Mapped[str | None]
    left_model: Mapped[str]
    right_model: Mapped[str]
    verdict: Mapped[str]
    rated: Mapped[bool]
    created_at: Mapped[datetime]


event.listen(Vote.__table__, "after_create", DDL(VOTES_APPEND_ONLY))
