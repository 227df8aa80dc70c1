"""A paid answer: find the expert, hold credit, let it speak, settle what was delivered.

No transaction is open while the model speaks. Every exit (end, error, cancel, timeout) settles or
releases the hold; after a crash the sweep releases it.
"""

import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import anyio.to_thread

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.billing.schemas import Receipt
from engine.flows import charge_call, degraded_answers, route_call, speak
from engine.flows.call_ticket import Credentials, Offer, Ticket
from engine.flows.route_call import ANYHOW, Routing
from engine.flows.speak import Prompt, Sampling, Speaker
from engine.inference import tokens
from engine.inference.schemas import Completion, Delta, Usage
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, EngineError
from engine.kit.prompts import Message
from engine.kit.settings import settings
from engine.knowledge.retrieve import EVERYTHING
from engine.knowledge.schemas import Only, Passage
from engine.market import service as market


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """What was asked: `model` is the public name of a published expert, `only` narrows its knowledge."""

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    only: Only = EVERYTHING

    def __post_init__(self) -> None:
        require_question(self.messages)
        require_room(self.sampling)


def require_question(messages: Sequence[Message]) -> None:
    """Raise BadInput for a conversation that does not end with a person's turn, or has no words of theirs."""
    if not messages or messages[-1]["role"] not in ("user", "tool"):
        raise BadInput("chat.no_question", field="messages")
    if not any(m["content"].strip() for m in messages if m["role"] == "user"):
        raise BadInput("chat.no_question", field="messages")


LONGEST_TOKEN = 64  # characters


