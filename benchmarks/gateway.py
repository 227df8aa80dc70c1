"""What a gateway costs: requests a second, and the time it adds to an answer.

`python -m benchmarks.gateway [--quick] [--json]`. Every contender stands before the same upstream, which
answers at once and always the same (`benchmarks/gateway_upstream.py`), as one process with a core to itself;
the load generator and the upstream share the other core (`benchmarks/gateway_processes.py`). The contenders
take turns, in the opposite order every second time; what is told are medians over the turns:

- requests/s with 64 connections that each send their next request once they have the answer;
- added latency with one connection: the median through the gateway less the median of the same turn straight
  to the upstream; and the same of the 99th percentiles.

Then streams and twice the load (`benchmarks/gateway_limits.py`), the money
(`benchmarks/gateway_money.py`), and the books (`benchmarks/gateway_books.py`).
The baseline is the bare pass-through. What LiteLLM does here, and what it does not, is told in
`benchmarks/gateway_rivals.py`.
"""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import gateway_books, gateway_limits, gateway_money
from benchmarks.corpora import fresh_home
from benchmarks.gateway_ours import start_ours
from benchmarks.gateway_processes import BESIDE, UNDER_TEST, Server, busy_seconds, free_port, load, serve
from benchmarks.gateway_rivals import LITELLM, Unavailable, start_bare, start_litellm
from benchmarks.rows import Row, at_most, report

CONNECTIONS = 64
TURNS, QUICK_TURNS = 5, 2
SECONDS, QUICK_SECONDS = 5.0, 1.0
WARM_UP_SECONDS, QUICK_WARM_UP_SECONDS = 5.0, 1.0
OPERATIONS, QUICK_OPERATIONS = 1_000_000, 5_000
# Above this the load generator and the upstream, not the gateway, may be what limits the requests.
BUSIEST = 0.9
# Above this the gateway shared its core with something else, and no figure of that run means much.
MOST_STRANGERS = 0.05

Start = Callable[[Path, str], AbstractContextManager[Server]]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A gateway to be measured: its name in the rows, and what starts it in a folder, before an upstream."""

    name: str
    start: Start


@dataclass(kw_only=True)
class Measured:
    """What was measured of a contender, one value a turn; times in milliseconds."""

    per_second: list[float] = field(default_factory=list)
    added_median: list[float] = field(default_factory=list)
    added_p99: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)  # how busy load and upstream kept their core
    strangers: list[float] = field(default_factory=list)  # how busy others kept the gateway's core


OURS = Contender(name="ours, with keys, limits, holds, ledger", start=start_ours)
BARE = Contender(name="bare pass-through", start=start_bare)
RIVAL = Contender(name=f"LiteLLM {LITELLM}", start=partial(start_litellm, spend=False))
CONTENDERS: Sequence[Contender] = (
    OURS,
    BARE,
    RIVAL,
    Contender(name=f"LiteLLM {LITELLM} with spend tracking", start=partial(start_litellm, spend=True)),
)


@contextlib.contextmanager
def start_upstream(home: Path, token_ms: float = 0.0) -> Iterator[Server]:
    """Run the upstream until the block ends, beside the gateway's core."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateway_upstream", "--port", str(port)]
    command += ["--token-ms", str(token_ms)]
    url = f"http://127.0.0.1:{port}"
    with serve(command, url=url, log=home / f"upstream-{port}.log", place=BESIDE) as server:
        yield server


def answered(server: Server, seconds: float, connections: int) -> dict[str, Any]:
    """Return what the load generator told; RuntimeError if anything but 200 came back."""
    told = load(server, seconds=seconds, connections=connections)
    if set(told["outcomes"]) != {"200"}:
        raise RuntimeError(f"{server.url}: {told['outcomes']}\n{server.last_words()}")
    return told


def turn(upstream: Server, server: Server, direct: dict[str, Any], seconds: float, into: Measured) -> None:
    """Measure one contender once. `direct`: one connection straight to the upstream, in this turn."""
    core, own, started = busy_seconds(UNDER_TEST), server.cpu_seconds(), time.perf_counter()
    one = answered(server, seconds, 1)
    into.added_median.append(one["median_ms"] - direct["median_ms"])
    into.added_p99.append(one["p99_ms"] - direct["p99_ms"])
    before = upstream.cpu_seconds()
    many = answered(server, seconds, CONNECTIONS)
    into.per_second.append(many["per_second"])
    into.beside.append(many["cpu_share"] + (upstream.cpu_seconds() - before) / many["seconds"])
    others = busy_seconds(UNDER_TEST) - core - (server.cpu_seconds() - own)
    into.strangers.append(max(0.0, others / (time.perf_counter() - started)))


