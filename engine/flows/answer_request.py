"""A paid answer: find the expert, hold credit, let it speak, settle what was delivered.

No transaction is open while the model speaks. Every exit (end, error, cancel, timeout) settles or
releases the hold; after a crash the sweep releases it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal

import anyio
import anyio.to_thread
from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.analytics import service as analytics
from engine.analytics.schemas import UsageEvent
from engine.billing import service as billing
from engine.billing.schemas import Receipt
from engine.flows import speak
from engine.flows.speak import Prompt, Sampling, Speaker
from engine.inference import state, tokens
from engine.inference.schemas import Delta, Usage
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, EngineError, NotReady
from engine.kit.ids import new_id
from engine.kit.logs import current_trace, logger
from engine.kit.money import token_price
from engine.kit.prompts import Message
from engine.kit.settings import settings
from engine.knowledge.retrieve import EVERYTHING
from engine.knowledge.schemas import Only, Passage
from engine.market import service as market
from engine.market.schemas import ExpertView

log = logger(__name__)


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """What was asked: `model` is the public name of a published expert, `only` narrows its knowledge."""

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    only: Only = EVERYTHING

    def __post_init__(self) -> None:
        require_question(self.messages)
        most = settings().max_model_len
        if not 1 <= self.sampling.max_tokens <= most:
            raise BadInput("chat.max_tokens", field="max_tokens", most=most)


def require_question(messages: Sequence[Message]) -> None:
    """Raise BadInput for a conversation that does not end with a person's turn, or has no words of theirs."""
    if not messages or messages[-1]["role"] != "user":
        raise BadInput("chat.no_question", field="messages")
    if not any(m["content"].strip() for m in messages if m["role"] == "user"):
        raise BadInput("chat.no_question", field="messages")


@dataclass(frozen=True, kw_only=True)
class AnswerPart:
    """One piece of an answer: first the passages and the hold, then words, at last how it ended."""

    kind: Literal["passages", "text", "done"]
    text: str = ""
    passages: Sequence[Passage] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    receipt: Receipt | None = None
    hold_id: str | None = None


@dataclass(kw_only=True)
class Ticket:
    """A call under way, from its admission to its settlement."""

    person: Person
    expert: ExpertView
    prompt: Prompt
    sampling: Sampling
    input_tokens: int
    hold_id: str
    started: float
    first_word: float | None = None
    delivered: list[str] = field(default_factory=list)
    usage: Usage | None = None
    finish_reason: str | None = None


def admit(person: Person, request: ChatRequest) -> Ticket:
    """Check the request and hold what it may cost at most.

    Raises NotFound for an unknown expert, NotReady while the model server warms up, BadInput when the
    conversation is too long, InsufficientCredit with the amount missing.
    """
    started = time.monotonic()
    with unit_of_work() as uow:
        expert = market.by_name(uow, request.model)
    if not state.answers():
        raise NotReady("inference.warming_up", retry_after=10)
    prompt = speak.prompt_for(Speaker.of(expert), request.messages, request.only)
    input_tokens = tokens.of_messages(prompt.messages)
    room = settings().max_model_len - input_tokens
    if room < 1:
        raise BadInput("chat.too_long", field="messages", tokens=input_tokens, most=settings().max_model_len)
    sampling = request.sampling.limited(min(request.sampling.max_tokens, room))
    worst = token_price(
        input_tokens, sampling.max_tokens, expert.input_price_micro, expert.output_price_micro
    )
    call_id = new_id("call")
    with unit_of_work() as uow:
        held = billing.hold(
            uow,
            tenant_id=person.tenant_id,
            amount_micro=worst,
            key=call_id,
            subject={"model": expert.name, "person_id": person.id, "trace_id": current_trace()},
            expires_at=now() + timedelta(seconds=settings().hold_timeout),
        )
    return Ticket(
        person=person,
        expert=expert,
        prompt=prompt,
        sampling=sampling,
        input_tokens=input_tokens,
        hold_id=held.id,
        started=started,
    )


def settle(ticket: Ticket) -> Receipt:
    """Pay for the words that were delivered, or release the hold when there were none."""
    outcome = ticket.finish_reason or "cancelled"
    if not ticket.delivered and outcome in ("failed", "cancelled"):
        with unit_of_work() as uow:
            receipt = billing.release(uow, ticket.hold_id, outcome)
            _record(uow, ticket, Usage(prompt_tokens=0, completion_tokens=0), receipt, outcome)
        return receipt
    usage = ticket.usage or Usage(
        prompt_tokens=ticket.input_tokens, completion_tokens=tokens.of_text("".join(ticket.delivered))
    )
    expert = ticket.expert
    cost = token_price(
        usage.prompt_tokens, usage.completion_tokens, expert.input_price_micro, expert.output_price_micro
    )
    with unit_of_work() as uow:
        receipt = billing.settle(
            uow,
            hold_id=ticket.hold_id,
            amount_micro=cost,
            developer_tenant_id=expert.tenant_id,
            usage={
                "model": expert.name,
                "version": expert.version,
                "input_tokens": usage.prompt_tokens,
                "output_tokens": usage.completion_tokens,
                "input_price_micro": expert.input_price_micro,
                "output_price_micro": expert.output_price_micro,
                "finish": outcome,
            },
        )
        _record(uow, ticket, usage, receipt, outcome)
        market.count_use(uow, expert.id, usage.prompt_tokens + usage.completion_tokens)
    return receipt


