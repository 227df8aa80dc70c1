"""Processes that never outlive the one that started them."""

import ctypes
import os
import signal
import sys


def die_with_parent(parent: int | None = None) -> None:
    """Have the kernel kill this process when its parent goes, however the parent goes (Linux).

    `parent` is the pid that started us, when known: if it is already gone, leave at once. Called at
    the start of a process rather than between fork and exec, which is not safe with threads.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL)  # 1 = PR_SET_PDEATHSIG
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def supervised() -> None:
    """Called at the start of each process of the Procfile: end with the supervisor, if one started us."""
    if parent := os.environ.get("MBE_SUPERVISOR"):
        die_with_parent(int(parent))
