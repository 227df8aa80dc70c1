"""The supervisor on the fallback: it starts, dies, is started again, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import pytest

from engine.inference import launch, process, state
from engine.inference.progress import Progress
from engine.inference.server import status
from engine.kit.settings import REPOSITORY, settings

TREE = """if True:
    import os, subprocess, sys, time
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    time.sleep(600)
"""


def wait_for(fact: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline, status()
        time.sleep(0.1)


def supervisor(home: Path, port: int, **environment: str) -> subprocess.Popen[bytes]:
    given = {"MBE_HOME": str(home), "MBE_INFERENCE_PORT": str(port), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "engine.inference.serve"], cwd=REPOSITORY, env={**os.environ, **given}
    )


def ended(served: subprocess.Popen[bytes]) -> None:
    served.terminate()
    try:
        served.wait(20)
    finally:
        served.kill()


def child() -> list[float]:
    return [float(part) for part in (state.read() or {})["child"]]


@pytest.mark.model
def test_a_life_with_a_death_in_it(home: Path, tiny: dict[str, Path], free_port: int) -> None:
    model = {"MBE_INFERENCE": "transformers", "MBE_BASE_MODEL": str(tiny["base"])}
    first = supervisor(home, free_port, **model)
    try:
        wait_for(lambda: status().state == "starting")
        wait_for(lambda: status().state == "ready")
        assert (status().backend, status().progress, status().pid) == ("transformers", 100, first.pid)
        killed = child()
        os.kill(int(killed[0]), signal.SIGKILL)
        wait_for(lambda: status().state == "restarting")
        wait_for(lambda: status().state == "ready")
        orphan = child()
        assert orphan != killed

        second = supervisor(home, free_port, **model)
        assert second.wait(30) == 1  # one home, one supervisor
        assert process.members(orphan)

        first.kill()  # no chance to clean up
        first.wait()
        assert status().state == "stopped"
        wait_for(lambda: not process.members(orphan), 15)
    finally:
        ended(first)
    last = supervisor(home, free_port, **model)
    try:
        wait_for(lambda: status().state == "ready")
        mark = child()
    finally:
        ended(last)
    assert last.returncode == 0
    assert status().state == "stopped"
    assert not process.members(mark)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{free_port}/health")


def test_a_model_that_does_not_exist_is_told_in_words(home: Path, free_port: int) -> None:
    served = supervisor(home, free_port, MBE_INFERENCE="transformers", MBE_BASE_MODEL="./no-such-folder")
    try:
        wait_for(lambda: status().state == "failed")
        assert "./no-such-folder" in status().text("en")
        assert "./no-such-folder" in status().text("zh")
    finally:
        ended(served)


def test_a_remote_server_is_only_watched(home: Path, free_port: int) -> None:
    served = supervisor(home, free_port, MBE_INFERENCE_URL=f"http://127.0.0.1:{free_port}")
    try:
        wait_for(lambda: status().state == "failed")
        assert (status().backend, status().message) == ("remote", "inference.state_unreachable")
    finally:
        ended(served)


def test_the_fake_is_ready_at_once(home: Path, free_port: int) -> None:
    served = supervisor(home, free_port, MBE_INFERENCE="fake")
    try:
        wait_for(lambda: status().state == "ready")
        assert status().backend == "fake"
    finally:
        ended(served)


def test_without_a_supervisor_the_state_is_stopped(home: Path) -> None:
    assert status().state == "stopped"
    state.write("ready", "vllm", since=datetime.now(UTC), progress=100)
    assert status().state == "ready"
    state.state_path().write_text("{half")
    assert status().state == "stopped"


def test_a_group_is_ended_whole_even_without_its_leader(tmp_path: Path) -> None:
    tree = process.spawn([sys.executable, "-c", TREE], dict(os.environ), tmp_path / "log")
    mark = process.mark_of(tree)
    assert mark is not None
    wait_for(lambda: len(process.members(mark)) == 2, 30)
    tree.kill()
    tree.wait()
    assert len(process.members(mark)) == 1
    assert process.end_group(mark) == 1
    assert not process.members(mark)


def test_a_group_number_that_belongs_to_somebody_else_is_left_alone(tmp_path: Path) -> None:
    other = process.spawn(
        [sys.executable, "-c", "import time; time.sleep(600)"], dict(os.environ), tmp_path / "log"
    )
    try:
        mark = process.mark_of(other)
        assert mark is not None
        assert process.end_group([mark[0], mark[1] - 100.0]) == 0
        assert psutil.pid_exists(other.pid)
    finally:
        other.kill()
        other.wait()


def test_the_log_of_the_life_before_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "model-server.log"
    for word in ("first", "second"):
        process.spawn([sys.executable, "-c", f"print('{word}')"], dict(os.environ), log).wait()
    assert log.read_text() == "second\n"
    assert (tmp_path / "model-server.previous.log").read_text() == "first\n"


def test_progress_follows_the_log_and_never_falls(tmp_path: Path) -> None:
    log = tmp_path / "log"
    progress = Progress(log, [("", 0, 1000.0), ("one", 30, 0.01), ("two", 60, 1000.0)])
    assert progress.percent() == 0
    log.write_text("one")
    progress.percent()
    time.sleep(0.05)
    reached = progress.percent()
    assert 50 < reached < 60
    log.write_text("one two")
    assert progress.percent() == 60


def test_vllm_is_started_on_loopback_with_a_length_that_the_model_has(
    home: Path, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_DATABASE_URL", "postgresql://secret")
    monkeypatch.setattr(launch, "has_cuda", lambda: False)
    settings.cache_clear()
    plan = launch.launch("vllm", tiny["base"])
    values = dict(zip(plan.command, plan.command[1:], strict=False))
    assert values["--host"] == "127.0.0.1"
    assert values["--max-model-len"] == "512"
    assert values["--dtype"] == "float32"
    assert plan.environment["VLLM_TARGET_DEVICE"] == "cpu"
    assert "MBE_DATABASE_URL" not in launch.clean_environment(plan.environment)
    monkeypatch.setattr(launch, "has_cuda", lambda: True)
    plan = launch.launch("vllm", tiny["base"])
    assert "--enforce-eager" not in plan.command
    assert "VLLM_TARGET_DEVICE" not in plan.environment