def compare(
    upstream: Server, servers: dict[str, Server], turns: int, seconds: float, warm_up: float
) -> tuple[dict[str, Measured], list[dict[str, Any]]]:
    """Measure all contenders in turn; returns also what one connection found straight at the upstream."""
    for server in (upstream, *servers.values()):
        answered(server, warm_up, CONNECTIONS)
    made = {name: Measured() for name in servers}
    directs = []
    for number in range(turns):
        directs.append(answered(upstream, seconds, 1))
        for name in list(servers)[:: -1 if number % 2 else 1]:
            turn(upstream, servers[name], directs[-1], seconds, made[name])
    return made, directs


def rows(made: dict[str, Measured], directs: list[dict[str, Any]]) -> Iterator[Row]:
    """Return the rows; the bare pass-through is everybody's baseline."""
    median = statistics.median
    for name, place in (("median", "median_ms"), ("99th percentile", "p99_ms")):
        value = round(median(one[place] for one in directs), 3)
        yield Row(name=f"straight to the upstream, {name} latency, one connection", value=value, unit="ms")
    columns = (
        (f"requests/s, {CONNECTIONS} connections", "1/s", "per_second", 0),
        ("added median latency, one connection", "ms", "added_median", 3),
        ("added 99th percentile latency, one connection", "ms", "added_p99", 3),
    )
    for title, unit, column, digits in columns:
        bare = getattr(made[BARE.name], column)
        for name, all_ in made.items():
            mine = getattr(all_, column)
            ratio = None if name == BARE.name else median(a / b for a, b in zip(mine, bare, strict=True))
            yield Row(
                name=f"{name}: {title}",
                value=round(median(mine), digits),
                unit=unit,
                baseline=None if ratio is None else round(median(bare), digits),
                ratio=None if ratio is None else round(ratio, 3),
            )
    yield from goals(made)
    yield at_most(
        "busiest time of the load's and the upstream's core", busiest(made, "beside"), BUSIEST, "share"
    )
    strangers = busiest(made, "strangers")
    yield at_most("most that others used of the gateway's core", strangers, MOST_STRANGERS, "share")


def goals(made: dict[str, Measured]) -> Iterator[Row]:
    """Return ours held against the goals: over the pass-through, and over LiteLLM where it could be had."""
    median = statistics.median

    def row(name: str, column: str, other: Contender, limit: float, *, least: bool) -> Row:
        mine, theirs = getattr(made[OURS.name], column), getattr(made[other.name], column)
        ratio = median(a / b for a, b in zip(mine, theirs, strict=True))
        return Row(
            name=f"ours over {other.name}: {name}",
            value=round(median(mine), 3),
            unit="1/s" if least else "ms",
            baseline=round(median(theirs), 3),
            ratio=round(ratio, 3),
            goal=f"ratio {'>=' if least else '<='} {limit}",
            ok=ratio >= limit if least else ratio <= limit,
        )

    yield row("requests/s", "per_second", BARE, 0.3, least=True)
    if RIVAL.name in made:
        yield row("requests/s", "per_second", RIVAL, 12, least=True)
        yield row("added median latency", "added_median", RIVAL, 0.2, least=False)
        yield row("added 99th percentile latency", "added_p99", RIVAL, 0.2, least=False)


def busiest(made: dict[str, Measured], column: str) -> float:
    """Return the greatest share of a turn, over all contenders."""
    return round(max(share for all_ in made.values() for share in getattr(all_, column)), 3)


def measure(quick: bool) -> Iterator[Row]:
    """Start everything, measure, and end everything."""
    yield from speed(quick)
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mbe-gateway-")))
        upstream = stack.enter_context(start_upstream(home, token_ms=5.0))
        stack.enter_context(fresh_home())
        yield from gateway_money.rows(home, upstream.url, quick)
    with fresh_home():
        yield from gateway_books.rows(QUICK_OPERATIONS if quick else OPERATIONS)


def speed(quick: bool) -> Iterator[Row]:
    """Measure all contenders in turn, then streams, then twice the load."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mbe-gateway-")))
        upstream = stack.enter_context(start_upstream(home))
        servers = {}
        for contender in CONTENDERS:
            try:
                servers[contender.name] = stack.enter_context(contender.start(home, upstream.url))
            except Unavailable as error:
                yield Row(name=f"{contender.name}: not measured; {error}", value=0, unit="requests")
        if quick:
            found = compare(upstream, servers, QUICK_TURNS, QUICK_SECONDS, QUICK_WARM_UP_SECONDS)
        else:
            found = compare(upstream, servers, TURNS, SECONDS, WARM_UP_SECONDS)
        yield from rows(*found)
        seconds = QUICK_SECONDS if quick else SECONDS
        yield from gateway_limits.streams(upstream, servers, OURS.name, seconds)
        taken = statistics.median(found[0][OURS.name].per_second)
        yield from gateway_limits.twice(servers[OURS.name], taken, seconds)


if __name__ == "__main__":
    report("What a gateway costs.", ("uvloop", "httptools", "uvicorn", "starlette", "aiohttp"), measure)
