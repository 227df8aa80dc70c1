"""The pool on a server that can be restarted, and so forgets its adapters."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from engine.inference import adapters
from engine.inference.adapters import Adapter, Exact, adapter_name
from engine.inference.errors import ModelMissing
from engine.inference.fake import FakeModel
from engine.inference.pool import ModelPool, open_stream, pool
from engine.inference.schemas import Delta
from engine.kit.errors import NotReady, UpstreamFailed
from engine.kit.prompts import Message
from engine.kit.settings import settings

QUESTION: list[Message] = [{"role": "user", "content": "hello"}]
PREFIX = "adapters/run_1"


class Restartable(FakeModel):
    """Knows only loaded adapters. `break_after` pieces it dies once, as an unknown model."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.stuck = False
        self.break_after: int | None = None

    def restart(self) -> None:
        self._adapters.clear()

    async def load_adapter(self, name: str, folder: Path) -> None:
        self.loads.append(name)
        await super().load_adapter(name, folder)

    async def unload_adapter(self, name: str) -> None:
        if self.stuck:
            raise UpstreamFailed("inference.too_slow")
        await super().unload_adapter(name)

    async def stream(self, model: str, messages: Sequence[Message], **params: Any) -> AsyncIterator[Delta]:
        if model not in await self.models():
            raise ModelMissing("inference.model_missing")
        made = 0
        async for delta in super().stream(model, messages, **params):
            if made == self.break_after:
                raise ModelMissing("inference.model_missing")
            made += 1
            yield delta


@pytest.fixture
def server() -> Restartable:
    return Restartable()


async def say(pool: ModelPool, prefix: str | None = PREFIX) -> str:
    return "".join([d.text async for d in pool.open_stream(prefix, QUESTION)])


def test_an_adapter_is_loaded_once_per_life_of_the_server(server: Restartable) -> None:
    pool = ModelPool(server, materialise=Path)
    name = adapter_name(PREFIX)
    assert asyncio.run(pool.ensure(PREFIX)) == name
    assert asyncio.run(say(pool)) == asyncio.run(say(pool))
    assert server.loads == [name]
    server.restart()
    assert asyncio.run(say(pool))
    assert server.loads == [name, name]


def test_an_adapter_served_already_is_neither_fetched_nor_loaded(server: Restartable) -> None:
    asyncio.run(server.load_adapter(adapter_name(PREFIX), Path()))

    def never(_: str) -> Path:
        raise AssertionError("fetched")

    assert asyncio.run(say(ModelPool(server, materialise=never)))
    assert len(server.loads) == 1


def test_nothing_is_said_twice_when_the_server_dies_in_mid_answer(server: Restartable) -> None:
    server.break_after = 2
    heard: list[str] = []

    async def listen() -> None:
        async for delta in ModelPool(server, materialise=Path).open_stream(PREFIX, QUESTION):
            heard.append(delta.text)

    with pytest.raises(ModelMissing):
        asyncio.run(listen())
    assert len(heard) == 2


def test_a_server_that_forgets_at_once_is_asked_twice_only(server: Restartable) -> None:
    server.break_after = 0
    with pytest.raises(ModelMissing):
        asyncio.run(say(ModelPool(server, materialise=Path)))


class Elsewhere(FakeModel):
    """A remote server with a name of its own for its model."""

    served: tuple[str, ...] = ("some-model",)

    async def models(self) -> list[str]:
        return list(self.served)


def test_a_remote_server_names_its_base_model() -> None:
    remote = Elsewhere()
    assert asyncio.run(ModelPool(remote).ensure(None)) == "some-model"
    remote.served = ()
    with pytest.raises(NotReady):
        asyncio.run(ModelPool(remote).ensure(None))


def test_settings_choose_the_fake(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_INFERENCE", "fake")
    settings.cache_clear()
    pool.cache_clear()

    async def listen() -> str:
        return "".join([d.text async for d in open_stream(PREFIX, QUESTION)])

    assert asyncio.run(listen()) == "I could not find this in the documents."
    pool.cache_clear()


def checkpoint(step: int) -> Exact:
    return Exact(prefix=f"checkpoints/run_1/step-{step}", config="c", weights=f"w{step}")


class InHome:
    """Stands for fetching: the folder alone, each a second younger than the one before."""

    fetched = 0

    def __call__(self, adapter: Adapter) -> Path:
        folder = settings().home / "adapters" / "exact" / adapter_name(adapter)
        folder.mkdir(parents=True, exist_ok=True)
        self.fetched += 1
        os.utime(folder, (self.fetched, self.fetched))
        return folder


def test_of_adapters_that_are_tried_only_the_last_few_stay(server: Restartable, home: Path) -> None:
    tried = ModelPool(server, materialise=InHome())
    asyncio.run(ModelPool(server, materialise=Path).ensure(PREFIX))
    names = [asyncio.run(tried.ensure(checkpoint(step))) for step in range(12)]
    kept = names[-adapters.MOST_EXACT :]
    assert set(asyncio.run(server.models())) == {"base", adapter_name(PREFIX), *kept}
    assert {path.name for path in (home / "adapters" / "exact").iterdir()} == set(kept)

    async def again() -> str:
        return "".join([d.text async for d in tried.open_stream(checkpoint(0), QUESTION)])

    assert asyncio.run(again()) and server.loads.count(names[0]) == 2


def test_files_that_a_server_may_still_read_are_not_deleted(server: Restartable, home: Path) -> None:
    server.stuck = True
    tried = ModelPool(server, materialise=InHome())
    for step in range(10):
        asyncio.run(tried.ensure(checkpoint(step)))
    assert len(list((home / "adapters" / "exact").iterdir())) == 10
    server.stuck = False
    asyncio.run(tried.ensure(checkpoint(10)))
    assert len(list((home / "adapters" / "exact").iterdir())) == adapters.MOST_EXACT
