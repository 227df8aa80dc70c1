"""Statements: what was used and paid in some days, as sums that agree with the ledger to the micro-credit."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from engine.billing import repository_statements as repository
from engine.kit.errors import BadInput
from engine.kit.money import format_credits

BY = ("tenant", "project", "person", "model", "day")
SUMS = ("calls", "input_tokens", "output_tokens", "charged_micro", "refunded_micro", "net_micro")
MOST_DAYS = 3_660
MOST_ROWS = 100_000


@dataclass(frozen=True, kw_only=True)
class Statement:
    """Sums of calls and refunds from `first` to `last`, both included, days being UTC.

    `rows` have the names in `by`, in this order, then `SUMS`; what a call was not part of is "". A refund
    counts on its own day. `movements` are those of the wallet in the same days by kind: opening and movements
    make closing, and the charges without the refunds are what "settle" and "refund" took together. What was
    paid for packages is "package"; the tokens of the calls that they paid for are in the rows, at no charge.
    `trainings` are the machine time's, what "training" took: {"job_id", "title", "charged_micro", "at"}, by
    job, the newest first.
    """

    first: date
    last: date
    by: tuple[str, ...]
    rows: list[dict[str, Any]]
    movements: dict[str, int]
    trainings: list[dict[str, Any]]
    opening_micro: int
    closing_micro: int


def statement(
    uow: Session, tenant_id: str | None, *, first: date, last: date, by: Sequence[str]
) -> Statement:
    """Return a tenant's statement, or that of all tenants for None. Read it in a snapshot.

    Raises BadInput naming `from`, `to` or `by`.
    """
    if not 0 <= (last - first).days < MOST_DAYS:
        raise BadInput("cash.days", field="to", most=f"{MOST_DAYS:,}")
    for name in by:
        if name not in BY:
            raise BadInput("cash.by", field="by", name=name[:40], known=", ".join(BY))
    wanted = tuple(dict.fromkeys(by))
    since = datetime.combine(first, time(), UTC)
    until = datetime.combine(last, time(), UTC) + timedelta(days=1)
    found = repository.statement(uow, tenant_id, since, until, wanted, MOST_ROWS + 1)
    if len(found) > MOST_ROWS:
        raise BadInput("cash.rows", field="by", most=f"{MOST_ROWS:,}")
    movements = repository.wallet_movements(uow, tenant_id, since, until)
    opening = repository.wallet_before(uow, tenant_id, since)
    trainings = repository.trainings(uow, tenant_id, since, until, MOST_ROWS)
    return Statement(
        first=first,
        last=last,
        by=wanted,
        rows=[{**row._mapping, "net_micro": row.charged_micro - row.refunded_micro} for row in found],
        movements=movements,
        trainings=[dict(row._mapping) for row in trainings],
        opening_micro=opening,
        closing_micro=opening + sum(movements.values()),
    )


def as_csv(found: Statement, names: Mapping[str, str]) -> bytes:
    """Return the rows as CSV, as spreadsheets read it: `names` are those of people, by id.

    Amounts are whole micro-credits, and credits in one column more. Text that a spreadsheet would take for
    a formula is quoted.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow([*_columns(found), "net_credits"])
    for row in _named(found, names):
        writer.writerow([_harmless(row[name]) for name in row] + [_exact(row["net_micro"])])
    return out.getvalue().encode("utf-8-sig")


def as_parquet(found: Statement, names: Mapping[str, str]) -> bytes:
    """Return the rows as Parquet: days are dates, tokens and micro-credits 64-bit integers."""
    kinds = {"day": pa.date32(), **dict.fromkeys(SUMS, pa.int64())}
    schema = pa.schema([pa.field(name, kinds.get(name, pa.string())) for name in _columns(found)])
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(_named(found, names)), schema=schema), out)
    return out.getvalue()


def _columns(found: Statement) -> list[str]:
    named = [column for name in found.by for column in (name, *(["person_name"] if name == "person" else []))]
    return [*named, *SUMS]


def _named(found: Statement, names: Mapping[str, str]) -> list[dict[str, Any]]:
    columns = _columns(found)
    return [
        {name: names.get(row["person"], "") if name == "person_name" else row[name] for name in columns}
        for row in found.rows
    ]


def _harmless(value: object) -> object:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return value


def _exact(micro: int) -> str:
    return format_credits(micro).replace(",", "")
