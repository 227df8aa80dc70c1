"""A load generator for one HTTP server on this machine, in a process of its own.

`python -m benchmarks.gateway_load --url http://127.0.0.1:P/path --connections 64 --seconds 10
[--header 'Name: value'] [--keys-file F] [--body-file F] [--stream] [--rate R] [--count N]` prints one line of
JSON.

Without --rate each connection sends its next request once it has the answer (a closed loop). With --rate, R
requests a second come due whatever the server does (an open loop): latency counts from when a request was
due, to a millisecond or so, and one that finds no free connection is not sent but counted as `unsent`. With
--stream latency is the time of a whole stream, and its first event and the number of `data:` events are told.

`requests` counts answers of any status, `outcomes` the statuses and what went wrong. `seconds` lasts until
the last answer, and `per_second` is requests over it: were only those counted that came in time, a slow
server that works on all connections at once would seem to do nothing at first. `cpu_share` is how much of a
core the generator needed: near 1, it was the limit.

It speaks to 127.0.0.1 only, and ends: after --seconds, --count, or GRACE more for answers on their way.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import time
from array import array
from collections import Counter, deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop

ONLY_HOST = "127.0.0.1"
MOST_SECONDS, MOST_CONNECTIONS, MOST_REQUESTS = 600.0, 4096, 10_000_000
GRACE = 10.0  # for answers that are on their way when time is up
TICK = 0.001  # of the open loop
RETRY = 0.02  # between attempts to connect
EVENT = b"\ndata:"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to send, how often and how long."""

    port: int
    requests: list[bytes]
    connections: int
    seconds: float
    count: int
    rate: float
    stream: bool


class Tally:
    """What came back, over all connections. Times are in seconds."""

    def __init__(self) -> None:
        self.latencies, self.firsts = array("d"), array("d")
        self.outcomes: Counter[str] = Counter()
        self.sent = self.bytes = self.events = self.unsent = 0
        self.last = 0.0  # when the last answer came


class Connection(asyncio.Protocol):
    """One connection kept alive, with at most one request under way."""

    def __init__(self, load: "Load", request: bytes) -> None:
        self._load, self._request = load, request
        self._transport: asyncio.Transport | None = None
        self._since = 0.0  # when the request under way was due; 0: there is none

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be ready for a request."""
        self._transport, self._since = cast(asyncio.Transport, transport), 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._load.ready(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Count the request that was under way, and connect again."""
        self._transport = None
        if self._since:
            self._finish("lost")
        self._load.reconnect(self)

    def send(self, due: float) -> bool:
        """Send the request; False when there is no connection for it."""
        if self._transport is None or self._transport.is_closing():
            return False
        self._since, self._first, self._tail = due, 0.0, b"\n"
        self._load.tally.sent += 1
        self._transport.write(self._request)
        return True

    def close(self) -> None:
        """Hang up."""
        if self._transport:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Hand it to the parser, which calls the methods below."""
        self._load.tally.bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._finish("unreadable")
            self.close()

    def on_body(self, body: bytes) -> None:
        """Count the events of a stream, a piece of which may end anywhere."""
        if not self._load.plan.stream:
            return
        if not self._first:
            self._first = time.perf_counter()
        text = self._tail + body
        self._load.tally.events += text.count(EVENT)
        self._tail = text[1 - len(EVENT) :]

    def on_message_complete(self) -> None:
        """Count the answer; the next request may be sent."""
        self._finish(str(self._parser.get_status_code()))
        if self._parser.should_keep_alive():
            self._load.ready(self)
        else:
            self.close()

    def _finish(self, outcome: str) -> None:
        since, self._since = self._since, 0.0
        if since:
            self._load.finished(outcome, since, self._first)


class Load:
    """All connections, the clock, and what is counted."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.tally = plan, Tally()
        self._loop = asyncio.get_running_loop()
        self._connections = [
            Connection(self, plan.requests[number % len(plan.requests)]) for number in range(plan.connections)
        ]
        self._idle: deque[Connection] = deque()
        self._under_way = 0
        self._begun = self._over = False
        self._ended, self._drained = asyncio.Event(), asyncio.Event()

    async def run(self) -> dict[str, Any]:
        """Connect, send until time or count is up, wait for what is on its way, and tell."""
        await asyncio.gather(*(self._connect(one) for one in self._connections))
        before, started = self._cpu(), time.perf_counter()
        self._begun = True
        if self.plan.rate:
            ticking = asyncio.create_task(self._open_loop(started))
        else:
            ticking = None
            while self._idle:
                self._send(self._idle.popleft(), time.perf_counter())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), self.plan.seconds)
        self._over = True
        if ticking:
            ticking.cancel()
        if self._under_way:
            try:
                await asyncio.wait_for(self._drained.wait(), GRACE)
            except TimeoutError:
                self.tally.outcomes["unfinished"] = self._under_way
        for one in self._connections:
            one.close()
        return self._told(max(self.tally.last - started, TICK), self._cpu() - before)

    def ready(self, connection: Connection) -> None:
        """Give a connection its next request, or note that it is free."""
        if self._over:
            return
        if self.plan.rate or not self._begun:
            self._idle.append(connection)
        else:
            self._send(connection, time.perf_counter())

    def finished(self, outcome: str, since: float, first: float) -> None:
        """Count what came of a request."""
        now, tally = time.perf_counter(), self.tally
        tally.outcomes[outcome] += 1
        self._under_way -= 1
        if outcome.isdigit():
            tally.latencies.append(now - since)
            if first:
                tally.firsts.append(first - since)
            tally.last = now
        if self.tally.sent >= self.plan.count and not self._under_way:
            self._ended.set()
        if self._over and not self._under_way:
            self._drained.set()

    def reconnect(self, connection: Connection) -> None:
        """Connect again, unless it is over."""
        if not self._over:
            self._loop.create_task(self._connect(connection))

    async def _connect(self, connection: Connection) -> None:
        while not self._over:
            try:
                await self._loop.create_connection(lambda: connection, ONLY_HOST, self.plan.port)
                return
            except OSError:
                self.tally.outcomes["refused"] += 1
                if not self._begun:
                    raise
                await asyncio.sleep(RETRY)

    def _send(self, connection: Connection, due: float) -> bool:
        if self.tally.sent >= self.plan.count or not connection.send(due):
            return False
        self._under_way += 1
        return True

    async def _open_loop(self, started: float) -> None:
        number = 0
        while not self._over:
            now = time.perf_counter()
            while (due := started + number / self.plan.rate) <= now:
                number += 1
                # A connection that the server closed meanwhile is passed over; it comes back by itself.
                while self._idle:
                    if self._send(self._idle.popleft(), due):
                        break
                else:
                    self.tally.unsent += 1
            await asyncio.sleep(TICK)

    def _cpu(self) -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def _told(self, seconds: float, cpu: float) -> dict[str, Any]:
        tally = self.tally
        told: dict[str, Any] = {
            "requests": len(tally.latencies),
            "seconds": round(seconds, 3),
            "per_second": round(len(tally.latencies) / seconds, 1),
            **milliseconds("", tally.latencies),
            "outcomes": dict(tally.outcomes),
            "bytes": tally.bytes,
            "unsent": tally.unsent,
            "cpu_share": round(cpu / seconds, 3),
        }
        if self.plan.stream:
            told |= {"events": tally.events, **milliseconds("first_", tally.firsts)}
        return told