def _record(uow: Session, ticket: Ticket, usage: Usage, receipt: Receipt, outcome: str) -> None:
    finished = time.monotonic()
    first = ticket.first_word
    analytics.record(
        uow,
        UsageEvent(
            at=now(),
            tenant_id=ticket.person.tenant_id,
            person_id=ticket.person.id,
            expert_id=ticket.expert.id,
            expert_name=ticket.expert.name,
            developer_tenant_id=ticket.expert.tenant_id,
            input_tokens=usage.prompt_tokens,
            output_tokens=usage.completion_tokens,
            charged_micro=receipt.charged_micro,
            developer_micro=receipt.developer_micro,
            platform_micro=receipt.platform_micro,
            latency_ms=round((finished - ticket.started) * 1000),
            first_token_ms=round((first - ticket.started) * 1000) if first else None,
            outcome=outcome,
        ),
    )


async def _admitted(person: Person, request: ChatRequest) -> Ticket:
    """Admit in a thread; when the caller leaves meanwhile, the hold is released as soon as it stands."""
    admission = asyncio.ensure_future(asyncio.to_thread(admit, person, request))
    try:
        return await asyncio.shield(admission)
    except asyncio.CancelledError:
        admission.add_done_callback(_abandon)
        raise


def _abandon(admission: asyncio.Future[Ticket]) -> None:
    if not admission.cancelled() and admission.exception() is None:
        admission.get_loop().run_in_executor(None, settle, admission.result())


async def _spoken(ticket: Ticket) -> AsyncGenerator[Delta, None]:
    """Yield the model's words and note on the ticket what was delivered."""
    spoken = speak.words(Speaker.of(ticket.expert), ticket.prompt.messages, ticket.sampling)
    async with aclosing(spoken) as deltas:
        async for delta in deltas:
            ticket.usage = delta.usage or ticket.usage
            ticket.finish_reason = delta.finish_reason or ticket.finish_reason
            if delta.text:
                ticket.first_word = ticket.first_word or time.monotonic()
                ticket.delivered.append(delta.text)
                yield delta


async def answer(person: Person, request: ChatRequest) -> AsyncGenerator[AnswerPart, None]:
    """Yield a paid answer part by part; the last part carries usage and receipt.

    Raises what `admit` raises before the first part, and UpstreamFailed or NotReady when the model
    breaks off. Closing the iterator stops the model; the words delivered until then are paid for.
    """
    ticket = await _admitted(person, request)
    try:
        yield AnswerPart(kind="passages", passages=ticket.prompt.passages, hold_id=ticket.hold_id)
        async with aclosing(_spoken(ticket)) as deltas:
            async for delta in deltas:
                yield AnswerPart(kind="text", text=delta.text)
        ticket.finish_reason = ticket.finish_reason or "stop"
    except EngineError:
        ticket.finish_reason = "failed"
        raise
    finally:
        with anyio.CancelScope(shield=True):
            receipt = await anyio.to_thread.run_sync(settle, ticket)
        log.info(
            "answered",
            model=ticket.expert.name,
            outcome=ticket.finish_reason or "cancelled",
            charged_micro=receipt.charged_micro,
        )
    yield AnswerPart(
        kind="done",
        finish_reason=ticket.finish_reason,
        usage=ticket.usage or _counted(ticket),
        receipt=receipt,
    )


def _counted(ticket: Ticket) -> Usage:
    return Usage(
        prompt_tokens=ticket.input_tokens, completion_tokens=tokens.of_text("".join(ticket.delivered))
    )


async def trial(
    person: Person, expert_id: str, messages: Sequence[Message]
) -> AsyncGenerator[AnswerPart, None]:
    """Yield a free answer of an expert that is not on the market yet, to its owner or a reviewer.

    Raises NotFound or Forbidden for anybody else.
    """

    def look_up() -> tuple[Speaker, Prompt]:
        with unit_of_work() as uow:
            expert = market.get(uow, expert_id, viewer=person)
        if expert.tenant_id != person.tenant_id:
            require(person, "reviewer")
        speaker = Speaker.of(expert)
        return speaker, speak.prompt_for(speaker, messages)

    speaker, prompt = await anyio.to_thread.run_sync(look_up)
    async with aclosing(unpaid(speaker, prompt)) as parts:
        async for part in parts:
            yield part


async def unpaid(speaker: Speaker, prompt: Prompt) -> AsyncGenerator[AnswerPart, None]:
    """Yield an answer that nobody pays for; the caller knows who may have it. Closing it stops the model."""
    yield AnswerPart(kind="passages", passages=prompt.passages)
    finish: str | None = None
    usage: Usage | None = None
    async with aclosing(speak.words(speaker, prompt.messages)) as deltas:
        async for delta in deltas:
            finish, usage = delta.finish_reason or finish, delta.usage or usage
            if delta.text:
                yield AnswerPart(kind="text", text=delta.text)
    yield AnswerPart(kind="done", finish_reason=finish or "stop", usage=usage)
