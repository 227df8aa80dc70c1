"""`python -m engine.inference.serve`: the process that keeps the model server running."""

import asyncio
import fcntl
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from engine.inference.server import ModelServer
from engine.kit import logs
from engine.kit.errors import Conflict
from engine.kit.process import supervised
from engine.kit.settings import settings


@contextmanager
def only_one() -> Iterator[None]:
    """Hold the lock of this home folder. Raises Conflict when another supervisor holds it."""
    path = settings().home / "inference.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("inference.already_running") from None
        yield


async def supervise() -> None:
    """Run the supervisor until SIGTERM or SIGINT."""
    server = ModelServer()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    await server.run()


def main() -> int:
    """Return 0 after an orderly end, 1 when another supervisor already runs."""
    supervised()
    logs.configure("inference")
    try:
        with only_one():
            asyncio.run(supervise())
    except Conflict as conflict:
        logs.logger(__name__).error(str(conflict))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
