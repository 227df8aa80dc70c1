"""What a process knows of its model servers, by a clock that the test moves."""

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from engine.flows.upstream_health import Servers
from engine.kit.database import unit_of_work
from engine.serving import upstreams
from engine.serving.schemas import Upstream
from engine.serving.upstreams import UpstreamTerms
from tests import model_servers
from tests.model_servers import ModelServer


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_servers.running() as found:
        yield found


@pytest.fixture
def declared(model: None, server: ModelServer) -> Upstream:
    """The only server: the built-in one is turned off."""
    with unit_of_work() as uow:
        upstreams.change(uow, "local", {"enabled": False}, by_id="p")
        terms = UpstreamTerms(name="one", base_url=server.address, served_as="m")
        return upstreams.declare(uow, terms, by_id="p")


class Clock:
    """A time that moves when told to, in seconds."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


T = TypeVar("T")


async def within(work: Coroutine[Any, Any, T]) -> T:
    """Do something in this task, and fail when it does not end."""
    async with asyncio.timeout(20):
        return await work


def names(known: Servers) -> list[str]:
    async def order() -> list[str]:
        return [one.name for one in await known.order("help-desk", public=True)]

    return asyncio.run(order())  # a loop of its own each time, as in a job


def test_where_no_loop_goes_on_a_call_has_the_probe_made(declared: Upstream, server: ModelServer) -> None:
    clock = Clock()
    known = Servers(clock=clock)
    assert names(known) == ["one"] and known.state("one") is None
    for _ in range(5):
        known.ended(declared, good=False)
    assert names(known) == [] and server.probes == 0
    server.mood = "fails"
    clock.now += 10
    assert names(known) == [] and server.probes == 1
    server.mood = "well"
    clock.now += 19
    assert names(known) == [] and server.probes == 1
    clock.now += 1
    assert names(known) == ["one"] and server.probes == 2 and known.state("one") == "closed"


def test_nothing_is_probed_where_nothing_is_asked(declared: Upstream, server: ModelServer) -> None:
    clock = Clock()
    known = Servers(clock=clock)

    async def ask_and_wait() -> int:
        known.begin(declared)
        known.ended(declared, good=True)
        clock.now += 16  # nothing went well for so long
        while not server.probes:
            await asyncio.sleep(0.02)
        clock.now += 61  # nobody asks any more
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.02)
        return server.probes

    assert names(known) == ["one"] and server.probes == 0
    assert asyncio.run(within(ask_and_wait())) <= 2


def test_a_server_that_is_removed_is_not_probed_any_more(declared: Upstream, server: ModelServer) -> None:
    known = Servers()

    async def remove() -> None:
        known.begin(declared)
        for _ in range(5):
            known.ended(declared, good=False)
        with unit_of_work() as uow:
            upstreams.remove(uow, declared.id)
        known.forget_declared()
        while len(asyncio.all_tasks()) > 1:
            await asyncio.sleep(0.02)

    asyncio.run(within(remove()))
    assert server.probes == 0
