import math
import shutil
import uuid
from collections import Counter, defaultdict
from datetime import UTC, datetime, time, timedelta
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.analytics import export, queries
from engine.analytics.models import UsageEventRow
from engine.analytics.schemas import UsageEvent
from engine.kit.clock import now
from engine.kit.errors import BadInput

# Hypothesis runs many examples in one home folder, so each example looks at a developer of its own.
relaxed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

small = st.integers(0, 10**6)
money = st.integers(0, 2**40)


@st.composite
def usage_events(draw: st.DrawFn) -> UsageEvent:
    noon = datetime.combine(now().date(), time(12), tzinfo=UTC)
    return UsageEvent(
        at=noon - timedelta(days=draw(st.integers(0, 9))),
        tenant_id="te_1",
        person_id=draw(st.sampled_from(["pe_1", "pe_2", "pe_3"])),
        expert_id=draw(st.sampled_from(["ex_1", "ex_2", "base"])),
        expert_name="helper",
        developer_tenant_id=draw(st.sampled_from(["mine", "other", None])),
        input_tokens=draw(small),
        output_tokens=draw(small),
        charged_micro=draw(money),
        developer_micro=draw(money),
        platform_micro=draw(money),
        latency_ms=draw(small),
        first_token_ms=draw(st.none() | small),
        outcome=draw(st.sampled_from(["stop", "length", "failed"])),
    )


def write(events: list[UsageEvent], parts: int = 1) -> None:
    """Put events into files as the exporter does, without a database."""
    rows = [
        UsageEventRow(id=f"ue_{uuid.uuid4().hex}", exported_at=None, **one.model_dump()) for one in events
    ]
    for part in range(parts):
        days: dict[object, list[UsageEventRow]] = defaultdict(list)
        for row in rows[part::parts]:
            days[row.at.date()].append(row)
        for day, of_day in days.items():
            export._write(day, of_day)  # type: ignore[arg-type]


def nearest_rank(values: list[int], share: float) -> int:
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


@relaxed
@given(
    events=st.lists(usage_events(), max_size=30),
    days=st.integers(1, 10),
    parts=st.integers(1, 2),
    developer=st.sampled_from(["mine", None]),
)
def test_totals_equal_the_sums_of_the_events(
    home: Path, events: list[UsageEvent], days: int, parts: int, developer: str | None
) -> None:
    # All examples share the test's home folder.
    shutil.rmtree(export.usage_folder(), ignore_errors=True)
    write(events, parts)
    first_day = now().date() - timedelta(days=days - 1)
    wanted = [
        one for one in events if one.at.date() >= first_day and developer in (None, one.developer_tenant_id)
    ]
    expected = {
        "calls": len(wanted),
        "tokens": sum(one.input_tokens + one.output_tokens for one in wanted),
        "revenue_micro": sum(one.charged_micro for one in wanted),
        "developer_micro": sum(one.developer_micro for one in wanted),
        "platform_micro": sum(one.platform_micro for one in wanted),
    }
    whole = queries.overview(days, developer)
    assert {name: whole[name] for name in expected} == expected
    assert whole["people"] == len({one.person_id for one in wanted})
    assert whole["experts"] == len({one.expert_id for one in wanted})
    assert whole["p95_latency_ms"] == (
        nearest_rank([one.latency_ms for one in wanted], 0.95) if wanted else None
    )
    for frame in (queries.by_day(days, developer), queries.by_expert(days, developer)):
        assert {name: int(frame[name].sum()) for name in expected} == expected
    assert dict(queries.outcomes(days, developer).itertuples(index=False)) == Counter(
        one.outcome for one in wanted
    )
    people = queries.people_by_day(days, developer)
    assert {pd.Timestamp(row.day).date(): row.people for row in people.itertuples()} == {
        day: len({one.person_id for one in wanted if one.at.date() == day})
        for day in {one.at.date() for one in wanted}
    }


