"""Keeps one model server running: starts it, watches it with real requests, starts it again."""

import asyncio
import subprocess
from collections.abc import Callable, Coroutine
from datetime import datetime

from engine.inference import base_model, process, state
from engine.inference.client import ModelClient
from engine.inference.launch import choose_backend, clean_environment, launch
from engine.inference.progress import Progress
from engine.inference.schemas import BASE, Backend, ServerState
from engine.inference.state import status
from engine.kit.clock import now
from engine.kit.errors import EngineError
from engine.kit.logs import logger
from engine.kit.settings import settings

__all__ = ["ModelServer", "status"]

log = logger(__name__)

START_SECONDS = 1800.0  # longest start, for large models on slow disks
PROBE_SECONDS = 20.0
FAILED_PROBES = 3
FAILED_STARTS = 3
LONGEST_PAUSE = 30.0


class ModelServer:
    """Supervises the server that the settings name, until `stop` is called.

    A server is ready once it has made a token. From then on it is probed with one every
    `probe_every` seconds, and after three failures ended and started again; a process that ends is
    seen at once. Probing more often costs: vLLM's worker spins for a second after each request.

    The fallback answers one request at a time, so a probe would wait behind a long answer: its
    health route is asked, which knows whether tokens still come. Where "auto" chose vLLM and it
    fails to start three times, the fallback takes over.
    """

    def __init__(self, *, probe_every: float = 15.0) -> None:
        self._probe_every = probe_every
        self._backend: Backend = choose_backend()
        self._client = ModelClient(settings().model_url, settings().inference_key)
        self._log = settings().home / "logs" / "model-server.log"
        self._stopping = asyncio.Event()
        self._state: ServerState = "stopped"
        self._since: datetime = now()
        self._child: subprocess.Popen[bytes] | None = None
        self._mark: list[float] | None = None
        self._failures = 0
        self._lived = False

    def stop(self) -> None:
        """Ask `run` to end the server and return."""
        self._stopping.set()

    async def run(self) -> None:
        """Supervise until `stop`; processes left by a supervisor that was killed are ended first."""
        self._end_leftover()
        try:
            if self._backend == "fake":
                self._say("ready", 100, message="inference.state_fake")
                await self._stopping.wait()
            elif self._backend == "remote":
                await self._watch_remote()
            else:
                while not self._stopping.is_set():
                    await self._live_once()
                    await self._pause(min(2.0 ** max(self._failures - 1, 0), LONGEST_PAUSE))
        finally:
            self._end_child()
            self._say("stopped", 0)

    def _say(
        self,
        new: ServerState,
        progress: int,
        *,
        message: str | None = None,
        facts: dict[str, str | int] | None = None,
    ) -> None:
        if new != self._state:
            self._state, self._since = new, now()
            log.info("model server", state=new, backend=self._backend)
        state.write(
            new,
            self._backend,
            since=self._since,
            progress=progress,
            message=message,
            facts=facts,
            child=self._mark,
        )

    async def _live_once(self) -> None:
        """One life of the server, from its start to its end, whatever ended it."""
        self._say("restarting" if self._lived else "starting", 0)
        try:
            folder = await asyncio.to_thread(base_model.resolve, settings().base_model)
        except EngineError as error:
            self._failures += 1
            facts = {name: str(value) for name, value in error.facts.items()}
            self._say("failed", 0, message=error.key, facts=dict(facts))
            return
        plan = launch(self._backend, folder)
        self._child = process.spawn(plan.command, clean_environment(plan.environment), self._log)
        self._mark = process.mark_of(self._child)
        progress = Progress(self._log, plan.marks)
        try:
            if await self._wait_ready(progress):
                self._failures, self._lived = 0, True
                self._say("ready", 100)
                await self._watch(self._alive)
                self._failures = 1
            elif not self._stopping.is_set():
                self._count_failed_start()
        finally:
            self._end_child()

    async def _wait_ready(self, progress: Progress) -> bool:
        assert self._child is not None
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not self._stopping.is_set() and asyncio.get_running_loop().time() < deadline:
            if self._child.poll() is not None:
                return False
            self._say(self._state, progress.percent())
            if await self._unless_stopped(self._client.probe(BASE, seconds=PROBE_SECONDS)):
                return self._child.poll() is None
            await self._pause(0.5)
        return False

    def _count_failed_start(self) -> None:
        self._failures += 1
        log.error("model server did not start", backend=self._backend, attempts=self._failures)
        if self._failures < FAILED_STARTS:
            return
        if self._backend == "vllm" and settings().inference == "auto":
            self._backend, self._failures = "transformers", 0
            return
        facts: dict[str, str | int] = {"attempts": self._failures, "log": self._log.name}
        self._say("failed", 0, facts=facts)

    async def _alive(self) -> bool:
        if self._backend == "transformers":
            return await self._client.healthy(seconds=PROBE_SECONDS)
        return await self._client.probe(BASE, seconds=PROBE_SECONDS)

    async def _watch(self, alive: Callable[[], Coroutine[None, None, bool]]) -> None:
        """Return when the process ended or three probes in a row failed."""
        assert self._child is not None
        missed = 0
        while missed < FAILED_PROBES:
            for _ in range(max(1, round(self._probe_every / 0.25))):
                await self._pause(0.25)
                if self._stopping.is_set() or self._child.poll() is not None:
                    return
            missed = 0 if await self._unless_stopped(alive()) else missed + 1

    async def _watch_remote(self) -> None:
        # A remote server may charge for tokens, so it is only asked for its models.
        self._say("starting", 0)
        while not self._stopping.is_set():
            try:
                await self._client.models()
                self._say("ready", 100)
            except EngineError:
                self._say("failed", 0, message="inference.state_unreachable")
            await self._pause(self._probe_every)

    async def _unless_stopped(self, question: Coroutine[None, None, bool]) -> bool:
        """Return the answer, or False at once when we are told to stop: a probe may take long."""
        asking = asyncio.create_task(question)
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        answer = asking.done() and asking.result()
        asking.cancel()
        stopping.cancel()
        return answer

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _end_child(self) -> None:
        if self._mark:
            process.end_group(self._mark)
        if self._child:
            self._child.wait()
        self._child = self._mark = None

    def _end_leftover(self) -> None:
        values = state.read() or {}
        mark = values.get("child")
        if isinstance(mark, list) and len(mark) == 2:
            ended = process.end_group([float(part) for part in mark])
            if ended:
                log.warning("ended a model server left behind", processes=ended)
