"""What callers of an expert get when no model server answers: the text of its owner, for nothing."""

import time
from collections.abc import AsyncGenerator, Awaitable, Mapping
from contextlib import aclosing

import anyio.to_thread

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows import try_upstreams
from engine.flows.call_ticket import Ticket
from engine.flows.speak import Speaker
from engine.inference.schemas import Completion, Delta, Usage
from engine.kit.database import unit_of_work
from engine.kit.errors import EngineError, NotFound, NotReady, UpstreamFailed
from engine.market import service as market
from engine.serving import degraded
from engine.serving.schemas import Degraded

HEADERS = {"X-Degraded": "1"}
KNOWN_SECONDS = 1.0
MOST_KNOWN = 1000

_known: dict[str, tuple[float, str | None]] = {}


def declare(person: Person, name: str, text: str) -> Degraded:
    """Have callers of one's own expert get this text when no server answers.

    Raises NotFound for a name that the person's tenant does not have, BadInput for a text that is none.
    """
    require(person, "developer")
    with unit_of_work() as uow:
        market.require_name(uow, name, tenant_id=person.tenant_id)
        written = degraded.declare(uow, name, text, tenant_id=person.tenant_id, by_id=person.id)
    _known.pop(name, None)
    return written


def find(person: Person, name: str) -> Degraded:
    """Return the text of one's own expert. Raises NotFound, also when none is declared."""
    require(person, "developer")
    with unit_of_work() as uow:
        market.require_name(uow, name, tenant_id=person.tenant_id)
        found = degraded.find(uow, name)
    if found is None:
        raise NotFound("serving.no_degraded", name=name)
    return found


def remove(person: Person, name: str) -> None:
    """Have callers of one's own expert be told of a failure again."""
    require(person, "developer")
    with unit_of_work() as uow:
        market.require_name(uow, name, tenant_id=person.tenant_id)
        degraded.remove(uow, name)
    _known.pop(name, None)


async def require_answer(speaker: Speaker) -> None:
    """Raise NotReady when neither a model server nor a declared text can answer for an expert."""
    if not await try_upstreams.possible(speaker.wanted) and await _text(speaker.name) is None:
        raise NotReady("inference.warming_up", retry_after=10)


async def words(
    ticket: Ticket, spoken: AsyncGenerator[Delta, None], *, plain: bool = False, choices: int = 1
) -> AsyncGenerator[Delta, None]:
    """Yield what is spoken, or the declared text when that fails before anything came.

    `plain` is for the continuation of a text. Closing it closes what is spoken.
    """
    begun = False
    try:
        async with aclosing(spoken) as deltas:
            async for delta in deltas:
                begun = True
                yield delta
        return
    except (NotReady, UpstreamFailed) as error:
        text = None if begun else await _instead(ticket, error)
        if text is None:
            raise
    said = {"text": text} if plain else {"delta": {"role": "assistant", "content": text}}
    yield Delta(text=text, finish_reason="stop", choices=_choices(said, choices))


async def broken(error: EngineError) -> AsyncGenerator[Delta, None]:
    """Fail as an answer does that never began."""
    if error is not None:
        raise error
    yield Delta()


async def whole(
    ticket: Ticket, spoken: Awaitable[Completion], *, plain: bool = False, choices: int = 1
) -> Completion:
    """Return what is spoken, or the declared text when that fails; see `words`."""
    try:
        return await spoken
    except (NotReady, UpstreamFailed) as error:
        text = await _instead(ticket, error)
        if text is None:
            raise
    said = {"text": text} if plain else {"message": {"role": "assistant", "content": text}}
    return Completion(text=text, finish_reason="stop", usage=None, choices=_choices(said, choices))


def _choices(said: Mapping[str, object], count: int) -> tuple[dict[str, object], ...]:
    return tuple({"index": n, **said, "finish_reason": "stop", "logprobs": None} for n in range(count))


async def _instead(ticket: Ticket, error: EngineError) -> str | None:
    """Return the text that stands in for a failure, and note on the ticket that nothing is to be paid."""
    if error.status < 500:
        return None  # the request's fault
    text = await _text(ticket.offer.expert.name)
    if text is not None:
        ticket.degraded = True
        ticket.usage = Usage(prompt_tokens=0, completion_tokens=0)
    return text


async def _text(name: str) -> str | None:
    """Return the declared text of an expert as it was at most a second ago."""
    at = time.monotonic()
    if name not in _known or _known[name][0] < at - KNOWN_SECONDS:
        found = await anyio.to_thread.run_sync(_read, name)
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[name] = at, found
    return _known[name][1]


def _read(name: str) -> str | None:
    with unit_of_work() as uow:
        found = degraded.find(uow, name)
    return found.text if found else None


def forget() -> None:
    """Know no text (tests)."""
    _known.clear()
