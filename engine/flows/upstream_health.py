"""The model servers as this process knows them: which are declared, which work, and the probes that tell.

What is declared is read at most once a second. How a server fares is counted in memory, by each process for
itself. While a server is used, a task in the same event loop probes it with one token when nothing went well
there for a while, and when its breaker wants to know; a process that asks nothing probes nothing.
"""

import asyncio
import contextvars
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

import anyio.to_thread
from sqlalchemy.exc import SQLAlchemyError

from engine.inference import pool, state
from engine.inference.pool import ModelPool
from engine.kit import metrics
from engine.kit.database import unit_of_work
from engine.kit.errors import EngineError
from engine.kit.logs import logger
from engine.serving import upstreams
from engine.serving.breaker import TERMS, Breaker, State, Terms
from engine.serving.schemas import Upstream
from engine.serving.upstreams import BUILT_IN, LOCAL

log = logger(__name__)

DECLARED_SECONDS = 1.0
LOOK_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
"""How long a call that finds every server broken waits for a probe that is due."""
IDLE_SECONDS = 60.0
"""A working server that nobody asked for so long is not probed any more."""


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What a probe found: whether a token came back, and after how many milliseconds it was known."""

    good: bool
    milliseconds: int
    at: float


class Servers:
    """What this process knows of the model servers. `clock` counts seconds and never goes back."""

    def __init__(self, *, terms: Terms = TERMS, clock: Callable[[], float] = time.monotonic) -> None:
        self._terms, self._clock = terms, clock
        self._lock = Lock()  # nothing that takes it is called within
        self._reading = Lock()
        self._read_at = float("-inf")
        self._declared: tuple[Upstream, ...] = (BUILT_IN,)
        self._breakers: dict[str, Breaker] = {}
        self._asked: dict[str, float] = {}
        self._probes: dict[str, Probed] = {}
        self._shown: dict[str, bool] = {}
        self._watching: dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[None]] = {}

    def forget_declared(self) -> None:
        """Read the declared servers anew, after a change made by this process."""
        self._read_at = float("-inf")

    def known(self) -> tuple[Upstream, ...]:
        """Return the servers as they were read last."""
        return self._declared

    async def declared(self) -> tuple[Upstream, ...]:
        """Return the servers as they were at most a second ago; as last known while the database is away."""
        if time.monotonic() - self._read_at > DECLARED_SECONDS:
            await anyio.to_thread.run_sync(self._read)
        return self._declared

    def _read(self) -> None:
        with self._reading:
            if time.monotonic() - self._read_at <= DECLARED_SECONDS:
                return  # another call has just read them
            try:
                with unit_of_work() as uow:
                    found = tuple(upstreams.listing(uow))
            except SQLAlchemyError as error:
                log.warning("declared model servers not read", reason=str(error)[:300])
                found = self._declared
            for gone in {one.name for one in self._declared} - {one.name for one in found}:
                metrics.upstream_gone(gone)
            self._declared, self._read_at = found, time.monotonic()

    def only_local(self) -> tuple[Upstream, ...]:
        """Return the built-in server while there is no other and it works, else nothing.

        So it is nearly everywhere, and then nothing else has to be asked on the way of a call.
        """
        fresh = time.monotonic() - self._read_at <= DECLARED_SECONDS
        alone = fresh and len(self._declared) == 1 and self._declared[0] is BUILT_IN
        return self._declared if alone and self.works(LOCAL) and state.answers() else ()

    async def order(self, model: str, *, public: bool) -> list[Upstream]:
        """Return the servers that may answer for an expert now, in the order to try them."""
        able = [one for one in await self.declared() if upstreams.serves(one, model, public=public)]
        ready = await self._ready(able)
        found = upstreams.order(ready, self.works, random.random)
        # Whoever asks before the built-in server is ready hears from it how far it is.
        return found or upstreams.order(able if not ready else (), self.works, random.random)

    async def can_answer(self, model: str, *, public: bool) -> bool:
        """Return whether some server would answer for an expert now."""
        able = [one for one in await self.declared() if upstreams.serves(one, model, public=public)]
        return any(self.works(one.name) for one in await self._ready(able))

    async def _ready(self, able: list[Upstream]) -> list[Upstream]:
        """Return the servers that have started; while all of them are broken, see to it that those that wait
        for a probe get it.

        Else they would wait for good where no event loop goes on between calls.
        """
        ready = [one for one in able if one.name != LOCAL or state.answers()]
        for one in ready:
            if any(self.works(each.name) for each in ready):
                break
            await self._probe_if_due(one, PATIENCE_SECONDS)
        return ready

    def works(self, name: str) -> bool:
        """Return whether calls go to a server."""
        breaker = self._breakers.get(name)
        return breaker is None or breaker.state(self._clock()) == "closed"

    def state(self, name: str) -> State | None:
        """Return how a server fares; None when this process has not asked it."""
        breaker = self._breakers.get(name)
        return None if breaker is None else breaker.state(self._clock())

    def last_probe(self, name: str) -> Probed | None:
        """Return what the last probe by this process found."""
        return self._probes.get(name)

    def patience(self, names: list[str]) -> int:
        """Return in how many whole seconds the first of these servers is probed."""
        at = self._clock()
        waits = [self._breakers[name].wait(at) for name in names if name in self._breakers]
        return max(1, -int(-min(waits, default=5.0) // 1))

    def begin(self, upstream: Upstream) -> None:
        """Note that a server is about to be asked, and have it watched."""
        self._breaker(upstream.name)
        self._asked[upstream.name] = self._clock()
        key = (asyncio.get_running_loop(), upstream.name)
        if key not in self._watching:
            # Of nobody's call: what is logged of a probe has no trace.
            self._watching[key] = key[0].create_task(
                self._watch(upstream.name), context=contextvars.Context()
            )

    def ended(self, upstream: Upstream, good: bool) -> None:
        """Count a call that ended. What fails while the built-in server is not ready says nothing new."""
        if not good:
            metrics.upstream_error(upstream.name)
            if upstream.name == LOCAL and not state.answers():
                return
        breaker = self._breaker(upstream.name)
        with self._lock:
            breaker.record(good, self._clock())
        self._show(upstream.name)

    async def probe(self, upstream: Upstream, *, seconds: float = 20.0) -> Probed:
        """Ask a server for one token, now. A good probe closes its breaker."""
        self._breaker(upstream.name)
        return await self._probe(upstream, seconds)

    def _breaker(self, name: str) -> Breaker:
        found = self._breakers.get(name)
        if found is None:
            with self._lock:
                found = self._breakers.setdefault(name, Breaker(self._clock(), self._terms))
            self._show(name)
        return found

    def _show(self, name: str) -> None:
        up = self.works(name)
        if self._shown.get(name) is not up:
            self._shown[name] = up
            metrics.upstream_up(name, up)
            if not up:
                log.warning("model server left alone", upstream=name)

    async def _probe(self, upstream: Upstream, seconds: float) -> Probed:
        began, good = time.monotonic(), False
        try:
            async with asyncio.timeout(seconds):
                good = await _one_token(upstream)
        except (EngineError, TimeoutError):
            pass
        found = Probed(good=good, milliseconds=round((time.monotonic() - began) * 1000), at=time.time())
        self._probes[upstream.name] = found
        if not good:
            metrics.upstream_error(upstream.name)
        breaker = self._breaker(upstream.name)
        with self._lock:
            breaker.probed(good, self._clock())
        self._show(upstream.name)
        return found

    async def _probe_if_due(self, upstream: Upstream, seconds: float) -> None:
        breaker = self._breaker(upstream.name)
        with self._lock:
            mine = breaker.take_probe(self._clock())
        if not mine:
            return
        try:
            await self._probe(upstream, seconds)
        except BaseException:
            breaker.drop_probe()
            raise

    async def _watch(self, name: str) -> None:
        """Probe a server whenever it is due, until it is gone or works and is not asked any more."""
        breaker = self._breaker(name)
        try:
            while True:
                await asyncio.sleep(min(max(breaker.wait(self._clock()), 0.01), LOOK_SECONDS))
                upstream = next((one for one in await self.declared() if one.name == name), None)
                idle = self._clock() - self._asked[name] > IDLE_SECONDS
                if upstream is None or not upstream.enabled or (idle and self.works(name)):
                    return
                if name == LOCAL and not state.answers():
                    await asyncio.sleep(LOOK_SECONDS)
                    continue
                await self._probe_if_due(upstream, 20.0)
        finally:
            self._watching.pop((asyncio.get_running_loop(), name), None)


def pool_of(upstream: Upstream) -> ModelPool:
    """Return the pool on a server. Its key is read from the environment of this process."""
    if upstream.name == LOCAL:
        return pool.pool()
    key = os.environ.get(upstream.key_variable, "") if upstream.key_variable else ""
    # Other servers than ours may refuse to count while they speak.
    return pool.pool_at(upstream.base_url, key, not upstream.served_as)


async def _one_token(upstream: Upstream) -> bool:
    asked = pool_of(upstream)
    return await asked.client.probe(upstream.served_as or await asked.ensure(None))


_servers: list[Servers] = []


def servers() -> Servers:
    """Return what this process knows."""
    if not _servers:
        _servers.append(Servers())
    return _servers[0]


def start_anew(known: Servers | None = None) -> None:
    """Know nothing any more, or what is given (tests, forks)."""
    _servers[:] = [known] if known else []
