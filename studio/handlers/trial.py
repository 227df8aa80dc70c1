"""A free conversation with an expert that is not on the market yet."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from apps import cards, passage
from engine.accounts.schemas import Person
from engine.flows import answer_request
from engine.kit.errors import BadInput
from engine.kit.messages import t
from engine.kit.prompts import Message


@dataclass(frozen=True)
class Spoken:
    """An answer so far: its words, its citations as HTML, and a quiet line about it when it is done."""

    text: str
    citations: str
    line: str = ""


def plain(history: Sequence[Mapping[str, Any]]) -> list[Message]:
    """Return a conversation as plain messages; a page hands contents over as text or as pieces of it."""
    messages = []
    for turn in history:
        content = turn["content"]
        if not isinstance(content, str):
            content = "".join(str(piece.get("text", "")) for piece in content)
        messages.append(Message(role=str(turn["role"]), content=content))
    return messages


async def speak(
    person: Person, expert_id: str, history: Sequence[Mapping[str, Any]], question: str, language: str
) -> AsyncIterator[Spoken]:
    """Yield the answer to `question` as it grows. Raises BadInput without one, NotReady and the like."""
    if not (question or "").strip():
        raise BadInput("studio.ask_something", field="question")
    messages = [*plain(history), Message(role="user", content=question.strip())]
    text, citations = "", ""
    stream = answer_request.trial(person, expert_id, messages)
    async with aclosing(stream) as parts:  # type: ignore[type-var]
        async for part in parts:
            if part.kind == "passages":
                address = passage.opener(language, version=expert_id)
                citations = cards.citations(part.passages, question, language, address)
            elif part.kind == "text":
                text += part.text
                yield Spoken(text=text, citations="")
            else:
                usage = part.usage
                facts = {
                    "input": usage.prompt_tokens if usage else 0,
                    "output": usage.completion_tokens if usage else 0,
                }
                yield Spoken(text=text, citations=citations, line=t("studio.trial_line", language, **facts))
