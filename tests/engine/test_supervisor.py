"""The supervisor, with small programs instead of the product's."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from engine import supervisor
from engine.kit.errors import Conflict
from engine.kit.settings import REPOSITORY, settings

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


def until(check: object, patience: float = 30) -> None:
    deadline = time.monotonic() + patience
    while not check():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_procfile_names_the_processes() -> None:
    programs = supervisor.read_procfile(REPOSITORY / "Procfile")
    assert [program.name for program in programs] == ["web", "gateway", "inference", "worker"]


def test_a_program_that_ends_is_started_again(home: Path) -> None:
    program = supervisor.Program("sleeper", SLEEPER)
    watcher = supervisor.Supervisor([program], "postgresql:///none", Console(quiet=True))
    try:
        watcher.start(program)
        first = program.process
        assert first is not None
        first.kill()
        first.wait()
        watcher.watch(program)
        assert program.process is None, "it waits before it starts again"
        until(lambda: (watcher.watch(program), program.process is not None)[1])
        assert program.process is not None and program.process.pid != first.pid
    finally:
        watcher.stop_all()
    assert program.process.poll() is not None


def test_stopping_ends_programs_that_do_not_listen_and_what_they_started(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "GRACE", 1.0)
    deaf = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); time.sleep(600)"
    )
    program = supervisor.Program("deaf", [sys.executable, "-c", deaf])
    watcher = supervisor.Supervisor([program], "postgresql:///none", Console(quiet=True))
    watcher.start(program)
    assert program.process is not None
    parent = psutil.Process(program.process.pid)
    until(lambda: bool(parent.children()))
    family = [parent, *parent.children(recursive=True)]
    watcher.stop_all()
    _, alive = psutil.wait_procs(family, timeout=5)
    assert alive == []


def test_one_home_runs_once(home: Path) -> None:
    with supervisor.single_instance(), pytest.raises(Conflict) as refusal:
        supervisor.single_instance()
    assert refusal.value.key == "processes.already_running"


def test_a_taken_port_is_named_with_its_setting(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        monkeypatch.setenv("MBE_GATEWAY_PORT", str(holder.getsockname()[1]))
        settings.cache_clear()
        with pytest.raises(Conflict) as refusal:
            supervisor.check_ports()
    assert "MBE_GATEWAY_PORT" in str(refusal.value)


def test_a_process_dies_with_the_one_that_started_it() -> None:
    child = (
        "from engine.kit.process import supervised; supervised();"
        "import time; print('up', flush=True); time.sleep(600)"
    )
    parent = (
        f"import os, subprocess, sys, time; os.environ['MBE_SUPERVISOR'] = str(os.getpid());"
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE);"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert process.stdout is not None
    grandchild = psutil.Process(int(process.stdout.readline()))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs([grandchild], timeout=10)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
