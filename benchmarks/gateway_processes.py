"""Processes of the gateway benchmark: each on its core, and none that outlives the benchmark.

The server under test has a core to itself; the load generator, the upstream and PostgreSQL share another.
On a machine with one core nothing is pinned.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from engine.kit.settings import REPOSITORY

UNDER_TEST, BESIDE = 0, 1
READY_WITHIN, STOPPED_WITHIN = 120.0, 5.0  # seconds
LOAD_GRACE = 60.0
LOG_TAIL = 2_000  # characters
# What a small client would be given to say: the request of every measurement unless told otherwise.
BODY = {"model": "base", "messages": [{"role": "user", "content": "What is the return policy?"}]}


class NotReady(Exception):
    """A server did not come up, or ended."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server: where it is, which keys it takes, and its process."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path
    keys: tuple[str, ...] = ()

    def cpu_seconds(self) -> float:
        """Return the processor time that it and its children used so far."""
        whole = psutil.Process(self.process.pid)
        times = [one.cpu_times() for one in (whole, *whole.children(recursive=True))]
        return float(sum(one.user + one.system for one in times))

    def last_words(self) -> str:
        """Return the end of its log."""
        return self.log.read_text("utf-8", "replace")[-LOG_TAIL:]


def core(place: int) -> str:
    """Return the core of UNDER_TEST or BESIDE, or - where there are not two."""
    if not hasattr(os, "sched_getaffinity"):
        return "-"
    cores = sorted(os.sched_getaffinity(0))
    return str(cores[place]) if len(cores) > 1 else "-"


def busy_seconds(place: int) -> float:
    """Return how long that core was busy so far, with anything at all; 0 where nothing is pinned."""
    if (wanted := core(place)) == "-":
        return 0.0
    times = psutil.cpu_times(percpu=True)[int(wanted)]
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


@contextmanager
def on_core(place: int) -> Iterator[None]:
    """Have what this thread starts in the block run on that core: PostgreSQL, which a library starts."""
    if (wanted := core(place)) == "-":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {int(wanted)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """Return a port that nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def pinned(command: Sequence[str], place: int) -> list[str]:
    """Return the command line that runs `command` on a core and ends it with this process."""
    return [sys.executable, "-m", "benchmarks.gateway_core", str(os.getpid()), core(place), *command]


@contextmanager
def serve(
    command: Sequence[str],
    *,
    url: str,
    log: Path,
    place: int = UNDER_TEST,
    ready: str = "/health",
    keys: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Run a server until the block ends, in a process group of its own that is ended whatever happens.

    The block starts once `ready` answers. `env` is added to this process's environment. Raises NotReady.
    """
    with log.open("wb") as output:
        started = subprocess.Popen(
            pinned(command, place),
            cwd=REPOSITORY,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    server = Server(url=url, process=started, log=log, keys=keys)
    try:
        _await(server, url + ready)
        yield server
    finally:
        _end(started)


def load(
    server: Server,
    path: str = "/v1/chat/completions",
    *,
    seconds: float,
    connections: int,
    body: Mapping[str, Any] | None = BODY,
    options: Sequence[str] = (),
) -> dict[str, Any]:
    """Put load on a server and return what `benchmarks.gateway_load` tells; its keys are used in turn."""
    command = [sys.executable, "-m", "benchmarks.gateway_load", "--url", server.url + path, *options]
    command += ["--seconds", str(seconds), "--connections", str(connections)]
    folder, name = server.log.parent, server.log.stem
    if server.keys:
        (folder / f"{name}.keys").write_text("\n".join(server.keys), "utf-8")
        command += ["--keys-file", str(folder / f"{name}.keys")]
    if body is not None:
        (folder / f"{name}.body").write_text(json.dumps(body), "utf-8")
        command += ["--body-file", str(folder / f"{name}.body")]
    done = subprocess.run(
        pinned(command, BESIDE),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=seconds + LOAD_GRACE,
        check=False,
    )
    if done.returncode:
        raise NotReady(f"no load on {server.url}: {done.stderr[-LOG_TAIL:]}\n{server.last_words()}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _await(server: Server, url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            raise NotReady(f"{server.process.args!r} ended: {server.last_words()}")
        with contextlib.suppress(OSError, urllib.error.URLError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.1)
    raise NotReady(f"{url} does not answer: {server.last_words()}")


def _end(started: "subprocess.Popen[bytes]") -> None:
    for how in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, how)
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(STOPPED_WITHIN)
