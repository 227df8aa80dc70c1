"""A conversation with an expert, as the page keeps it and as it goes on. No Gradio here."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import anyio.to_thread
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from apps.market import views
from engine.accounts.schemas import Person
from engine.billing.schemas import Receipt
from engine.flows import answer_request, top_up_wallet
from engine.flows.answer_request import AnswerPart, ChatRequest
from engine.kit.clock import now
from engine.kit.errors import BadInput, EngineError
from engine.kit.messages import t
from engine.kit.prompts import Message
from engine.knowledge.schemas import Passage

SETTLING_SECONDS = 10.0


class Cost(BaseModel):
    """What an answer took: tokens, micro-credits, and the receipt that says so."""

    model_config = ConfigDict(frozen=True)

    input_tokens: int
    output_tokens: int
    charged_micro: int
    package_tokens: int = 0
    receipt_id: str
    finish: str

    @classmethod
    def of(cls, receipt: Receipt) -> "Cost":
        """Return the cost that a receipt states."""
        return cls(
            input_tokens=receipt.usage.get("input_tokens", 0),
            output_tokens=receipt.usage.get("output_tokens", 0),
            charged_micro=receipt.charged_micro,
            package_tokens=receipt.package_tokens,
            receipt_id=receipt.id,
            finish=receipt.usage.get("finish") or receipt.reason or "",
        )


class Turn(BaseModel):
    """One message. An answer has its passages; `cost` is known once it is settled, `asked_at` before."""

    model_config = ConfigDict(frozen=True)

    role: Literal["user", "assistant"]
    content: str
    passages: tuple[Passage, ...] = ()
    cost: Cost | None = None
    asked_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class ChatView:
    """The chat as it is now: `question` is what stands in the field, `notice` is HTML under it."""

    turns: tuple[Turn, ...]
    question: str = ""
    notice: str = ""
    busy: bool = False
    paid: bool = False


_TURNS = TypeAdapter(tuple[Turn, ...])


def read(saved: Any) -> tuple[Turn, ...]:
    """Return the turns that a browser sent back. Raises BadInput for anything else."""
    try:
        return _TURNS.validate_python(saved or ())
    except ValidationError as error:
        raise BadInput("marketplace.bad_chat", field="messages") from error


def save(turns: Sequence[Turn]) -> list[dict[str, Any]]:
    """Return turns as plain values for the browser to keep."""
    return [turn.model_dump(mode="json", exclude_defaults=True) for turn in turns]


def foot(turn: Turn, name: str, language: str, *, busy: bool = False) -> str:
    """Return what stands under an answer of expert `name`: its passages as chips, and its cost."""
    if turn.role == "user":
        return ""
    chips = views.chips(turn.passages, turn.content, busy, name, language)
    return chips + (views.cost_line(turn.cost, turn.content, language) if turn.cost else "")


def messages(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """Return what the model reads; a question that got no answer is left out with its empty answer."""
    kept: list[Message] = []
    for turn in turns:
        if turn.role == "assistant" and not turn.content:
            del kept[-1:]
        else:
            kept.append({"role": turn.role, "content": turn.content})
    return tuple(kept)


async def ask(
    person: Person, name: str, turns: Sequence[Turn], question: str, language: str
) -> AsyncGenerator[ChatView, None]:
    """Yield the chat while expert `name` answers `question`.

    A refusal (empty wallet, model server not ready, too long) takes the question back into the field
    with a notice. Closing the iterator stops the answer; what was delivered is settled.
    """
    before = tuple(turns)
    if not question.strip():
        yield ChatView(
            turns=before, question=question, notice=views.trouble(t("marketplace.no_question", language))
        )
        return
    asked = (*before, Turn(role="user", content=question.strip()))
    answer = Turn(role="assistant", content="", asked_at=now())
    yield ChatView(turns=(*asked, answer), busy=True)
    try:
        request = ChatRequest(model=name, messages=messages(asked))
        async with aclosing(_parts(person, request)) as parts:
            async for part in parts:
                answer = _grown(answer, part)
                done = part.kind == "done"
                yield ChatView(turns=(*asked, answer), busy=not done, paid=done)
    except EngineError as error:
        notice = views.refusal(error, language)
        if answer.content:
            turn, told = await settled(person, name, answer, language)
            yield ChatView(turns=(*asked, turn), notice=told + notice, paid=True)
        else:
            yield ChatView(turns=before, question=question, notice=notice)


def _grown(answer: Turn, part: AnswerPart) -> Turn:
    if part.kind == "passages":
        return answer.model_copy(update={"passages": tuple(part.passages)})
    if part.kind == "text":
        return answer.model_copy(update={"content": answer.content + part.text})
    cost = Cost.of(part.receipt) if part.receipt else None
    return answer.model_copy(update={"cost": cost, "asked_at": None})


async def _parts(person: Person, request: ChatRequest) -> AsyncGenerator[AnswerPart, None]:
    """Yield the answer's parts, and see to its end also when the first part was still being prepared.

    Gradio stops an event by cancelling its task. That would leave a hold behind which is being placed in
    a thread at that moment; so the first step runs in a task of its own and is waited for.
    """
    parts = answer_request.answer(person, request)
    async with aclosing(parts):
        first = asyncio.ensure_future(anext(parts))
        try:
            yield await asyncio.shield(first)
        except asyncio.CancelledError:
            await asyncio.wait([first])
            raise
        async for part in parts:
            yield part


async def again(
    person: Person, name: str, turns: Sequence[Turn], language: str
) -> AsyncGenerator[ChatView, None]:
    """Yield the chat while the last question is answered once more in place of its answer.

    The earlier answer stays when the new one is refused.
    """
    before = list(turns)
    while before and before[-1].role == "assistant":
        before.pop()
    if not before:
        yield ChatView(turns=())
        return
    question = before.pop().content
    async for view in ask(person, name, before, question, language):
        refused = not view.busy and view.turns == tuple(before)
        yield replace(view, turns=tuple(turns), question="") if refused else view


async def stopped(person: Person, name: str, turns: Sequence[Turn], language: str) -> ChatView:
    """Return the chat after its answer was stopped: the words that came, and what they cost."""
    if not turns or turns[-1].role == "user" or turns[-1].cost is not None:
        return ChatView(turns=tuple(turns))
    turn, told = await settled(person, name, turns[-1], language)
    return ChatView(turns=(*turns[:-1], turn), notice=told, paid=True)


async def settled(person: Person, name: str, answer: Turn, language: str) -> tuple[Turn, str]:
    """Return an answer that broke off with its cost, and a notice when the cost cannot be told for sure.

    The receipt is the one that this account got for this expert since the question. There may be
    several when the same account asks in several places; then the wallet tells more than we can.
    """
    since = answer.asked_at or now()
    found: list[Receipt] = []
    for _ in range(round(SETTLING_SECONDS / 0.1)):
        recent = await anyio.to_thread.run_sync(top_up_wallet.receipts, person, 20)
        found = [r for r in recent if r.created_at >= since and r.usage.get("model", name) == name]
        if found:
            break
        await asyncio.sleep(0.1)
    done = answer.model_copy(update={"asked_at": None})
    if len(found) == 1:
        return done.model_copy(update={"cost": Cost.of(found[0])}), ""
    return done, views.unsettled(language)
