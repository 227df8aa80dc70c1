"""The one layout in which retrieved passages reach a model.

The starter model is trained on exactly this layout, so it is defined once, here. Retrieved text is
data: it sits numbered in the user's message, never in the system message, whose instruction tells the model
to answer from it.
"""

from collections.abc import Sequence
from typing import Literal, TypedDict

Language = Literal["en", "zh"]


class Message(TypedDict):
    """One turn of a conversation in the OpenAI chat shape."""

    role: str
    content: str


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
    numbered = (f"[{n}] {' '.join(text.split())}" for n, text in enumerate(passages, 1))
    return "\n".join([" ".join(question.split()), *numbered])


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
