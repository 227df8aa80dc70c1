"""Reading the exported usage with DuckDB, in memory, off the path of any request.

Every function takes `days`, the number of UTC days up to and including today, and `developer_tenant_id`,
which limits the answer to the experts of one developer. Money is micro-credits, times are milliseconds.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from engine.analytics.export import usage_folder
from engine.kit.clock import now
from engine.kit.errors import BadInput

MOST_DAYS = 3_660
ATTEMPTS = 5

_COLUMNS = {
    "id": "VARCHAR",
    "at": "TIMESTAMPTZ",
    "day": "DATE",
    "person_id": "VARCHAR",
    "expert_id": "VARCHAR",
    "expert_name": "VARCHAR",
    "input_tokens": "BIGINT",
    "output_tokens": "BIGINT",
    "charged_micro": "BIGINT",
    "developer_micro": "BIGINT",
    "platform_micro": "BIGINT",
    "latency_ms": "BIGINT",
    "first_token_ms": "BIGINT",
    "outcome": "VARCHAR",
}
_FROM_FILES = f"""
    SELECT {{distinct}} {", ".join(f'"{name}"' for name in _COLUMNS)}
    FROM read_parquet({{files}}, hive_partitioning = true, hive_types = {{{{'day': DATE}}}})
    WHERE $developer::VARCHAR IS NULL OR developer_tenant_id = $developer
"""
_WITHOUT_FILES = f"""
    SELECT {", ".join(f'NULL::{kind} AS "{name}"' for name, kind in _COLUMNS.items())}
    WHERE $developer::VARCHAR IS NOT NULL AND false
"""
_SUMS = """
    count(*)::BIGINT AS calls,
    coalesce(sum(input_tokens + output_tokens), 0)::BIGINT AS tokens,
    coalesce(sum(charged_micro), 0)::BIGINT AS revenue_micro,
    coalesce(sum(developer_micro), 0)::BIGINT AS developer_micro,
    coalesce(sum(platform_micro), 0)::BIGINT AS platform_micro
"""


def overview(days: int, developer_tenant_id: str | None = None) -> dict[str, int | None]:
    """Return calls, tokens, revenue_micro, developer_micro, platform_micro, people, experts, p95_latency_ms.

    `p95_latency_ms` is None when there were no calls. Raises BadInput for a number of days out of range.
    """
    frame = _query(
        f"""
        SELECT {_SUMS}, count(DISTINCT person_id)::BIGINT AS people,
            count(DISTINCT expert_id)::BIGINT AS experts,
            quantile_disc(latency_ms, 0.95)::BIGINT AS p95_latency_ms
        FROM usage
        """,
        days,
        developer_tenant_id,
    )
    return {name: None if pd.isna(value) else int(value) for name, value in frame.iloc[0].items()}


def by_day(days: int, developer_tenant_id: str | None = None) -> pd.DataFrame:
    """Return day, calls, tokens, revenue_micro, developer_micro, platform_micro; days with calls only."""
    return _query(f"SELECT day, {_SUMS} FROM usage GROUP BY day ORDER BY day", days, developer_tenant_id)


def by_expert(days: int, developer_tenant_id: str | None = None) -> pd.DataFrame:
    """Return expert_id, expert_name (its latest), the sums of `by_day`, people and p95_latency_ms.

    The expert with the largest revenue comes first.
    """
    return _query(
        f"""
        SELECT expert_id, arg_max(expert_name, "at") AS expert_name, {_SUMS},
            count(DISTINCT person_id)::BIGINT AS people,
            quantile_disc(latency_ms, 0.95)::BIGINT AS p95_latency_ms
        FROM usage GROUP BY expert_id ORDER BY revenue_micro DESC, calls DESC, expert_id
        """,
        days,
        developer_tenant_id,
    )


def latency_by_day(days: int, developer_tenant_id: str | None = None) -> pd.DataFrame:
    """Return day, p50_ms, p95_ms and first_token_p50_ms (nearest-rank percentiles)."""
    return _query(
        """
        SELECT day, quantile_disc(latency_ms, 0.5)::BIGINT AS p50_ms,
            quantile_disc(latency_ms, 0.95)::BIGINT AS p95_ms,
            quantile_disc(first_token_ms, 0.5)::BIGINT AS first_token_p50_ms
        FROM usage GROUP BY day ORDER BY day
        """,
        days,
        developer_tenant_id,
    )


def people_by_day(days: int, developer_tenant_id: str | None = None) -> pd.DataFrame:
    """Return day and people, the number of different callers."""
    return _query(
        "SELECT day, count(DISTINCT person_id)::BIGINT AS people FROM usage GROUP BY day ORDER BY day",
        days,
        developer_tenant_id,
    )


def outcomes(days: int, developer_tenant_id: str | None = None) -> pd.DataFrame:
    """Return outcome and calls, the most frequent first."""
    return _query(
        """
        SELECT outcome, count(*)::BIGINT AS calls FROM usage
        GROUP BY outcome ORDER BY calls DESC, outcome
        """,
        days,
        developer_tenant_id,
    )


def _query(sql: str, days: int, developer_tenant_id: str | None) -> pd.DataFrame:
    attempt = 1
    while True:
        try:
            return _run(sql, _files(days), developer_tenant_id)
        except duckdb.IOException:
            # The export merged small files after they were listed; list again.
            if attempt == ATTEMPTS:
                raise
            attempt += 1


def _run(sql: str, files: list[Path], developer_tenant_id: str | None) -> pd.DataFrame:
    alone, overlapping = sort_out(files)
    parameters: dict[str, Any] = {"developer": developer_tenant_id}
    sources = []
    if alone:
        parameters["alone"] = [str(path) for path in alone]
        sources.append(_FROM_FILES.format(distinct="", files="$alone"))
    if overlapping:
        parameters["overlapping"] = [str(path) for path in overlapping]
        sources.append(_FROM_FILES.format(distinct="DISTINCT ON (id)", files="$overlapping"))
    usage = " UNION ALL ".join(f"({source})" for source in sources) or _WITHOUT_FILES
    # Extensions are never fetched: everything used here is built in.
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        return connection.execute(f"WITH usage AS ({usage}) {sql}", parameters).df()


def sort_out(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Return (files that share no event with another, files that may), judged by the ids in their names.

    An event stands in two files after a crash between writing and marking, and while small files are
    merged. Looking for it costs more than all the rest of a query, so it is done only where ids overlap.
    """
    clusters: list[list[Path]] = []
    end = ("", "")
    for folder, first, last, path in sorted((path.parent.name, *_ids(path), path) for path in files):
        if clusters and (folder, first) <= end and folder == end[0]:
            clusters[-1].append(path)
            end = max(end, (folder, last))
        else:
            clusters.append([path])
            end = (folder, last)
    alone = [cluster[0] for cluster in clusters if len(cluster) == 1]
    return alone, [path for cluster in clusters if len(cluster) > 1 for path in cluster]


def _ids(path: Path) -> tuple[str, str]:
    first, _, last = path.stem.removeprefix("part-").partition("-")
    return first, last


def _files(days: int) -> list[Path]:
    """Return the files of the wanted days, by the names of their folders."""
    if not 1 <= days <= MOST_DAYS:
        raise BadInput("analytics.bad_days", field="days", days=days, most=MOST_DAYS)
    first = f"day={(now() - timedelta(days=days - 1)).date().isoformat()}"
    last = f"day={now().date().isoformat()}"
    folders = usage_folder().glob("day=*")
    return sorted(
        path for folder in folders if first <= folder.name <= last for path in folder.glob("*.parquet")
    )