def require_length(characters: int, field: str) -> None:
    """Raise BadInput for a text that no model here can read; tokens need not be counted to know it."""
    most = settings().max_model_len
    if characters > LONGEST_TOKEN * most:
        raise BadInput("chat.too_long", field=field, tokens=characters // 4, most=most)


def _tokens_beside(sampling: Sampling) -> int:
    """Return the tokens of what is read beside the conversation: tools, and the shape of the answer."""
    read = [sampling.more[name] for name in ("tools", "response_format") if name in sampling.more]
    return tokens.of_text(json.dumps(read, ensure_ascii=False)) if read else 0


def require_room(sampling: Sampling) -> None:
    """Raise BadInput for a limit of tokens that no model here has room for."""
    most = settings().max_model_len
    if not 1 <= sampling.max_tokens <= most:
        raise BadInput("chat.max_tokens", field="max_tokens", most=most)


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerPart:
    """One piece of an answer: first the passages and the hold, then words, at last how it ended.

    `choices` are OpenAI's, as the model server sent them; `headers` of the first part tell of limits, those
    of words that they only stand in for an answer.
    """

    kind: Literal["passages", "text", "done"]
    text: str = ""
    choices: Sequence[Mapping[str, Any]] = ()
    passages: Sequence[Passage] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    receipt: Receipt | None = None
    hold_id: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the model will read, and how it is to speak."""

    speaker: Speaker
    prompt: Prompt
    sampling: Sampling
    input_tokens: int

    def words(self) -> AsyncGenerator[Delta, None]:
        """Yield the answer as it is spoken."""
        return speak.words(self.speaker, self.prompt.messages, self.sampling)

    async def whole(self) -> Completion:
        """Return the answer in one piece."""
        return await speak.whole(self.speaker, self.prompt.messages, self.sampling)


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """A call that may begin: its ticket, and what its version will read and do."""

    ticket: Ticket
    prepared: Prepared

    async def stable(self, request: ChatRequest) -> "Admitted":
        """Return the call as the stable version answers it, after its candidate gave way."""
        prepared = await _prepare(self.ticket.offer, request)
        self.ticket.input_tokens = prepared.input_tokens
        return replace(self, prepared=prepared)


async def _prepare(offer: Offer, request: ChatRequest) -> Prepared:
    speaker = Speaker.of(offer.expert)
    if speaker.knowledge_base_ids:
        prompt = await anyio.to_thread.run_sync(speak.prompt_for, speaker, request.messages, request.only)
    else:
        prompt = speak.prompt_for(speaker, request.messages, request.only)
    input_tokens = tokens.of_messages(prompt.messages) + _tokens_beside(request.sampling)
    room = settings().max_model_len - input_tokens
    if room < 1:
        raise BadInput("chat.too_long", field="messages", tokens=input_tokens, most=settings().max_model_len)
    sampling = request.sampling.limited(min(request.sampling.max_tokens, room))
    return Prepared(speaker=speaker, prompt=prompt, sampling=sampling, input_tokens=input_tokens)


@asynccontextmanager
async def admitted(offer: Offer, request: ChatRequest) -> AsyncIterator[Admitted]:
    """Prepare an answer, hold what it may cost at most, and settle at the end of the block.

    Raises NotReady while no model server could answer, BadInput when the conversation is too long,
    InsufficientCredit with the amount missing.
    """
    started = time.monotonic()
    await degraded_answers.require_answer(Speaker.of(offer.trial.stable if offer.trial else offer.expert))
    require_length(sum(len(m["content"]) for m in request.messages), "messages")
    offer, prepared = await route_call.prepared(offer, lambda one: _prepare(one, request))
    async with charge_call.paid(
        offer,
        input_tokens=prepared.input_tokens,
        most_output=prepared.sampling.max_tokens,
        choices=prepared.sampling.choices,
        started=started,
    ) as ticket:
        yield Admitted(ticket=ticket, prepared=prepared)


async def _opened(
    call: Admitted, request: ChatRequest
) -> tuple[Admitted, list[Delta], AsyncGenerator[Delta, None]]:
    """Return a call and its words. Those of a candidate have begun, or they are the stable version's."""
    words = call.prepared.words()
    if call.ticket.offer.arm == "candidate":
        try:
            return call, await route_call.beginning(words), words
        except EngineError as error:
            if route_call.gives_way(call.ticket, error):
                call = await call.stable(request)
                words = call.prepared.words()
            else:
                words = degraded_answers.broken(error)
    return call, [], degraded_answers.words(call.ticket, words, choices=call.prepared.sampling.choices)


async def _spoken(call: Admitted, request: ChatRequest) -> tuple[Admitted, Completion]:
    """Return a call and its answer; where its candidate gives way, they are the stable version's."""

    async def spoken() -> Completion:
        nonlocal call
        try:
            return await call.prepared.whole()
        except EngineError as error:
            if not route_call.gives_way(call.ticket, error):
                raise
        call = await call.stable(request)
        return await call.prepared.whole()

    choices = call.prepared.sampling.choices
    completion = await degraded_answers.whole(call.ticket, spoken(), choices=choices)
    return call, completion


async def answer(
    who: Person | Offer, request: ChatRequest, routing: Routing = ANYHOW
) -> AsyncGenerator[AnswerPart, None]:
    """Yield a paid answer part by part; the last part carries usage and receipt.

    Raises what `charge_call.look_up` and `admitted` raise before the first part, and UpstreamFailed or
    NotReady when the model breaks off. Closing the iterator stops the model; the words delivered until then
    are paid for. `routing` is a person's; an offer has its version already.
    """
    if isinstance(who, Offer):
        offer = who
    else:
        offer = await charge_call.look_up(Credentials(person=who), request.model)
        offer = route_call.of_chat(offer, routing, request.messages)
    async with admitted(offer, request) as call:
        call, begun, words = await _opened(call, request)
        ticket = call.ticket
        async with aclosing(words):
            yield AnswerPart(
                kind="passages",
                passages=call.prepared.prompt.passages,
                hold_id=ticket.hold_id,
                headers=ticket.headers,
            )
            async for delta in route_call.joined(begun, words):
                ticket.take(delta)
                if delta.text or delta.choices:
                    told = degraded_answers.HEADERS if ticket.degraded else {}
                    yield AnswerPart(kind="text", text=delta.text, choices=delta.choices, headers=told)
    yield AnswerPart(
        kind="done", finish_reason=ticket.finish_reason, usage=ticket.counted, receipt=ticket.receipt
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class WholeAnswer:
    """A paid answer that came in one piece."""

    completion: Completion
    passages: Sequence[Passage]
    usage: Usage
    receipt: Receipt
    headers: Mapping[str, str]


async def whole_answer(offer: Offer, request: ChatRequest) -> WholeAnswer:
    """Return a paid answer. Cancelling it stops the model; nothing was delivered, so nothing is paid."""
    async with admitted(offer, request) as call:
        call, completion = await _spoken(call, request)
        call.ticket.take(completion)
    receipt = call.ticket.receipt
    assert receipt is not None
    return WholeAnswer(
        completion=completion,
        passages=call.prepared.prompt.passages,
        usage=call.ticket.counted,
        receipt=receipt,
        headers=call.ticket.headers | (degraded_answers.HEADERS if call.ticket.degraded else {}),
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
