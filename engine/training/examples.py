"""What a conversation teaches: one example for each of its answers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def load_examples(path: Path) -> list[dict[str, Any]]:
    """Return one example per assistant turn: the conversation before it as prompt, the turn as completion."""
    with path.open(encoding="utf-8") as lines:
        return [example for line in lines for example in examples(json.loads(line)["messages"])]


def examples(messages: list[dict[str, str]]) -> Iterator[dict[str, Any]]:
    """Yield the training examples of one conversation."""
    for place, message in enumerate(messages):
        if message["role"] == "assistant":
            yield {"prompt": messages[:place], "completion": [message]}
