"""Ask the model servers of an expert, one after the other, until one answers.

The next one is tried only while nothing was delivered, at most three in all, and all within the time that one
answer may take. Closing a stream stops the server that speaks at once.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from engine.flows.upstream_health import pool_of, servers
from engine.inference.adapters import Adapter
from engine.inference.client import Prompt
from engine.inference.errors import AdapterRefused, PromptTooLong, RequestRefused
from engine.inference.schemas import Completion, Delta
from engine.kit import metrics
from engine.kit.errors import EngineError, NotReady, UpstreamFailed
from engine.kit.logs import logger
from engine.kit.settings import settings
from engine.serving import upstreams
from engine.serving.schemas import Upstream

log = logger(__name__)

MOST_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to speak: an adapter or the base, or for a `public` one whatever is served under its name."""

    name: str
    adapter: Adapter | None
    public: bool


class _Failed(Exception):
    """A try that may be followed by another; `error` is what came of it."""

    def __init__(self, error: EngineError) -> None:
        self.error = error


async def possible(wanted: Wanted) -> bool:
    """Return whether some server would answer now, as far as is known without asking it."""
    return bool(servers().only_local()) or await servers().can_answer(wanted.name, public=wanted.public)


async def open_stream(wanted: Wanted, prompt: Prompt, **options: Any) -> AsyncGenerator[Delta, None]:
    """Yield an answer. Raises NotReady when no server can be asked, else what the last one tried raised."""
    began, error = time.monotonic(), None
    for number, upstream in enumerate(await _to_try(wanted)):
        if not _goes_on(number, upstream, began, error):
            break
        source = _stream(upstream, wanted, prompt, options)
        if number:
            # The first one keeps to the time by itself.
            source = _until(source, began + settings().request_timeout)
        delivered, held_back = False, list[Delta]()
        try:
            with _Counted(upstream, wanted):
                async with aclosing(source) as deltas:
                    async for delta in deltas:
                        if delivered:
                            yield delta
                        elif delta.text or delta.finish_reason:
                            delivered = True
                            for earlier in held_back:
                                yield earlier
                            yield delta
                        else:
                            held_back.append(delta)  # an opening without a word; another server has its own
            return
        except _Failed as failed:
            error = failed.error
            if delivered:
                raise error from error.__cause__
    raise error or _nobody(wanted)


async def complete(wanted: Wanted, prompt: Prompt, **options: Any) -> Completion:
    """Return a whole answer; see `open_stream`."""
    began, error = time.monotonic(), None
    for number, upstream in enumerate(await _to_try(wanted)):
        if not _goes_on(number, upstream, began, error):
            break
        try:
            with _Counted(upstream, wanted):
                answer = _whole(upstream, wanted, prompt, options)
                # The first one keeps to the time by itself.
                left = began + settings().request_timeout - time.monotonic()
                return await (asyncio.wait_for(answer, left) if number else answer)
        except _Failed as failed:
            error = failed.error
    raise error or _nobody(wanted)


async def _whole(upstream: Upstream, wanted: Wanted, prompt: Prompt, options: dict[str, Any]) -> Completion:
    asked = pool_of(upstream)
    if upstream.served_as:
        return await asked.client.complete(upstream.served_as, prompt, **options)
    return await asked.complete(wanted.adapter, prompt, **options)


async def _to_try(wanted: Wanted) -> Sequence[Upstream]:
    found = servers().only_local() or await servers().order(wanted.name, public=wanted.public)
    return found[:MOST_TRIES]


def _goes_on(number: int, upstream: Upstream, began: float, error: EngineError | None) -> bool:
    """Say whether there is time for a try, and note it when it follows another."""
    if number:
        if time.monotonic() - began >= settings().request_timeout:
            return False
        metrics.upstream_retry(upstream.name)
        log.info("next model server", upstream=upstream.name, reason=error.key if error else "")
    servers().begin(upstream)
    return True


def _stream(
    upstream: Upstream, wanted: Wanted, prompt: Prompt, options: dict[str, Any]
) -> AsyncGenerator[Delta, None]:
    asked = pool_of(upstream)
    if upstream.served_as:
        return asked.client.stream(upstream.served_as, prompt, **options)
    return asked.open_stream(wanted.adapter, prompt, **options)


async def _until(source: AsyncGenerator[Delta, None], deadline: float) -> AsyncGenerator[Delta, None]:
    async with aclosing(source) as deltas:
        while True:
            async with asyncio.timeout(deadline - time.monotonic()):
                delta = await anext(deltas, None)
            if delta is None:
                return
            yield delta


class _Counted:
    """Counts how a try ends. One that its caller leaves is neither good nor bad.

    A failure of what is not on the market, a candidate or a test, is held against that alone: else one bad
    version could take the server from every expert. Where the server is at fault, the others' calls tell. A
    class, because a generator takes several times as long.
    """

    __slots__ = ("_upstream", "_wanted")

    def __init__(self, upstream: Upstream, wanted: Wanted) -> None:
        self._upstream, self._wanted = upstream, wanted

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            servers().ended(self._upstream, good=True)
        elif isinstance(error, RequestRefused | PromptTooLong):
            pass  # the request's fault, at any server
        elif isinstance(error, AdapterRefused):
            raise _Failed(error) from error
        elif isinstance(error, TimeoutError | NotReady | UpstreamFailed):
            if self._wanted.public:
                servers().ended(self._upstream, good=False)
            told = error if isinstance(error, EngineError) else UpstreamFailed("inference.too_slow")
            raise _Failed(told) from error


def _nobody(wanted: Wanted) -> NotReady:
    names = [
        one.name for one in servers().known() if upstreams.serves(one, wanted.name, public=wanted.public)
    ]
    if not names:
        return NotReady("serving.no_server", retry_after=30)
    return NotReady("serving.all_broken", retry_after=servers().patience(names))
