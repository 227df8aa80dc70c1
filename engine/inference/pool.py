"""Which name to ask the model server for, with the adapter loaded when the server lacks it."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.inference import adapters
from engine.inference.adapters import Adapter, Exact
from engine.inference.client import ChatModel, ModelClient, Prompt
from engine.inference.errors import ModelMissing
from engine.inference.fake import FakeModel
from engine.inference.launch import choose_backend
from engine.inference.schemas import BASE, Completion, Delta, TokenScore
from engine.kit.errors import EngineError, NotReady
from engine.kit.logs import logger
from engine.kit.settings import settings

log = logger(__name__)


class ModelPool:
    """Adapters on one model server.

    What was loaded is remembered only as a hint: a server that restarted has forgotten, answers
    that the model is missing, and the adapter is loaded again. Other processes may load the same
    adapter at the same time; the server takes the second load as done. Of exact adapters only the few
    that were loaded last stay; one that is asked again after that is loaded again.
    """

    def __init__(
        self, client: ChatModel, *, materialise: Callable[[Adapter], Path] = adapters.materialise
    ) -> None:
        self.client = client
        self._materialise = materialise
        self._known: set[str] = set()

    async def ensure(self, adapter: Adapter | None) -> str:
        """Return the name served for the base (None) or for an adapter.

        Raises NotReady, NotFound when the adapter is not stored, Conflict when other bytes are, BadInput
        when its files are not an adapter we accept, and UpstreamFailed when the server refuses it.
        """
        name = adapters.adapter_name(adapter) if adapter else BASE
        if name in self._known:
            return name
        served = await self.client.models()
        if adapter is None and BASE not in served:
            if not served:
                raise NotReady("inference.warming_up", retry_after=5)
            return served[0]  # a remote server names its model as it likes
        if adapter is not None and name not in served:
            folder = await asyncio.to_thread(self._materialise, adapter)
            await self.client.load_adapter(name, folder)
            if isinstance(adapter, Exact):
                await self._let_go()
        self._known.add(name)
        return name

    async def _let_go(self) -> None:
        """Unload the exact adapters that are too many, and only then delete what the server reads."""
        for name in await asyncio.to_thread(adapters.surplus):
            try:
                await self.client.unload_adapter(name)
            except EngineError as error:
                log.warning("adapter not unloaded", name=name, reason=str(error))
                continue
            self._known.discard(name)
            await asyncio.to_thread(adapters.forget, name)

    async def score(self, adapter_prefix: str, ids: Sequence[int]) -> list[TokenScore]:
        """Return how likely an adapter finds each token; see ModelClient.score."""
        for last_try in (False, True):
            name = await self.ensure(adapter_prefix)
            try:
                return await self.client.score(name, ids)
            except ModelMissing:
                self._known.discard(name)
                if last_try:
                    raise
        raise AssertionError("the second try returns or raises")

    async def open_stream(
        self, adapter: Adapter | None, prompt: Prompt, **options: Any
    ) -> AsyncGenerator[Delta, None]:
        """Yield an answer of the base or of an adapter, loading the adapter once more if need be.

        The second try happens only while nothing was delivered. Raises what `ensure` and
        `ModelClient.stream` raise.
        """
        for last_try in (False, True):
            name = await self.ensure(adapter)
            delivered = False
            try:
                async with aclosing(self.client.stream(name, prompt, **options)) as deltas:
                    async for delta in deltas:
                        delivered = True
                        yield delta
                return
            except ModelMissing:
                self._known.discard(name)
                if delivered or last_try:
                    raise

    async def complete(self, adapter: Adapter | None, prompt: Prompt, **options: Any) -> Completion:
        """Return a whole answer, loading the adapter once more if need be; see `open_stream`."""
        for last_try in (False, True):
            name = await self.ensure(adapter)
            try:
                return await self.client.complete(name, prompt, **options)
            except ModelMissing:
                self._known.discard(name)
                if last_try:
                    raise
        raise AssertionError("the second try returns or raises")


@lru_cache(maxsize=1)
def pool() -> ModelPool:
    """Return the pool of this process, on the server that the settings name."""
    if settings().inference == "fake":
        return ModelPool(FakeModel(), materialise=lambda _: Path())
    running_usage = choose_backend() != "remote"
    return ModelPool(ModelClient(settings().model_url, settings().inference_key, running_usage=running_usage))


@lru_cache(maxsize=128)
def pool_at(base_url: str, key: str, running_usage: bool) -> ModelPool:
    """Return the pool of this process on another server, by its address without `/v1`."""
    return ModelPool(ModelClient(base_url, key or None, running_usage=running_usage))


async def ensure(adapter: Adapter | None) -> str:
    """Return the served name of an adapter, or of the base for None; see ModelPool.ensure."""
    return await pool().ensure(adapter)


def open_stream(adapter: Adapter | None, prompt: Prompt, **options: Any) -> AsyncGenerator[Delta, None]:
    """Yield an answer; see ModelPool.open_stream."""
    return pool().open_stream(adapter, prompt, **options)


async def complete(adapter: Adapter | None, prompt: Prompt, **options: Any) -> Completion:
    """Return a whole answer; see ModelPool.complete."""
    return await pool().complete(adapter, prompt, **options)
