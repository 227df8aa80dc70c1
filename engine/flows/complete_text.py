"""A paid continuation of a plain text: OpenAI's older kind of request."""

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from engine.flows import charge_call, degraded_answers, speak
from engine.flows.answer_request import AnswerPart, WholeAnswer, require_length, require_room
from engine.flows.call_ticket import Offer, Ticket
from engine.flows.speak import Sampling, Speaker
from engine.inference import tokens
from engine.kit.errors import BadInput
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


@asynccontextmanager
async def _admitted(offer: Offer, request: TextRequest) -> AsyncIterator[tuple[Ticket, Sampling]]:
    started = time.monotonic()
    if offer.expert.template:
        raise BadInput("chat.only_in_turns", field="model", name=offer.expert.name)
    await degraded_answers.require_answer(Speaker.of(offer.expert))
    require_length(len(request.prompt), "prompt")
    input_tokens = tokens.of_text(request.prompt) + 1
    most = settings().max_model_len
    if input_tokens >= most:
        raise BadInput("chat.too_long", field="prompt", tokens=input_tokens, most=most)
    sampling = request.sampling.limited(min(request.sampling.max_tokens, most - input_tokens))
    async with charge_call.paid(
        offer,
        input_tokens=input_tokens,
        most_output=sampling.max_tokens,
        choices=sampling.choices,
        started=started,
    ) as ticket:
        yield ticket, sampling


async def stream(offer: Offer, request: TextRequest) -> AsyncGenerator[AnswerPart, None]:
    """Yield the continuation as `answer_request.answer` yields an answer. Knowledge is not asked.

    Raises BadInput for an expert that is a prompt: it speaks only in turns.
    """
    async with _admitted(offer, request) as (ticket, sampling):
        yield AnswerPart(kind="passages", hold_id=ticket.hold_id, headers=ticket.headers)
        spoken = speak.words(Speaker.of(offer.expert), request.prompt, sampling)
        spoken = degraded_answers.words(ticket, spoken, plain=True, choices=sampling.choices)
        async with aclosing(spoken) as deltas:
            async for delta in deltas:
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
        spoken = speak.whole(Speaker.of(offer.expert), request.prompt, sampling)
        completion = await degraded_answers.whole(ticket, spoken, plain=True, choices=sampling.choices)
        ticket.take(completion)
    assert ticket.receipt is not None
    return WholeAnswer(
        completion=completion,
        passages=(),
        usage=ticket.counted,
        receipt=ticket.receipt,
        headers=ticket.headers | (degraded_answers.HEADERS if ticket.degraded else {}),
    )
