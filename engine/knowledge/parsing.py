"""Start the reader of a file in a process of its own, and hold it to its limits."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.kit.errors import BadInput
from engine.kit.settings import REPOSITORY, settings

POLL = 0.1
PAGE_BREAK = "\n\n"


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """The text of a file; `page_starts` are the offsets at which its pages begin, None without pages."""

    text: str
    page_starts: list[int] | None


def parse(data: bytes, suffix: str, check_stop: Callable[[], None]) -> Parsed:
    """Return the text of `data`, a file of the kind `suffix` (".pdf").

    `check_stop` is called several times a second and may raise; the process ends then. Raises BadInput
    when the file is damaged, locked, without text, or needs more time or memory than is allowed.
    """
    scratch = settings().home / "tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        source, target = Path(folder) / f"file{suffix}", Path(folder) / "result.json"
        source.write_bytes(data)
        _run(suffix, source, target, check_stop)
        try:
            found = json.loads(target.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            # It ended without a word: the kernel stopped it at a limit, or its library crashed.
            raise BadInput("knowledge.parse_limit", field="file") from error
    if "error" in found:
        raise BadInput(found["error"], field="file")
    return _joined(found["pages"], found["numbered"])


def _run(suffix: str, source: Path, target: Path, check_stop: Callable[[], None]) -> None:
    seconds = settings().parse_seconds
    limits = [str(settings().parse_memory), str(int(seconds)), str(os.getpid())]
    command = [sys.executable, "-m", "engine.knowledge.parsers", suffix, str(source), str(target), *limits]
    # Nothing of our environment, where keys and the database's address may stand.
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": str(REPOSITORY),
        "LANG": "C.UTF-8",
        "HOME": str(source.parent),
    }
    child = subprocess.Popen(
        command, cwd=source.parent, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + seconds
    try:
        while child.poll() is None and time.monotonic() < deadline:
            check_stop()
            time.sleep(POLL)
    finally:
        child.kill()
        child.wait()


def _joined(pages: list[str], numbered: bool) -> Parsed:
    starts, at = [], 0
    for page in pages:
        starts.append(at)
        at += len(page) + len(PAGE_BREAK)
    return Parsed(text=PAGE_BREAK.join(pages), page_starts=starts if numbered else None)
