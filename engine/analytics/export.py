"""Usage events to Parquet: one folder a day, files that are complete once they have their name.

The file is renamed into place before its events are marked. A crash in between exports them again with the
next file, and readers count an event id once. So nothing is lost and nothing counts twice.

Exports are frequent, so their files are small; small files of a day are merged when many have gathered.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy.orm import Session

from engine.analytics import repository
from engine.analytics.models import UsageEventRow
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.settings import settings

BATCH = 20_000
SMALL_FILE = 1 << 20
MOST_SMALL_FILES = 16

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("tenant_id", pa.string(), nullable=False),
        pa.field("person_id", pa.string(), nullable=False),
        pa.field("expert_id", pa.string(), nullable=False),
        pa.field("expert_name", pa.string(), nullable=False),
        pa.field("developer_tenant_id", pa.string()),
        pa.field("input_tokens", pa.int64(), nullable=False),
        pa.field("output_tokens", pa.int64(), nullable=False),
        pa.field("charged_micro", pa.int64(), nullable=False),
        pa.field("developer_micro", pa.int64(), nullable=False),
        pa.field("platform_micro", pa.int64(), nullable=False),
        pa.field("latency_ms", pa.int64(), nullable=False),
        pa.field("first_token_ms", pa.int64()),
        pa.field("outcome", pa.string(), nullable=False),
    ]
)


def usage_folder() -> Path:
    """Return the folder that holds `day=YYYY-MM-DD/part-<first id>-<last id>.parquet`; days are UTC."""
    return settings().home / "analytics" / "usage"


Uses = dict[str, tuple[int, int]]
"""Calls and their tokens, in and out, by expert."""


def export(count: Callable[[Session, Uses], None] | None = None) -> int:
    """Write every event that is in no file yet and return how many were written.

    `count` hears, in the same transaction, what was used of each expert.
    """
    total = 0
    while written := _export_batch(count):
        total += written
    return total


def _uses(rows: Sequence[UsageEventRow]) -> Uses:
    uses: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in rows:
        if tokens := row.input_tokens + row.output_tokens:
            calls, used = uses[row.expert_id]
            uses[row.expert_id] = calls + 1, used + tokens
    return dict(uses)


def _export_batch(count: Callable[[Session, Uses], None] | None) -> int:
    with unit_of_work() as uow:
        repository.lock_export(uow)
        rows = repository.waiting(uow, BATCH)
        for day, of_day in groupby(sorted(rows, key=lambda row: (_day(row), row.id)), key=_day):
            _write(day, list(of_day))
            _merge_small(day)
        if rows:
            repository.mark_exported(uow, [row.id for row in rows], now())
            if count is not None:
                count(uow, _uses(rows))
        return len(rows)


def _day(row: UsageEventRow) -> date:
    return row.at.astimezone(UTC).date()


def _folder(day: date) -> Path:
    return usage_folder() / f"day={day.isoformat()}"


def _write(day: date, rows: Sequence[UsageEventRow]) -> None:
    columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in SCHEMA]
    _put(_folder(day), pa.Table.from_arrays(columns, schema=SCHEMA))


def _merge_small(day: date) -> None:
    """Merge the small files of a day once there are many.

    Until the old files are gone an event stands in two files, which readers know how to count.
    """
    small = [path for path in _folder(day).glob("*.parquet") if path.stat().st_size < SMALL_FILE]
    if len(small) < MOST_SMALL_FILES:
        return
    table = pa.concat_tables([pq.ParquetFile(path).read() for path in small]).sort_by("id")
    ids = table["id"].to_pylist()
    table = table.filter(pa.array([n == 0 or ids[n - 1] != each for n, each in enumerate(ids)]))
    merged = _put(_folder(day), table)
    for path in small:
        if path != merged:
            path.unlink()


def _put(folder: Path, table: pa.Table) -> Path:
    """Write a table sorted by id under the name of its first and last id, complete or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / f"part-{table['id'][0]}-{table['id'][-1]}.parquet"
    temporary = target.with_suffix(".writing")
    with temporary.open("wb") as out:
        pq.write_table(table, out)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(target)
    _sync_folder(folder)
    return target


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, as the events are marked right after it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
