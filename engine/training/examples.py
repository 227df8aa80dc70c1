"""What a row teaches by each method: an answer, which of two is better, or whether one is good."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def load_examples(path: Path, method: str = "sft") -> list[dict[str, Any]]:
    """Return the examples of a file of rows, see `examples`."""
    with path.open(encoding="utf-8") as lines:
        return [example for line in lines for example in examples(json.loads(line), method)]


def examples(row: Mapping[str, Any], method: str = "sft") -> Iterator[dict[str, Any]]:
    """Yield the training examples of one row; none when the method learns nothing from it.

    Each has the conversation before an answer as "prompt". By "sft" each assistant turn is a "completion",
    but for those of a row that was found bad. "dpo" has the last turn as "chosen" and what it was preferred
    to as "rejected". "kto" has a "completion" and whether it was good as "label"; a preference gives two.
    """
    messages = row["messages"]
    prompt, last = messages[:-1], messages[-1:]
    worse = [{"role": "assistant", "content": row["rejected"]}] if "rejected" in row else []
    if method == "sft":
        if row.get("label", True):
            yield from _answers(messages)
    elif method == "dpo":
        if worse:
            yield {"prompt": prompt, "chosen": last, "rejected": worse}
    elif worse:
        yield {"prompt": prompt, "completion": last, "label": True}
        yield {"prompt": prompt, "completion": worse, "label": False}
    elif "label" in row:
        yield {"prompt": prompt, "completion": last, "label": row["label"]}


def sides(example: Mapping[str, Any]) -> Iterator[tuple[bool | None, dict[str, Any]]]:
    """Yield what a model reads of an example: (good or bad, None where it is just learnt), "prompt" and
    "completion"."""
    for name, good in (("completion", example.get("label")), ("chosen", True), ("rejected", False)):
        if name in example:
            yield good, {"prompt": example["prompt"], "completion": example[name]}


def _answers(messages: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            yield {"prompt": messages[:place], "completion": [message]}
