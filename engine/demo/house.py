"""Finds the running product, or starts it for as long as the demo lasts."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from rich.console import Console

from engine.kit.errors import Conflict, NotReady
from engine.kit.settings import REPOSITORY, settings
from engine.supervisor import single_instance

LONGEST_START = 600.0


def health() -> dict[str, str]:
    """Return what the gateway says of itself, or nothing when it does not answer."""
    try:
        answer = httpx.get(f"{settings().gateway_url}/health", timeout=2)
    except httpx.HTTPError:
        return {}
    return answer.json() if answer.status_code == 200 else {}


@contextmanager
def running(console: Console) -> Iterator[bool]:
    """Have the product running inside the block; yields whether it was started here.

    What was started here is stopped at the end, whatever happens.
    """
    if health() or starting_elsewhere():
        _wait(None)
        yield False
        return
    log = settings().home / "logs" / "up.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        product = subprocess.Popen(
            [sys.executable, "-m", "engine.cli", "up"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        with console.status("Starting MBE Studio"):
            _wait(product)
        yield True
    finally:
        product.send_signal(signal.SIGTERM)
        try:
            product.wait(timeout=30)
        except subprocess.TimeoutExpired:
            product.kill()


def starting_elsewhere() -> bool:
    """Return whether somebody runs the product from this home folder, though it may not answer yet."""
    try:
        single_instance().close()
    except Conflict:
        return True
    return False


def _wait(product: subprocess.Popen[bytes] | None) -> None:
    """Wait until the gateway answers; `product` is the process that was started for it here, if any."""
    deadline = time.monotonic() + LONGEST_START
    while not health():
        if product is not None and product.poll() is not None:
            raise NotReady("demo.did_not_start", log=str(settings().home / "logs" / "up.log"))
        if time.monotonic() > deadline:
            raise NotReady("demo.too_slow", seconds=int(LONGEST_START))
        time.sleep(1)


def wait_for_model(console: Console) -> None:
    """Wait until the model server has answered its probe. Raises NotReady when it does not in time."""
    deadline = time.monotonic() + LONGEST_START
    with console.status("Waiting for the model server"):
        while health().get("model_server") != "ready":
            if time.monotonic() > deadline:
                raise NotReady("demo.no_model", seconds=int(LONGEST_START))
            time.sleep(1)
