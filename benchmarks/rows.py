"""What every benchmark prints: rows with a value, a baseline of the same run, their ratio and a goal."""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured value; `ratio` is value / baseline, `ok` whether the goal is met."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    goal: str = ""
    ok: bool | None = None


def share(name: str, value: float, at_least: float | None = None, baseline: float | None = None) -> Row:
    """Return a row of a share between 0 and 1."""
    return Row(
        name=name,
        value=round(value, 3),
        unit="share",
        baseline=None if baseline is None else round(baseline, 3),
        ratio=round(value / baseline, 2) if baseline else None,
        goal="" if at_least is None else f">= {at_least}",
        ok=None if at_least is None else value >= at_least,
    )


def at_most(name: str, value: float, limit: float, unit: str) -> Row:
    """Return a row of something of which there should be no more than `limit`."""
    return Row(name=name, value=value, unit=unit, goal=f"<= {limit}" if limit else "0", ok=value <= limit)


def machine(libraries: Sequence[str]) -> Row:
    """Return what the figures were measured on, in the shape of a row."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    name = f"machine: {platform.machine()}, Python {platform.python_version()}, {versions}"
    return Row(name=name, value=os.cpu_count() or 1, unit="cores")


def told(rows: Iterable[Row]) -> Iterator[Row]:
    """Say each row on stderr once it is known: what ends early has then lost nothing."""
    for row in rows:
        print(f"{row.name}: {row.value:g} {row.unit}", file=sys.stderr, flush=True)
        yield row


def report(description: str, libraries: Sequence[str], measure: Callable[[bool], Iterable[Row]]) -> None:
    """Run `measure(quick)` and print a table, or with --json a list of rows; the machine stands first."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument(
        "--quick", action="store_true", help="fewer cases; a rough idea within a minute or two"
    )
    options = parser.parse_args()
    rows = [machine(libraries), *told(measure(options.quick))]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], ensure_ascii=False, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "value", "unit", "baseline", "ratio", "goal", "ok")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in asdict(row).values()))
    Console(width=140).print(table)
