"""The usual layouts of conversation data, told apart by their columns and brought into one form.

A normalised row is `{"messages": [{"role", "content"}, ...]}`: an optional system message, then user and
assistant in turn, the last one by the assistant. A preference has beside it `"rejected"`, the text that
the last message was preferred to; feedback has `"label"`, whether the last message was found good.
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
    "chosen": ("chosen",),
    "rejected": ("rejected",),
    "label": ("label", "kto_tag", "thumbs_up"),
}
NEEDED: dict[str, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt_completion": ("prompt", "completion"),
    "instruction": ("instruction", "output"),
    "question_answer": ("question", "answer"),
}
LAYOUTS = ("preference", "feedback", *NEEDED)
TRUTHS = {
    **dict.fromkeys((True, "true", "yes", "good", "1", "是", "好"), True),
    **dict.fromkeys((False, "false", "no", "bad", "0", "否", "差"), False),
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
    counts = dict.fromkeys(LAYOUTS, 0)
    for row in rows:
        if layout := _layout(row):
            counts[layout] += 1
    best = max(counts, key=lambda layout: counts[layout])
    return best if counts[best] else None


def normalise(row: object, layout: str) -> dict[str, Any]:
    """Return one row in the form that is kept. Raises Unusable with the reason."""
    if not isinstance(row, Mapping):
        raise Unusable("not_object")
    if layout == "preference":
        turns, rejected = _preference(row)
        return {"messages": turns, "rejected": rejected}
    plain = layout
    if layout == "feedback":
        plain = _plain(row) or next(iter(NEEDED))
    _require(row, NEEDED[plain])
    turns = _with_system(_READERS[plain](row), row)
    _check(turns)
    return {"messages": turns, "label": _label(row)} if layout == "feedback" else {"messages": turns}


def _layout(row: Row) -> str | None:
    if _column(row, "chosen") and _column(row, "rejected"):
        return "preference"
    plain = _plain(row)
    # Many tables call something else a label.
    return "feedback" if plain and _truth(row) is not None else plain


def _plain(row: Row) -> str | None:
    return next((name for name, columns in NEEDED.items() if all(_column(row, c) for c in columns)), None)


def _require(row: Row, columns: Iterable[str]) -> None:
    for column in columns:
        if _column(row, column) is None:
            raise Unusable("missing_column", column=column)


def _with_system(turns: Messages, row: Row) -> Messages:
    system = _column(row, "system")
    if system is not None and _text(row[system], system) and not (turns and turns[0]["role"] == "system"):
        turns.insert(0, {"role": "system", "content": _text(row[system], system)})
    return turns


def _column(row: Row, name: str) -> str | None:
    return next((alias for alias in ALIASES[name] if row.get(alias) is not None), None)


def _value(row: Row, name: str) -> Any:
    return row[_column(row, name) or name]


def _pieces(value: object) -> list[str] | None:
    """Return the texts of a message that comes in pieces, None when it is nothing of the kind."""
    if not isinstance(value, list) or not all(isinstance(part, Mapping) for part in value):
        return None
    parts = [part.get("text") for part in value if part.get("type") == "text"]
    texts = [part for part in parts if isinstance(part, str)]
    return texts if texts and len(texts) == len(value) else None


def _text(value: object, column: str) -> str:
    if (pieces := _pieces(value)) is not None:
        value = "".join(pieces)
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


def _instruction(row: Row) -> str:
    question = _text(_value(row, "instruction"), "instruction")
    more = _column(row, "input")
    extra = _text(row[more], more) if more else ""
    return "\n".join(part for part in (question, extra) if part)


def _from_instruction(row: Row) -> Messages:
    return _pair(_instruction(row), _text(_value(row, "output"), "output"))


def _from_question_answer(row: Row) -> Messages:
    return _pair(_text(_value(row, "question"), "question"), _text(_value(row, "answer"), "answer"))


def _preference(row: Row) -> tuple[Messages, str]:
    """Return the conversation that ends with the better answer, and the other answer."""
    _require(row, ("chosen", "rejected"))
    sides = {name: _answer(_value(row, name), name) for name in ("chosen", "rejected")}
    if sides["chosen"][:-1] != sides["rejected"][:-1]:
        raise Unusable("other_prompts")
    before = sides["chosen"][:-1] or _asked(row)
    better, worse = (_with_system([*before, turns[-1]], row) for turns in sides.values())
    _check(better)
    _check(worse)
    if better[-1] == worse[-1]:
        raise Unusable("same_answers")
    return better, worse[-1]["content"]


def _answer(value: object, column: str) -> Messages:
    """Return an answer as a message, behind the conversation where that comes with it."""
    if isinstance(value, Mapping):
        return [_turn(value)]
    if isinstance(value, list) and _pieces(value) is None:
        return _turns(value, column) or [{"role": "assistant", "content": ""}]
    return [{"role": "assistant", "content": _text(value, column)}]


def _asked(row: Row) -> Messages:
    """Return what was asked: the conversation before an answer that stands by itself."""
    if _column(row, "messages"):
        return _from_messages(row)
    for name in ("prompt", "question"):
        if column := _column(row, name):
            value = row[column]
            if isinstance(value, list) and not _pieces(value):
                return _turns(value, column)
            return [{"role": "user", "content": _text(value, column)}]
    _require(row, ("instruction",))
    return [{"role": "user", "content": _instruction(row)}]


def _label(row: Row) -> bool:
    _require(row, ("label",))
    label = _truth(row)
    if label is None:
        raise Unusable("not_truth", value=shown(_value(row, "label")))
    return label


def _truth(row: Row) -> bool | None:
    value = row.get(_column(row, "label") or "")
    if isinstance(value, str):
        value = value.strip().lower()
    return TRUTHS.get(value) if isinstance(value, str | int | float) else None


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
