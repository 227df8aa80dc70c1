"""Which version of an expert answers a call, and what the stable one takes over from a failed candidate.

Nothing is worked out here while no rollout of the name runs.
"""

import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from engine.flows.call_ticket import Offer, Ticket
from engine.inference.errors import PromptTooLong, RequestRefused
from engine.inference.schemas import Delta
from engine.kit.clock import now
from engine.kit.errors import BadInput, EngineError, NotReady
from engine.kit.logs import logger
from engine.kit.prompts import Message
from engine.serving import rollouts
from engine.serving.rollout_schemas import Arm, Outcome

log = logger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """What a caller says about who should answer: a strategy by its name, and which conversation this is.

    Raises BadInput naming the header at fault.
    """

    strategy: str | None = None
    conversation: str | None = None

    def __post_init__(self) -> None:
        rollouts.check_strategy(self.strategy)
        rollouts.check_conversation(self.conversation)


ANYHOW = Routing()


def of_chat(offer: Offer, routing: Routing, messages: Sequence[Message]) -> Offer:
    """Return the offer with the version that answers a conversation; one that goes on keeps its version."""
    if offer.trial is None:
        return offer
    return _routed(offer, routing, next((m["content"] for m in messages if m["role"] == "user"), ""))


def of_text(offer: Offer, routing: Routing, prompt: str) -> Offer:
    """Return the offer with the version that goes on with a text."""
    return offer if offer.trial is None else _routed(offer, routing, prompt)


def _routed(offer: Offer, routing: Routing, words: str) -> Offer:
    """Choose by the conversation's id, else by its first words, of this tenant."""
    assert offer.trial is not None
    tenant = offer.caller.person.tenant_id
    if routing.conversation is not None:
        key = f"{tenant}\nid\n{routing.conversation}"
    else:
        key = hashlib.sha256(f"{tenant}\n{words}".encode("utf-8", "surrogatepass")).hexdigest()
    arm = rollouts.arm_of(offer.trial.rollout, routing.strategy, key)
    return replace(offer, expert=offer.trial.candidate, arm=arm) if arm == "candidate" else offer


async def prepared(offer: Offer, prepare: Callable[[Offer], Awaitable[T]]) -> tuple[Offer, T]:
    """Prepare an answer; what a candidate cannot even begin is the stable version's.

    A request that does not fit the candidate (too long beside its prompt, say) is not held against it.
    """
    if offer.arm != "candidate":
        return offer, await prepare(offer)
    try:
        return offer, await prepare(offer)
    except NotReady:
        raise
    except EngineError as error:
        instead = offer.stable(failed_at=None if isinstance(error, BadInput) else time.monotonic())
        log.warning("a candidate could not begin", version=offer.expert.id, reason=str(error)[:300])
        return instead, await prepare(instead)


def gives_way(ticket: Ticket, error: EngineError) -> bool:
    """Say whether a call goes on with the stable version: its candidate failed before its first word.

    Then the ticket is the stable version's. The caller's own mistakes, and a model server that is not there,
    are no candidate's failures.
    """
    if ticket.offer.arm != "candidate" or ticket.delivered or not blamed(error):
        return False
    log.warning("a candidate gave way", version=ticket.offer.expert.id, reason=str(error)[:300])
    ticket.give_way()
    return True


def blamed(error: BaseException | None) -> bool:
    """Say whether an error is the answering version's own."""
    return isinstance(error, EngineError) and not isinstance(error, NotReady | RequestRefused | PromptTooLong)


async def beginning(words: AsyncGenerator[Delta, None]) -> list[Delta]:
    """Return what is said up to the first word. Raises what stands in its way."""
    said: list[Delta] = []
    async for delta in words:
        said.append(delta)
        if delta.text:
            break
    return said


async def joined(said: Sequence[Delta], words: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    """Yield a beginning and what follows it. Whoever has the words closes them."""
    for delta in said:
        yield delta
    async for delta in words:
        yield delta


def outcomes(ticket: Ticket) -> list[Outcome]:
    """Return what a call says about the versions in traffic: nothing when its caller left, or was at fault.

    The latency is that of the whole call for an answer in one piece, and to the first token for a stream.
    """
    offer = ticket.offer
    if offer.trial is None:
        return []
    rollout, at, began = offer.trial.rollout.id, now(), ticket.started
    found: list[Outcome] = []

    def add(version_id: str, arm: Arm, failed: bool, until: float) -> None:
        ms = max(0, round((until - began) * 1000))
        found.append(
            Outcome(rollout_id=rollout, version_id=version_id, arm=arm, failed=failed, latency_ms=ms, at=at)
        )

    if offer.failed_at is not None:
        add(offer.trial.candidate.id, "candidate", True, offer.failed_at)
        began = offer.failed_at
    if ticket.outcome != "cancelled" and (ticket.outcome != "failed" or ticket.blamed):
        add(offer.expert.id, offer.arm, ticket.outcome == "failed", ticket.first_word or time.monotonic())
    return found
