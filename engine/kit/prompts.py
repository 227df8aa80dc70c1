"""The one layout in which retrieved passages reach a model, and how a developer's own prompt changes it.

The starter model is trained on exactly this layout, so it is defined once, here. Retrieved text is
data: it sits numbered in the user's message, never in the system message, whose instruction tells the model
to answer from it.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, NotRequired, TypedDict

Language = Literal["en", "zh"]


class Message(TypedDict):
    """One turn of a conversation in the OpenAI chat shape; what belongs to tools is passed on as it is."""

    role: str
    content: str
    name: NotRequired[str]
    tool_calls: NotRequired[list[dict[str, Any]]]
    tool_call_id: NotRequired[str]


REFUSAL: dict[Language, str] = {
    "en": "I could not find this in the documents.",
    "zh": "资料里没有找到相关内容。",
}
# The starter model takes the words of its refusal from here: they stand after "say: ".
INSTRUCTION: dict[Language, str] = {
    "en": f"Answer from the passages. If they do not hold the answer, say: {REFUSAL['en']}",
    "zh": f"请根据资料回答。资料里没有答案时，请回答: {REFUSAL['zh']}",
}


def detect_language(text: str) -> Language:
    """Return "zh" when at least one in five letters is a Chinese character, else "en"."""
    letters = [c for c in text if c.isalpha()]
    chinese = sum("\u4e00" <= c <= "\u9fff" for c in letters)
    return "zh" if letters and chinese * 5 >= len(letters) else "en"


def with_passages(question: str, passages: Sequence[str]) -> str:
    """Return a user's message: the question first, so that a model reads the passages knowing it."""
    return "\n".join([" ".join(question.split()), *_numbered(passages)])


def _numbered(passages: Sequence[str]) -> list[str]:
    return [f"[{n}] {' '.join(text.split())}" for n, text in enumerate(passages, 1)]


def grounded(messages: Sequence[Message], passages: Sequence[str]) -> list[Message]:
    """Put `passages` below the last user message; without passages the conversation is unchanged.

    The language of the instruction, which is the system message, follows that user message. A system
    message of the caller stays in front of it, joined into one: many chat templates allow only one.
    """
    places = [n for n, message in enumerate(messages) if message["role"] == "user"]
    if not passages or not places:
        return list(messages)
    asked = messages[places[-1]]["content"]
    own = [m["content"] for m in messages if m["role"] == "system"]
    system: Message = {"role": "system", "content": "\n\n".join([*own, INSTRUCTION[detect_language(asked)]])}
    turns: list[Message] = [
        {"role": "user", "content": with_passages(asked, passages)} if n == places[-1] else message
        for n, message in enumerate(messages)
        if message["role"] != "system"
    ]
    return [system, *turns]


PLACES = ("context", "history", "question")
_PLACE = re.compile(r"\{(context|history|question)\}")
_SPEAKERS: dict[Language, dict[str, str]] = {
    "en": {"user": "User: ", "assistant": "Assistant: "},
    "zh": {"user": "用户：", "assistant": "助手："},
}


def templated(template: str, messages: Sequence[Message], passages: Sequence[str]) -> list[Message]:
    """Put a conversation into a developer's prompt.

    A template that names the place of the `{question}` becomes the last user message, with the passages in
    place of `{context}` and earlier turns, one a line, in place of `{history}`; what it does not name stays
    where it would be without it. Any other template is an instruction, and goes in front as system message.
    What is filled in is not searched for places again.
    """
    places = [n for n, message in enumerate(messages) if message["role"] == "user"]
    if "{question}" not in template or not places:
        system: Message = {"role": "system", "content": template}
        return joined(grounded([system, *messages], passages))
    named = set(_PLACE.findall(template))
    asked = messages[places[-1]]["content"]
    own = [m for m in messages if m["role"] == "system"]
    before = [m for m in messages[: places[-1]] if m["role"] != "system"]
    speakers = _SPEAKERS[detect_language(asked)]
    filled = {
        "question": asked if "context" in named or not passages else with_passages(asked, passages),
        "context": "\n".join(_numbered(passages)),
        "history": "\n".join(f"{speakers.get(m['role'], '')}{m['content']}" for m in before),
    }
    last: Message = {"role": "user", "content": _PLACE.sub(lambda place: filled[place[1]], template)}
    return joined([*own, *([] if "history" in named else before), last])


def joined(messages: Sequence[Message]) -> list[Message]:
    """Return a conversation with all system messages joined into one in front."""
    own = [m["content"] for m in messages if m["role"] == "system"]
    system: list[Message] = [{"role": "system", "content": "\n\n".join(own)}] if own else []
    return [*system, *(m for m in messages if m["role"] != "system")]
