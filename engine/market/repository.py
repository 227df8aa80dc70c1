"""The only place with the market's SQL."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Text, any_, cast, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.kit.clock import now
from engine.kit.ids import new_id
from engine.market.models import Change, Expert, Name


def claim_name(uow: Session, name: str, tenant_id: str) -> str:
    """Take `name` if it is free, lock it until the transaction ends, and return the tenant that has it."""
    row = {"name": name, "tenant_id": tenant_id, "created_at": now()}
    uow.execute(insert(Name).values(row).on_conflict_do_nothing())
    return lock_name(uow, name)


def lock_name(uow: Session, name: str) -> str:
    """Lock a name, so that its versions change one at a time, and return the tenant that has it."""
    return uow.scalars(select(Name.tenant_id).where(Name.name == name).with_for_update(key_share=True)).one()


def name_owner(uow: Session, name: str) -> str | None:
    """Return the tenant that has `name`."""
    return uow.scalar(select(Name.tenant_id).where(Name.name == name))


def add(uow: Session, row: Expert) -> None:
    """Write a new version."""
    uow.add(row)
    uow.flush()


def expert(uow: Session, expert_id: str, *, lock: bool = False) -> Expert | None:
    """Return a version as it stands in the database, locked on request."""
    query = select(Expert).where(Expert.id == expert_id)
    if lock:
        query = query.with_for_update(key_share=True)
    return uow.scalar(query.execution_options(populate_existing=True))


def published(uow: Session, name: str, *, lock: bool = False) -> Expert | None:
    """Return the version of `name` that is on the market."""
    query = select(Expert).where(Expert.name == name, Expert.state == "published")
    if lock:
        query = query.with_for_update(key_share=True)
    return uow.scalar(query.execution_options(populate_existing=True))


def all_published(uow: Session, names: Collection[str]) -> list[Expert]:
    """Return the versions of these names that are on the market."""
    among = Expert.name == any_(cast(list(names), ARRAY(Text)))
    return list(uow.scalars(select(Expert).where(among, Expert.state == "published")))


def versions(uow: Session, name: str) -> list[Expert]:
    """Return every version of `name`, the first one first."""
    return list(uow.scalars(select(Expert).where(Expert.name == name).order_by(Expert.created_at, Expert.id)))


def by_ids(uow: Session, ids: Collection[str]) -> list[Expert]:
    """Return versions by their ids."""
    return list(uow.scalars(select(Expert).where(Expert.id == any_(cast(list(ids), ARRAY(Text))))))


def published_names(uow: Session) -> list[str]:
    """Return the names on the market."""
    return list(uow.scalars(select(Expert.name).where(Expert.state == "published")))


def of_tenant(uow: Session, tenant_id: str) -> list[Expert]:
    """Return a tenant's versions, newest first."""
    newest = (Expert.created_at.desc(), Expert.id.desc())
    return list(uow.scalars(select(Expert).where(Expert.tenant_id == tenant_id).order_by(*newest)))


def in_review(uow: Session) -> list[Expert]:
    """Return the versions that wait for a reviewer, the longest wait first."""
    submitted = func.max(Change.at)
    query = (
        select(Expert)
        .join(Change, Change.expert_id == Expert.id)
        .where(Expert.state == "pending_review", Change.to_state == "pending_review")
        .group_by(Expert.id)
        .order_by(submitted, Expert.id)
    )
    return list(uow.scalars(query))


def catalog(uow: Session, words: Sequence[str], category: str | None, sort: str) -> list[Expert]:
    """Return what is on the market and contains every word, in letters of any case."""
    query = select(Expert).where(Expert.state == "published", *(_contains(word) for word in words))
    if category is not None:
        query = query.where(Expert.category == category)
    orders: dict[str, ColumnElement[Any]] = {
        "new": Expert.published_at.desc(),
        "popular": Expert.calls.desc(),
        "price": (Expert.input_price_micro + Expert.output_price_micro).asc(),
    }
    return list(uow.scalars(query.order_by(orders[sort], Expert.published_at.desc(), Expert.id)))


def _contains(word: str) -> ColumnElement[bool]:
    tag = func.jsonb_array_elements_text(Expert.tags).column_valued("tag")
    in_tags = select(1).where(tag.icontains(word, autoescape=True)).exists()
    columns = (Expert.name, Expert.title, Expert.description)
    return or_(*(column.icontains(word, autoescape=True) for column in columns), in_tags)


def add_change(
    uow: Session, row: Expert, *, from_state: str | None, to_state: str, by_id: str, reason: str
) -> None:
    """Set the state and record the step."""
    row.state = to_state
    uow.add(
        Change(
            id=new_id("chg"),
            expert_id=row.id,
            tenant_id=row.tenant_id,
            from_state=from_state,
            to_state=to_state,
            by_id=by_id,
            reason=reason,
            at=now(),
        )
    )
    uow.flush()


def changes(uow: Session, expert_id: str) -> list[Change]:
    """Return an expert's steps, oldest first."""
    query = select(Change).where(Change.expert_id == expert_id).order_by(Change.at, Change.id)
    return list(uow.scalars(query))


_COUNT = text(
    "UPDATE market_experts e SET calls = e.calls + u.calls, tokens = e.tokens + u.tokens"
    " FROM unnest(CAST(:ids AS text[]), CAST(:calls AS bigint[]), CAST(:tokens AS bigint[]))"
    " AS u(id, calls, tokens) WHERE e.id = u.id"
)


def count_uses(uow: Session, uses: Mapping[str, tuple[int, int]]) -> None:
    """Add calls and tokens to experts; locked in one order first, so that no two of these meet."""
    ids = sorted(uses)
    among = Expert.id == any_(cast(ids, ARRAY(Text)))
    uow.execute(select(Expert.id).where(among).order_by(Expert.id).with_for_update(key_share=True))
    calls, tokens = ([uses[one][part] for one in ids] for part in (0, 1))
    uow.execute(_COUNT, {"ids": ids, "calls": calls, "tokens": tokens})
