"""Runs the processes of the Procfile together: starts them, restarts them, and ends them all."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from types import FrameType
from typing import IO

from rich.console import Console

from engine.kit.database import start_embedded
from engine.kit.errors import Conflict
from engine.kit.migrate import upgrade
from engine.kit.settings import REPOSITORY, settings

GRACE = 10.0
LONGEST_PAUSE = 30.0


@dataclass
class Program:
    """One line of the Procfile and its running process."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started: float = 0.0
    retry_at: float = 0.0
    log: IO[bytes] | None = field(default=None, repr=False)


def read_procfile(path: Path) -> list[Program]:
    """Return the programs of a Procfile (`name: command` a line)."""
    lines = (line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return [Program(name.strip(), command.split()) for name, command in lines]


def single_instance() -> IO[str]:
    """Take the lock of this home folder. Raises Conflict when the product already runs from it."""
    path = settings().home / "up.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict("processes.already_running", url=settings().web_url) from None
    return lock


def check_ports() -> None:
    """Raise Conflict naming the first of our ports that something else holds."""
    chosen = settings()
    wanted = {"MBE_WEB_PORT": chosen.web_port, "MBE_GATEWAY_PORT": chosen.gateway_port}
    if not chosen.inference_url:
        wanted["MBE_INFERENCE_PORT"] = chosen.inference_port
    for name, port in wanted.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((chosen.host if name != "MBE_INFERENCE_PORT" else "127.0.0.1", port))
            except OSError:
                raise Conflict("processes.port_taken", port=port, setting=name) from None


class Supervisor:
    """Keeps every program running until it is told to stop."""

    def __init__(self, programs: list[Program], database_url: str, console: Console) -> None:
        self.programs = programs
        self.console = console
        self.stopping = False
        self.environment = {
            **os.environ,
            "MBE_HOME": str(settings().home.resolve()),
            "MBE_DATABASE_URL": database_url,
            "MBE_SUPERVISOR": str(os.getpid()),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, program: Program) -> None:
        """Start one program in a process group of its own, its output in home/logs."""
        logs = settings().home / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        if program.log is None:
            program.log = (logs / f"{program.name}.log").open("ab")
        program.process = subprocess.Popen(
            program.command,
            cwd=REPOSITORY,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=program.log,
            stderr=program.log,
            start_new_session=True,
        )
        program.started = time.monotonic()

    def watch(self, program: Program) -> None:
        """Restart a program that ended, after a pause that grows while it keeps failing."""
        process = program.process
        if process is None:
            if time.monotonic() >= program.retry_at:
                self.start(program)
            return
        if process.poll() is None:
            return
        lived = time.monotonic() - program.started
        program.failures = 0 if lived > 60 else program.failures + 1
        pause = min(2.0 ** (program.failures - 1), LONGEST_PAUSE)
        self.console.print(
            f"[yellow]{program.name}[/] ended with status {process.returncode}; "
            f"starting it again in {pause:.0f} s (see {settings().home / 'logs' / program.name}.log)"
        )
        program.process = None
        program.retry_at = time.monotonic() + pause

    def run(self) -> None:
        """Start all programs, say where the front page is, and watch until a signal comes."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop)
        begun, announced = time.monotonic(), False
        try:
            while not self.stopping:
                for program in self.programs:
                    self.watch(program)
                if not announced and front_page_answers():
                    announced = True
                    self.console.print(
                        f"\n  MBE Studio is at [bold link={settings().web_url}]{settings().web_url}[/]"
                        f"   ({time.monotonic() - begun:.0f} s; Ctrl-C ends everything)\n"
                    )
                time.sleep(0.2)
        finally:
            self.stop_all()

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopping = True

    def stop_all(self) -> None:
        """Ask every program to end, then end what has not."""
        running = [p.process for p in self.programs if p.process and p.process.poll() is None]
        for process in running:
            signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline and any(process.poll() is None for process in running):
            time.sleep(0.1)
        for process in running:
            signal_group(process, signal.SIGKILL)
            process.wait()
        for program in self.programs:
            if program.log:
                program.log.close()


def signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    """Send a signal to a process and everything it started."""
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def front_page_answers() -> bool:
    """Return whether the web process serves its front page."""
    page = HTTPConnection(settings().host, settings().web_port, timeout=1)
    try:
        page.request("GET", "/health")
        return page.getresponse().status == 200
    except OSError:
        return False
    finally:
        page.close()


def up(console: Console) -> None:
    """Run the whole product until Ctrl-C. Raises Conflict when it cannot start."""
    with single_instance():
        check_ports()
        database_url = settings().database_url or start_embedded()
        upgrade(database_url)
        Supervisor(read_procfile(REPOSITORY / "Procfile"), database_url, console).run()
