import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from engine.analytics import export, queries, service
from engine.analytics.schemas import UsageEvent
from engine.kit.clock import now
from engine.kit.database import unit_of_work


def event(at: datetime | None = None, **changes: object) -> UsageEvent:
    fields: dict[str, object] = {
        "at": at or now(),
        "tenant_id": "te_1",
        "person_id": "pe_1",
        "expert_id": "ex_1",
        "expert_name": "camping-helper",
        "developer_tenant_id": "te_dev",
        "input_tokens": 10,
        "output_tokens": 5,
        "charged_micro": 100,
        "developer_micro": 80,
        "platform_micro": 20,
        "latency_ms": 250,
        "first_token_ms": None,
        "outcome": "stop",
    }
    return UsageEvent.model_validate(fields | changes)


def record(*events: UsageEvent) -> list[str]:
    with unit_of_work() as uow:
        return service.record(uow, events)


def waiting() -> int:
    with unit_of_work() as uow:
        return uow.execute(text("SELECT count(*) FROM usage_events WHERE exported_at IS NULL")).scalar_one()


def test_new_events_go_into_one_file_a_day_and_only_once(db: str, home: Path) -> None:
    late = datetime(2026, 3, 1, 23, 59, 59, tzinfo=UTC)
    first, second = record(event(late), event(late + timedelta(seconds=1)))
    (third,) = record(event(late))
    assert export.export() == 3
    folder = home / "analytics" / "usage"
    low, high = sorted([first, third])
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        f"day=2026-03-01/part-{low}-{high}.parquet",
        f"day=2026-03-02/part-{second}-{second}.parquet",
    ]
    assert waiting() == 0 and export.export() == 0
    assert len(list(folder.rglob("*.parquet"))) == 2


def test_a_day_is_a_day_in_utc(db: str, home: Path) -> None:
    record(event(datetime.fromisoformat("2026-03-02T06:30:00+08:00")))
    export.export()
    assert (home / "analytics" / "usage" / "day=2026-03-01").is_dir()


def test_a_file_holds_every_column_as_recorded(db: str, home: Path) -> None:
    given = event(expert_name="露营助手", first_token_ms=40, developer_tenant_id=None)
    (identity,) = record(given)
    export.export()
    (path,) = (home / "analytics").rglob("*.parquet")
    (row,) = pq.ParquetFile(path).read().to_pylist()
    assert row.pop("id") == identity
    assert UsageEvent.model_validate(row) == given


def test_many_events_are_exported_in_batches(db: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "BATCH", 4)
    record(*[event() for _ in range(10)])
    assert export.export() == 10
    assert len(list((home / "analytics").rglob("*.parquet"))) == 3
    assert queries.overview(2)["calls"] == 10


def test_a_crash_between_writing_and_marking_counts_nothing_twice(
    db: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(event(), event())

    def crash(*_: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patch:
        patch.setattr(export.repository, "mark_exported", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            export.export()
    assert waiting() == 2 and queries.overview(2)["calls"] == 2
    record(event())
    assert export.export() == 3
    assert len(list((home / "analytics").rglob("*.parquet"))) == 2
    assert queries.overview(2)["calls"] == 3 and queries.overview(2)["revenue_micro"] == 300


def test_a_crash_while_writing_leaves_no_file_that_is_read(
    db: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(event())

    def crash(table: object, out: object) -> None:
        write: Callable[[bytes], int] = out.write  # type: ignore[attr-defined]
        write(b"PAR1 half a file")
        raise RuntimeError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(export.pq, "write_table", crash)
        with pytest.raises(RuntimeError, match="disk full"):
            export.export()
    assert queries.overview(2)["calls"] == 0
    assert export.export() == 1 and queries.overview(2)["calls"] == 1
    assert [path.suffix for path in (home / "analytics").rglob("part-*")] == [".parquet"]


def test_small_files_of_a_day_are_merged_and_no_event_is_lost_or_doubled(
    db: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(event())
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(export.repository, "mark_exported", lambda *_: 1 / 0)
        export.export()
    for _ in range(40):
        record(event(), event(outcome="length"))
        export.export()
    files = list((home / "analytics").rglob("part-*"))
    assert len(files) < export.MOST_SMALL_FILES
    assert sum(pq.ParquetFile(path).metadata.num_rows for path in files) == 81
    assert queries.overview(2)["calls"] == 81


def test_large_files_are_left_alone(db: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "SMALL_FILE", 10)
    for _ in range(export.MOST_SMALL_FILES + 2):
        record(event())
        export.export()
    assert len(list((home / "analytics").rglob("part-*"))) == export.MOST_SMALL_FILES + 2


def test_a_query_that_meets_a_merge_looks_again(db: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record(event())
    export.export()
    (path,) = (home / "analytics").rglob("*.parquet")
    listings = [[path.with_name("part-a-b.parquet")], [path]]
    monkeypatch.setattr(queries, "_files", lambda _: listings.pop(0))
    assert queries.overview(2)["calls"] == 1 and listings == []


def test_several_exporters_at_once_share_the_work(db: str, home: Path) -> None:
    record(*[event() for _ in range(50)])
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(export.export())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counts) == [0, 0, 0, 50]
    assert queries.overview(2)["calls"] == 50


def test_an_event_that_is_rolled_back_is_not_exported(db: str, home: Path) -> None:
    with pytest.raises(RuntimeError), unit_of_work() as uow:
        service.record(uow, [event()])
        raise RuntimeError
    assert export.export() == 0