def milliseconds(prefix: str, seconds: "array[float]") -> dict[str, float | None]:
    """Return median, 95th and 99th percentile, the nearest measured value each."""
    ordered = sorted(seconds)
    places = {"median_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
    return {
        prefix + name: round(ordered[min(len(ordered) - 1, int(len(ordered) * place))] * 1000, 4)
        if ordered
        else None
        for name, place in places.items()
    }


def request(url: str, headers: list[str], body: bytes | None) -> bytes:
    """Return the bytes of a request; ValueError for any place but this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname != ONLY_HOST or not parts.port:
        raise ValueError(f"only http://{ONLY_HOST}:PORT/... is a target, not {url}")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1", f"host: {parts.netloc}", *headers]
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a line break in a header")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def plan(options: argparse.Namespace) -> Plan:
    """Return what the command line asks for, within bounds."""
    body = Path(options.body_file).read_bytes() if options.body_file else None
    keys = Path(options.keys_file).read_text("utf-8").split() if options.keys_file else []
    authorizations = [[f"authorization: Bearer {key}"] for key in keys] or [[]]
    if not 0 < options.seconds <= MOST_SECONDS or not 0 < options.connections <= MOST_CONNECTIONS:
        raise ValueError(f"at most {MOST_SECONDS:.0f} seconds and {MOST_CONNECTIONS} connections")
    return Plan(
        port=urlsplit(options.url).port or 0,
        requests=[request(options.url, options.header + one, body) for one in authorizations],
        connections=options.connections,
        seconds=options.seconds,
        count=min(options.count, MOST_REQUESTS),
        rate=max(0.0, options.rate),
        stream=options.stream,
    )


async def run(options: argparse.Namespace) -> None:
    """Carry out the command line."""
    print(json.dumps(await Load(plan(options)).run()), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A load generator for one HTTP server on this machine.")
    parser.add_argument("--url", required=True)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--count", type=int, default=MOST_REQUESTS, help="end after so many requests")
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second, whatever the server does")
    parser.add_argument("--header", action="append", default=[], help="'Name: value'; may be repeated")
    parser.add_argument("--keys-file", help="one secret a line; connection i uses line i mod n")
    parser.add_argument("--body-file", help="what to POST; without it, GET")
    parser.add_argument("--stream", action="store_true", help="answers are Server-Sent Events")
    options = parser.parse_args()
    try:
        uvloop.run(run(options))
    except (ValueError, OSError) as error:
        raise SystemExit(f"{os.path.basename(__file__)}: {error}") from error


if __name__ == "__main__":
    main()
