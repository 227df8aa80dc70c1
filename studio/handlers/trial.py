"""Free conversations with models that are not on the market: an expert before it is, a checkpoint."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from apps import cards, passage
from engine.accounts.schemas import Person
from engine.flows import answer_request, try_checkpoint
from engine.flows.answer_request import AnswerPart
from engine.inference.schemas import Usage
from engine.kit.errors import BadInput
from engine.kit.messages import t
from engine.kit.prompts import Message
from engine.knowledge.schemas import Passage
from studio.views import checkpoints as views


@dataclass(frozen=True)
class Spoken:
    """An answer so far: its words, its citations as HTML, and a quiet line about it when it is done."""

    text: str
    citations: str
    line: str = ""


@dataclass(frozen=True)
class Offer:
    """The checkpoints of a run to choose from, as (words, step), and the one to begin with."""

    checkpoints: list[tuple[str, int]]
    first: int | None


def offered(person: Person, run_id: str, chosen: int | None, language: str) -> Offer:
    """Return what can be talked to; what was `chosen` stays among it. Raises NotFound."""
    found = try_checkpoint.listing(person, run_id)
    return Offer(views.choices(found, chosen, language), views.first_choice(found))


def plain(history: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return a conversation as plain messages; a page hands contents over as text or as pieces.

    Of a turn's pieces the first is what was said; others are about it.
    """
    messages = []
    for turn in history:
        content = turn["content"]
        if not isinstance(content, str):
            content = str(content[0].get("text", "")) if content else ""
        messages.append(Message(role=str(turn["role"]), content=content))
    return messages


async def speak(
    person: Person, expert_id: str, history: Sequence[Mapping[str, Any]], question: str, language: str
) -> AsyncIterator[Spoken]:
    """Yield an expert's answer as it grows. Raises BadInput without a question, NotReady and the like."""
    parts = answer_request.trial(person, expert_id, _asked(history, question))
    address = passage.opener(language, version=expert_id)
    async for spoken in _spoken(parts, question, language, "studio.trial_line", address):
        yield spoken


async def speak_checkpoint(
    person: Person,
    run_id: str,
    step: int | None,
    history: Sequence[Mapping[str, Any]],
    question: str,
    language: str,
) -> AsyncIterator[Spoken]:
    """Yield what the checkpoint of `step` answers as it grows; its line says which one it was.

    Raises BadInput without a question or a checkpoint, NotFound when it is not kept, NotReady and the like.
    """
    if step is None:
        raise BadInput("studio.choose_checkpoint", field="step")
    parts = try_checkpoint.answer(person, run_id, step, _asked(history, question))
    async for spoken in _spoken(parts, question, language, "studio.checkpoint_line", step=f"{step:,}"):
        yield spoken


def _asked(history: Sequence[Mapping[str, Any]], question: str) -> list[Message]:
    if not (question or "").strip():
        raise BadInput("studio.ask_something", field="question")
    return [*plain(history), Message(role="user", content=question.strip())]


async def _spoken(
    stream: AsyncGenerator[AnswerPart, None],
    question: str,
    language: str,
    line: str,
    address: Callable[[Passage], str] | None = None,
    **facts: object,
) -> AsyncIterator[Spoken]:
    """Yield an answer as it grows; `line` is the key of what is said about it at its end."""
    text, citations = "", ""
    async with aclosing(stream) as parts:
        async for part in parts:
            if part.kind == "passages":
                citations = cards.citations(part.passages, question, language, address)
            elif part.kind == "text":
                text += part.text
                yield Spoken(text=text, citations="")
            else:
                used = part.usage or Usage(prompt_tokens=0, completion_tokens=0)
                counts = {"input": used.prompt_tokens, "output": used.completion_tokens}
                yield Spoken(text=text, citations=citations, line=t(line, language, **counts, **facts))
