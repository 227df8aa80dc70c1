"""The SQL of human evaluation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, text
from sqlalchemy.orm import Session, aliased

from engine.evals.models import Campaign, Item, Skip, Slot
from engine.evals.schemas import RUBRIC

DONE = func.count().filter(Slot.state == "done")


def add_all(uow: Session, rows: Sequence[Campaign | Item | Slot | Skip]) -> None:
    """Write new rows."""
    uow.add_all(rows)
    uow.flush()


def campaigns(uow: Session, tenant_id: str, campaign_id: str | None = None) -> list[tuple[Any, ...]]:
    """Return (campaign, items, done, total) of one or all campaigns of a tenant, newest first."""
    query = (
        select(Campaign, func.count(Item.id.distinct()), DONE, func.count())
        .join(Item, Item.campaign_id == Campaign.id)
        .join(Slot, Slot.item_id == Item.id)
        .where(Campaign.tenant_id == tenant_id)
        .group_by(Campaign.id)
        .order_by(Campaign.created_at.desc(), Campaign.id.desc())
    )
    if campaign_id is not None:
        query = query.where(Campaign.id == campaign_id)
    return [tuple(row) for row in uow.execute(query)]


def lock_person(uow: Session, person_id: str) -> None:
    """Let one page of a person at a time ask for work."""
    uow.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"evals {person_id}", 0))))


def claimed_slot(uow: Session, person_id: str) -> Slot | None:
    """Return and lock the slot that a person claimed and nobody took over since."""
    query = select(Slot).where(Slot.person_id == person_id, Slot.state == "claimed")
    return _locked(uow, query.order_by(Slot.claimed_at).limit(1).with_for_update())


def free_slot(uow: Session, person_id: str, claimed_before: datetime) -> Slot | None:
    """Return and lock a slot that this person may fill; slots that others are locking are passed over.

    First judgements come before second ones, so that all items fill evenly. A claim from before
    `claimed_before` counts as free.
    """
    query = (
        select(Slot)
        .join(Item, Item.id == Slot.item_id)
        .where(_may_have(person_id, claimed_before))
        .order_by(Slot.number, Item.campaign_id, Item.ordinal)
        .limit(1)
        .with_for_update(of=Slot, skip_locked=True)
    )
    return _locked(uow, query)


def _locked(uow: Session, query: Select[Slot]) -> Slot | None:
    """Return a slot as it stands after the wait for its lock, not as this session saw it before."""
    return uow.scalar(query.execution_options(populate_existing=True))


def _may_have(person_id: str, claimed_before: datetime) -> ColumnElement[bool]:
    mine = aliased(Slot)
    return and_(
        or_(Slot.state == "open", and_(Slot.state == "claimed", Slot.claimed_at < claimed_before)),
        Item.owner_id != person_id,
        ~exists().where(mine.item_id == Slot.item_id, mine.person_id == person_id),
        ~exists().where(Skip.item_id == Slot.item_id, Skip.person_id == person_id),
    )


def slot_of(uow: Session, task_id: str, person_id: str) -> Slot | None:
    """Return and lock a slot that a person holds or has filled."""
    query = select(Slot).where(Slot.id == task_id, Slot.person_id == person_id)
    return _locked(uow, query.with_for_update())


def tasks(uow: Session, person_id: str, limit: int, task_id: str | None = None) -> list[tuple[Any, ...]]:
    """Return (slot, question, answer, campaign id, title) of a person's slots, claimed ones first."""
    query = (
        select(Slot, Item.question, Item.answer, Campaign.id, Campaign.title)
        .join(Item, Item.id == Slot.item_id)
        .join(Campaign, Campaign.id == Item.campaign_id)
        .where(Slot.person_id == person_id)
        .order_by(Slot.state, Slot.claimed_at.desc())
        .limit(limit)
    )
    if task_id is not None:
        query = query.where(Slot.id == task_id)
    return [tuple(row) for row in uow.execute(query)]


def waiting(uow: Session, person_id: str, claimed_before: datetime) -> int:
    """Return how many items this person could still be given."""
    query = (
        select(func.count(Item.id.distinct()))
        .join(Slot, Slot.item_id == Item.id)
        .where(_may_have(person_id, claimed_before))
    )
    return uow.scalar(query) or 0


def scores_by_expert(uow: Session, campaign_id: str, tenant_id: str) -> list[tuple[Any, ...]]:
    """Return expert id, name, count, then mean and sample deviation of each rubric and of their mean."""
    overall = (Slot.accuracy + Slot.helpfulness + Slot.tone) / text("3.0")
    columns = [*(getattr(Slot, name) for name in RUBRIC), overall]
    statistics = [measure(column) for column in columns for measure in (func.avg, func.stddev_samp)]
    query = (
        select(Item.expert_id, func.max(Item.expert_name), func.count(), *statistics)
        .join(Slot, Slot.item_id == Item.id)
        .where(Item.campaign_id == campaign_id, Item.tenant_id == tenant_id, Slot.state == "done")
        .group_by(Item.expert_id)
        .order_by(func.avg(overall).desc(), Item.expert_id)
    )
    return [tuple(row) for row in uow.execute(query)]


def comments(uow: Session, campaign_id: str, tenant_id: str, limit: int) -> list[tuple[Any, ...]]:
    """Return (expert_name, question, comment) of the newest judgements that carry a comment."""
    query = (
        select(Item.expert_name, Item.question, Slot.comment)
        .join(Slot, Slot.item_id == Item.id)
        .where(
            Item.campaign_id == campaign_id,
            Item.tenant_id == tenant_id,
            Slot.state == "done",
            Slot.comment != "",
        )
        .order_by(Slot.submitted_at.desc())
        .limit(limit)
    )
    return [tuple(row) for row in uow.execute(query)]
