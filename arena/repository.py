"""The arena's SQL."""

from collections.abc import Sequence

from sqlalchemy import func, select, union_all
from sqlalchemy.orm import Session

from arena.models import Battle, Vote


def add(uow: Session, row: Battle | Vote) -> None:
    """Write a new row now, so that a unique constraint speaks up here. Raises IntegrityError."""
    with uow.begin_nested():
        uow.add(row)


def battle(uow: Session, battle_id: str, *, lock: bool = False) -> Battle | None:
    """Return a battle, locked until the end of the transaction if asked."""
    query = select(Battle).where(Battle.id == battle_id).execution_options(populate_existing=True)
    return uow.scalar(query.with_for_update() if lock else query)


def vote_of(uow: Session, battle_id: str) -> Vote | None:
    """Return the vote of a battle, if it was given."""
    return uow.scalar(select(Vote).where(Vote.battle_id == battle_id))


def battles_of(uow: Session, person_id: str, tenant_id: str, limit: int) -> list[tuple[Battle, Vote | None]]:
    """Return a person's battles with their votes, newest first."""
    rows = uow.execute(
        select(Battle, Vote)
        .outerjoin(Vote, Vote.battle_id == Battle.id)
        .where(Battle.person_id == person_id, Battle.tenant_id == tenant_id)
        .order_by(Battle.created_at.desc(), Battle.id.desc())
        .limit(limit)
    )
    return [(row[0], row[1]) for row in rows]


def pair_counts(uow: Session, models: Sequence[str]) -> dict[str, int]:
    """Return how many battles each pair among `models` has had; pairs without one are left out."""
    rows = uow.execute(
        select(Battle.pair, func.count())
        .where(Battle.left_model.in_(models), Battle.right_model.in_(models))
        .group_by(Battle.pair)
    )
    return {pair: count for pair, count in rows}


def pairs_seen(uow: Session, person_id: str, prompt_sha256: str) -> set[str]:
    """Return the pairs that a person has already had answer this prompt."""
    return set(
        uow.scalars(
            select(Battle.pair).where(Battle.person_id == person_id, Battle.prompt_sha256 == prompt_sha256)
        )
    )


def rated_votes(uow: Session, category: str | None) -> list[tuple[str, str, str]]:
    """Return (left model, right model, verdict) of every vote that counts."""
    query = select(Vote.left_model, Vote.right_model, Vote.verdict).where(Vote.rated)
    if category is not None:
        query = query.where(Vote.category == category)
    return [(left, right, verdict) for left, right, verdict in uow.execute(query)]


def latest_names(uow: Session, models: Sequence[str]) -> dict[str, str]:
    """Return the display name that each model carried in its latest battle."""
    sides = union_all(
        *(
            select(model.label("model"), name.label("name"), Battle.created_at.label("at"))
            for model, name in (
                (Battle.left_model, Battle.left_name),
                (Battle.right_model, Battle.right_name),
            )
        )
    ).subquery()
    rows = uow.execute(
        select(sides.c.model, sides.c.name)
        .where(sides.c.model.in_(models))
        .distinct(sides.c.model)
        .order_by(sides.c.model, sides.c.at.desc())
    )
    return {model: name for model, name in rows}
