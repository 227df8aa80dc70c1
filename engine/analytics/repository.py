"""The SQL of usage events."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ARRAY, Text, and_, any_, cast, func, or_, select, text, update
from sqlalchemy.orm import Session

from engine.analytics.models import UsageEventRow
from engine.kit.database import Swift, insert_rows, insert_rows_swiftly

# A name for "somebody exports usage events" among PostgreSQL's advisory locks.
EXPORT_LOCK = 0x75736167


def add(uow: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Write events."""
    insert_rows(uow, UsageEventRow, rows)


def add_swiftly(connection: Swift, rows: Sequence[dict[str, Any]]) -> None:
    """Write events on a bare connection."""
    insert_rows_swiftly(connection, UsageEventRow, rows)


def lock_export(uow: Session) -> None:
    """Wait until no other process exports, and keep others out until this transaction ends."""
    uow.execute(select(func.pg_advisory_xact_lock(EXPORT_LOCK)))


def waiting(uow: Session, limit: int) -> list[UsageEventRow]:
    """Return the oldest events that are in no file yet."""
    query = (
        select(UsageEventRow)
        .where(UsageEventRow.exported_at.is_(None))
        .order_by(UsageEventRow.id)
        .limit(limit)
    )
    return list(uow.scalars(query))


def mark_exported(uow: Session, ids: Sequence[str], at: datetime) -> None:
    """Note that these events are in a file."""
    uow.execute(update(UsageEventRow).where(UsageEventRow.id.in_(ids)).values(exported_at=at))


def between(uow: Session, since: datetime, until: datetime, ids: Collection[str]) -> list[UsageEventRow]:
    """Return the events of a time and those named, oldest first."""
    wanted = and_(UsageEventRow.at >= since, UsageEventRow.at < until)
    if ids:
        wanted = or_(wanted, UsageEventRow.id.in_(ids))
    query = select(UsageEventRow).where(wanted).order_by(UsageEventRow.at, UsageEventRow.id)
    return list(uow.scalars(query))


def of_calls(uow: Session, call_ids: Collection[str]) -> list[UsageEventRow]:
    """Return the events of paid calls, oldest first."""
    query = select(UsageEventRow).where(UsageEventRow.call_id == any_(cast(list(call_ids), ARRAY(Text))))
    return list(uow.scalars(query.order_by(UsageEventRow.at, UsageEventRow.id)))


def link(uow: Session, calls: Mapping[str, str]) -> None:
    """Note the calls of events, by event, where none is noted yet."""
    query = text(
        "UPDATE usage_events u SET call_id = l.call_id"
        " FROM unnest(CAST(:ids AS text[]), CAST(:calls AS text[])) AS l(id, call_id)"
        " WHERE u.id = l.id AND u.call_id IS NULL"
    )
    uow.execute(query, {"ids": list(calls), "calls": list(calls.values())})


def first(uow: Session) -> datetime | None:
    """Return when the oldest event was."""
    return uow.scalar(select(UsageEventRow.at).order_by(UsageEventRow.at).limit(1))


NEWEST = 500


def output_lengths(uow: Session, expert_id: str) -> tuple[int, int]:
    """Return how many of an expert's newest answers there are, and the 99th percentile of their tokens."""
    newest = (
        select(UsageEventRow.output_tokens)
        .where(UsageEventRow.expert_id == expert_id, UsageEventRow.output_tokens > 0)
        .order_by(UsageEventRow.at.desc())
        .limit(NEWEST)
        .subquery()
    )
    tokens = func.percentile_disc(0.99).within_group(newest.c.output_tokens)
    count, length = uow.execute(select(func.count(), tokens)).one()
    return int(count), int(length or 0)


def usual_tokens(uow: Session, expert_id: str) -> tuple[int, int, int]:
    """Return how many of an expert's newest answers there are, and their middle tokens in and out."""
    newest = (
        select(UsageEventRow.input_tokens, UsageEventRow.output_tokens)
        .where(UsageEventRow.expert_id == expert_id, UsageEventRow.output_tokens > 0)
        .order_by(UsageEventRow.at.desc())
        .limit(NEWEST)
        .subquery()
    )
    middle = func.percentile_disc(0.5)
    tokens = (middle.within_group(column) for column in (newest.c.input_tokens, newest.c.output_tokens))
    count, given, made = uow.execute(select(func.count(), *tokens)).one()
    return int(count), int(given or 0), int(made or 0)


def tokens_used(uow: Session, tenant_id: str, expert_name: str, since: datetime, until: datetime) -> int:
    """Return the tokens, in and out, of a tenant's calls of an expert."""
    tokens = func.sum(UsageEventRow.input_tokens + UsageEventRow.output_tokens)
    query = select(tokens).where(
        UsageEventRow.tenant_id == tenant_id,
        UsageEventRow.expert_name == expert_name,
        UsageEventRow.at >= since,
        UsageEventRow.at < until,
    )
    return int(uow.scalar(query) or 0)
