"""Counting tokens the way the base model does, without loading the model."""

import json
from collections.abc import Sequence
from functools import lru_cache

from tokenizers import Tokenizer

from engine.inference.base_model import resolve
from engine.kit.prompts import Message
from engine.kit.settings import settings

# Role marks and line breaks that a chat template puts around a message.
AROUND_A_MESSAGE = 6


@lru_cache(maxsize=1)
def _tokenizer() -> Tokenizer | None:
    if settings().inference in ("remote", "fake"):
        return None
    return Tokenizer.from_file(str(resolve(settings().base_model) / "tokenizer.json"))


def of_text(text: str) -> int:
    """Return how many tokens `text` has.

    For a remote model, whose tokenizer is not here, it is its length in UTF-8 divided by three: a
    little above what common tokenizers need for English, and one a character for Chinese.
    """
    tokenizer = _tokenizer()
    if tokenizer is None:
        return -(-len(text.encode()) // 3)
    return len(tokenizer.encode(text, add_special_tokens=False).ids)


def of_messages(messages: Sequence[Message]) -> int:
    """Return an upper estimate of the tokens of a conversation under a chat template."""
    return sum(of_text(_read(m)) + AROUND_A_MESSAGE for m in messages) + AROUND_A_MESSAGE


def _read(message: Message) -> str:
    calls = message.get("tool_calls")
    return f"{message['content']}{json.dumps(calls, ensure_ascii=False)}" if calls else message["content"]
