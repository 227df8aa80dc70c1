"""Real workers for the tests of jobs."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Start = Callable[[], "subprocess.Popen[bytes]"]


@pytest.fixture
def start_worker(db: str, home: Path) -> Iterator[Start]:
    """Call it to start a worker process that knows the handlers of `jobs_wiring`."""
    here = Path(__file__).parent
    env = os.environ | {
        "MBE_WIRING": "jobs_wiring",
        "MBE_JOB_HEARTBEAT_TIMEOUT": "3",
        "MBE_WORKER_CONCURRENCY": "4",
        "PYTHONPATH": str(here),
    }
    started: list[subprocess.Popen[bytes]] = []

    def start() -> "subprocess.Popen[bytes]":
        home.mkdir(parents=True, exist_ok=True)
        with (home / f"worker-{len(started)}.log").open("wb") as log:
            command = [sys.executable, "-m", "engine.worker"]
            started.append(subprocess.Popen(command, env=env, cwd=here.parents[2], stderr=log))
        return started[-1]

    yield start
    for worker in started:
        worker.send_signal(signal.SIGTERM)
    for worker in started:
        try:
            worker.wait(10)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
