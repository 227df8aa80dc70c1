"""The model server's processes: started together, ended together, also when we were killed."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from engine.inference.state import alive, identity
from engine.kit.settings import REPOSITORY

GRACE_SECONDS = 6.0
_PR_SET_PDEATHSIG = 1


def spawn(command: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Start a command as leader of its own process group, its output in `log`.

    The log of the life before is kept beside it. The leader gets SIGTERM when we die.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        os.replace(log, log.with_suffix(".previous.log"))
    parent = os.getpid()
    with log.open("wb") as out:
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=(lambda: _die_with(parent)) if sys.platform == "linux" else None,
        )


def _die_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # the parent died before the line above
        os._exit(1)


def mark_of(process: subprocess.Popen[bytes]) -> list[float] | None:
    """Return what identifies the group that the process leads, for `end_group` later on."""
    return identity(process.pid)


def members(mark: list[float]) -> list[psutil.Process]:
    """Return the living processes of the group that `mark` identifies, its leader alive or not."""
    leader, born = int(mark[0]), mark[1]
    if identity(leader) is not None and not alive(mark):
        return []  # the number now belongs to somebody else
    found = []
    for process in psutil.process_iter():
        try:
            ours = os.getpgid(process.pid) == leader and process.create_time() >= born - 0.1
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (ProcessLookupError, psutil.Error):
            continue
    return found


def end_group(mark: list[float]) -> int:
    """End every process of a group, asking first; return how many there were."""
    present = members(mark)
    if not present:
        return 0
    os.killpg(int(mark[0]), signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < deadline and members(mark):
        time.sleep(0.1)
    if members(mark):
        os.killpg(int(mark[0]), signal.SIGKILL)
        psutil.wait_procs(present, timeout=5)
    return len(present)
