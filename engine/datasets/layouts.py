"""The usual layouts of conversation data, told apart by their columns and turned into messages.

A normalised row is `{"messages": [{"role", "content"}, ...]}`: an optional system message, then user and
assistant in turn, the last one by the assistant.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
Messages = list[dict[str, str]]

LONGEST = 100_000

ALIASES: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversations", "conversation"),
    "prompt": ("prompt",),
    "completion": ("completion",),
    "instruction": ("instruction", "指令"),
    "input": ("input", "输入"),
    "output": ("output", "输出"),
    "question": ("question", "query", "问题", "问", "提问"),
    "answer": ("answer", "response", "答案", "答", "回答"),
    "system": ("system",),
}
NEEDED: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "instruction": ("instruction", "output"),
    "question_answer": ("question", "answer"),
}
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
COLUMNS = frozenset(name for names in ALIASES.values() for name in names)


class Unusable(Exception):
    """A row cannot be used; `reason` is a catalog key, `facts` fill it."""

    def __init__(self, reason: str, **facts: Any) -> None:
        self.reason, self.facts = f"datasets.{reason}", facts
        super().__init__(reason)


def detect(rows: Iterable[Row]) -> str | None:
    """Return the layout that fits most of `rows`, or None when no row has the columns of any."""
    counts = dict.fromkeys(NEEDED, 0)
    for row in rows:
        for layout, columns in NEEDED.items():
            if all(_column(row, column) is not None for column in columns):
                counts[layout] += 1
                break
    best = max(counts, key=lambda layout: counts[layout])
    return best if counts[best] else None


def normalise(row: object, layout: str) -> Messages:
    """Return the messages of one row. Raises Unusable with the reason."""
    if not isinstance(row, Mapping):
        raise Unusable("not_object")
    for column in NEEDED[layout]:
        if _column(row, column) is None:
            raise Unusable("missing_column", column=column)
    turns = _READERS[layout](row)
    system = _column(row, "system")
    if system is not None and _text(row[system], system) and not (turns and turns[0]["role"] == "system"):
        turns.insert(0, {"role": "system", "content": _text(row[system], system)})
    _check(turns)
    return turns


def _column(row: Row, name: str) -> str | None:
    return next((alias for alias in ALIASES[name] if row.get(alias) is not None), None)


def _value(row: Row, name: str) -> Any:
    return row[_column(row, name) or name]


def _text(value: object, column: str) -> str:
    if isinstance(value, list) and value and all(isinstance(part, Mapping) for part in value):
        parts = [part.get("text") for part in value if part.get("type") == "text"]
        if len(parts) == len(value) and all(isinstance(part, str) for part in parts):
            value = "".join(parts)
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise Unusable("not_text", column=column)
    return value.replace("\r\n", "\n").strip()


def _turn(value: object) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise Unusable("not_object")
    role = value.get("role", value.get("from"))
    known = ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        raise Unusable("unknown_role", role=shown(role))
    key = "content" if "content" in value else "value"
    if key not in value:
        raise Unusable("missing_column", column="content")
    return {"role": known, "content": _text(value[key], key)}


def _turns(value: object, column: str) -> Messages:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise Unusable("not_json") from None
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise Unusable("not_text", column=column)
    return [_turn(turn) for turn in value]


def _from_messages(row: Row) -> Messages:
    return _turns(_value(row, "messages"), "messages")


def _from_prompt_completion(row: Row) -> Messages:
    prompt, completion = _value(row, "prompt"), _value(row, "completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return _turns(prompt, "prompt") + _turns(completion, "completion")
    return _pair(_text(prompt, "prompt"), _text(completion, "completion"))


def _from_instruction(row: Row) -> Messages:
    question = _text(_value(row, "instruction"), "instruction")
    more = _column(row, "input")
    extra = _text(row[more], more) if more else ""
    return _pair(
        "\n".join(part for part in (question, extra) if part), _text(_value(row, "output"), "output")
    )


def _from_question_answer(row: Row) -> Messages:
    return _pair(_text(_value(row, "question"), "question"), _text(_value(row, "answer"), "answer"))


def _pair(question: str, answer: str) -> Messages:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


_READERS: dict[str, Callable[[Row], Messages]] = {
    "messages": _from_messages,
    "prompt_completion": _from_prompt_completion,
    "instruction": _from_instruction,
    "question_answer": _from_question_answer,
}


def _check(turns: Messages) -> None:
    if not turns:
        raise Unusable("no_turns")
    start = 1 if turns[0]["role"] == "system" else 0
    for place, turn in enumerate(turns[start:]):
        if turn["role"] != ("user", "assistant")[place % 2]:
            raise Unusable("role_order", turn=start + place + 1, role=turn["role"])
        if not turn["content"]:
            raise Unusable("empty_answer" if turn["role"] == "assistant" else "empty_question")
    if turns[-1]["role"] != "assistant":
        raise Unusable("last_not_assistant")
    if sum(len(turn["content"]) for turn in turns) > LONGEST:
        raise Unusable("too_long", most=f"{LONGEST:,}")
    if any(not _clean(turn["content"]) for turn in turns):
        raise Unusable("invalid_unicode")


def _clean(text: str) -> bool:
    return not any(c == "\0" or c == "\ufffd" or "\ud800" <= c <= "\udfff" for c in text)


def shown(value: object) -> str:
    """Return the visible beginning of something a person wrote."""
    return "".join(c for c in str(value)[:40] if c.isprintable())
