"""A paid continuation of a plain text: OpenAI's older kind of request."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from engine.flows import charge_call, degraded_answers, route_call, speak
from engine.flows.answer_request import AnswerPart, WholeAnswer, require_length, require_room
from engine.flows.call_ticket import Offer, Ticket
from engine.flows.speak import Sampling, Speaker
from engine.inference import tokens
from engine.inference.schemas import Completion, Delta
from engine.kit.errors import BadInput, EngineError
from engine.kit.settings import settings


@dataclass(frozen=True, kw_only=True)
class TextRequest:
    """What was asked: `model` is the public name of a published expert."""

    model: str
    prompt: str
    sampling: Sampling = field(default_factory=Sampling)

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise BadInput("chat.no_prompt", field="prompt")
        require_room(self.sampling)


async def _prepare(offer: Offer, request: TextRequest) -> tuple[int, Sampling]:
    """Return the tokens that are read and how the version of an offer is to speak."""
    if offer.expert.template:
        raise BadInput("chat.only_in_turns", field="model", name=offer.expert.name)
    input_tokens = tokens.of_text(request.prompt) + 1
    most = settings().max_model_len
    if input_tokens >= most:
        raise BadInput("chat.too_long", field="prompt", tokens=input_tokens, most=most)
    return input_tokens, request.sampling.limited(min(request.sampling.max_tokens, most - input_tokens))


@asynccontextmanager
async def _admitted(offer: Offer, request: TextRequest) -> AsyncIterator[tuple[Ticket, Sampling]]:
    started = time.monotonic()
    await degraded_answers.require_answer(Speaker.of(offer.trial.stable if offer.trial else offer.expert))
    require_length(len(request.prompt), "prompt")
    offer, (input_tokens, sampling) = await route_call.prepared(offer, lambda one: _prepare(one, request))
    async with charge_call.paid(
        offer,
        input_tokens=input_tokens,
        most_output=sampling.max_tokens,
        choices=sampling.choices,
        started=started,
    ) as ticket:
        yield ticket, sampling


def _words(ticket: Ticket, request: TextRequest, sampling: Sampling) -> AsyncGenerator[Delta, None]:
    return speak.words(Speaker.of(ticket.offer.expert), request.prompt, sampling)


async def _opened(
    ticket: Ticket, request: TextRequest, sampling: Sampling
) -> tuple[list[Delta], AsyncGenerator[Delta, None]]:
    """Return the words. Those of a candidate have begun, or they are the stable version's."""
    words = _words(ticket, request, sampling)
    if ticket.offer.arm == "candidate":
        try:
            return await route_call.beginning(words), words
        except EngineError as error:
            if route_call.gives_way(ticket, error):
                await _prepare(ticket.offer, request)
                words = _words(ticket, request, sampling)
            else:
                words = degraded_answers.broken(error)
    return [], degraded_answers.words(ticket, words, plain=True, choices=sampling.choices)


async def stream(offer: Offer, request: TextRequest) -> AsyncGenerator[AnswerPart, None]:
    """Yield the continuation as `answer_request.answer` yields an answer. Knowledge is not asked.

    Raises BadInput for an expert that is a prompt: it speaks only in turns.
    """
    async with _admitted(offer, request) as (ticket, sampling):
        begun, words = await _opened(ticket, request, sampling)
        async with aclosing(words):
            yield AnswerPart(kind="passages", hold_id=ticket.hold_id, headers=ticket.headers)
            async for delta in route_call.joined(begun, words):
                ticket.take(delta)
                if delta.choices:
                    told = degraded_answers.HEADERS if ticket.degraded else {}
                    yield AnswerPart(kind="text", text=delta.text, choices=delta.choices, headers=told)
    yield AnswerPart(
        kind="done", finish_reason=ticket.finish_reason, usage=ticket.counted, receipt=ticket.receipt
    )


async def whole(offer: Offer, request: TextRequest) -> WholeAnswer:
    """Return the continuation in one piece."""
    async with _admitted(offer, request) as (ticket, sampling):
        completion = await _spoken(ticket, request, sampling)
        ticket.take(completion)
    assert ticket.receipt is not None
    return WholeAnswer(
        completion=completion,
        passages=(),
        usage=ticket.counted,
        receipt=ticket.receipt,
        headers=ticket.headers | (degraded_answers.HEADERS if ticket.degraded else {}),
    )


async def _spoken(ticket: Ticket, request: TextRequest, sampling: Sampling) -> Completion:
    """Return the continuation; where a candidate gives way, the stable version's."""

    async def spoken() -> Completion:
        try:
            return await speak.whole(Speaker.of(ticket.offer.expert), request.prompt, sampling)
        except EngineError as error:
            if not route_call.gives_way(ticket, error):
                raise
        await _prepare(ticket.offer, request)
        return await speak.whole(Speaker.of(ticket.offer.expert), request.prompt, sampling)

    return await degraded_answers.whole(ticket, spoken(), plain=True, choices=sampling.choices)