def event(days_ago: int = 0, **changes: object) -> UsageEvent:
    base = UsageEvent(
        at=now() - timedelta(days=days_ago),
        tenant_id="te_1",
        person_id="pe_1",
        expert_id="ex_1",
        expert_name="helper",
        developer_tenant_id="te_dev",
        input_tokens=1,
        output_tokens=1,
        charged_micro=10,
        developer_micro=8,
        platform_micro=2,
        latency_ms=100,
        first_token_ms=10,
        outcome="stop",
    )
    return base.model_copy(update=changes)


COLUMNS = {
    "by_day": ["day", "calls", "tokens", "revenue_micro", "developer_micro", "platform_micro"],
    "by_expert": [
        "expert_id",
        "expert_name",
        "calls",
        "tokens",
        "revenue_micro",
        "developer_micro",
        "platform_micro",
        "people",
        "p95_latency_ms",
    ],
    "latency_by_day": ["day", "p50_ms", "p95_ms", "first_token_p50_ms"],
    "people_by_day": ["day", "people"],
    "outcomes": ["outcome", "calls"],
}


@pytest.mark.parametrize("name", list(COLUMNS))
def test_without_any_usage_the_frames_are_empty_and_have_the_same_columns(home: Path, name: str) -> None:
    empty = getattr(queries, name)(30)
    assert list(empty.columns) == COLUMNS[name] and len(empty) == 0
    write([event()])
    full = getattr(queries, name)(30)
    assert list(full.columns) == COLUMNS[name] and len(full) == 1
    for column in COLUMNS[name]:
        if not pd.api.types.is_string_dtype(full[column]):
            assert empty[column].dtype == full[column].dtype


def test_without_any_usage_the_overview_is_zero(home: Path) -> None:
    whole = queries.overview(7)
    assert whole.pop("p95_latency_ms") is None
    assert set(whole.values()) == {0} and len(whole) == 7


def test_latency_is_given_by_day(home: Path) -> None:
    write([event(latency_ms=value, first_token_ms=value // 10) for value in range(100, 2100, 100)])
    write([event(1, latency_ms=7, first_token_ms=None)])
    frame = queries.latency_by_day(2)
    assert [pd.Timestamp(day).date() for day in frame["day"]] == [
        now().date() - timedelta(days=1),
        now().date(),
    ]
    assert frame["p50_ms"].tolist() == [7, 1000] and frame["p95_ms"].tolist() == [7, 1900]
    assert pd.isna(frame["first_token_p50_ms"][0]) and frame["first_token_p50_ms"][1] == 100


def test_experts_come_with_their_latest_name_and_the_largest_revenue_first(home: Path) -> None:
    write([event(1, expert_name="old"), event(expert_name="new"), event(expert_id="ex_2", charged_micro=99)])
    frame = queries.by_expert(30)
    assert frame["expert_id"].tolist() == ["ex_2", "ex_1"]
    assert frame["expert_name"].tolist() == ["helper", "new"]


def test_only_the_days_asked_for_are_counted(home: Path) -> None:
    write([event(0), event(6), event(7)])
    assert queries.overview(7)["calls"] == 2 and queries.overview(8)["calls"] == 3


@pytest.mark.parametrize("days", [0, -1, 3661])
def test_a_number_of_days_out_of_range_is_refused(home: Path, days: int) -> None:
    with pytest.raises(BadInput, match="Choose 1 to 3660"):
        queries.by_day(days)


def test_a_home_folder_with_wildcards_in_its_name_is_read(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_HOME", str(tmp_path / "a*b[1]'s"))
    queries_home = tmp_path / "a*b[1]'s"
    export.settings.cache_clear()
    write([event()])
    assert queries_home.is_dir() and queries.overview(1)["calls"] == 1


def test_files_are_searched_for_doubles_only_where_their_ids_overlap() -> None:
    def part(day: int, ids: str) -> Path:
        return Path(f"day=2026-03-0{day}/part-{ids}.parquet")

    alone = [part(1, "a-b"), part(2, "a-c"), part(1, "m-m")]
    overlapping = [part(1, "c-k"), part(1, "d-e"), part(1, "f-k"), part(1, "k-l")]
    found = queries.sort_out([*overlapping, *alone])
    assert (sorted(found[0]), sorted(found[1])) == (sorted(alone), sorted(overlapping))
    assert queries.sort_out([]) == ([], [])
