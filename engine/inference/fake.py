"""A deterministic model without weights, for tests of flows: it quotes, or it refuses."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from engine.inference.client import Prompt
from engine.inference.errors import RequestRefused
from engine.inference.schemas import BASE, Completion, Delta, TokenScore, Usage
from engine.kit.errors import UpstreamFailed
from engine.kit.prompts import REFUSAL, Message, detect_language

_PIECE = re.compile(r"\s*(?:[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+)")
_PASSAGE = re.compile(r"^\[\d+\] (.+)$", re.MULTILINE)
_SENTENCE = re.compile(r"[^.!?。！？]+(?:[.!?](?=\s|$)|[。！？]|$|[.!?])")


class FakeModel:
    """Quotes the sentence of the passages that shares most words with the question.

    A word is a Latin word of four letters or more, a number, or a pair of Chinese characters.
    Nothing shared means the fixed refusal. `delay` is the pause before each piece, in seconds.
    """

    def __init__(self, *, delay: float = 0.0) -> None:
        self._delay = delay
        self._adapters: set[str] = set()

    async def stream(self, model: str, prompt: Prompt, **options: Any) -> AsyncGenerator[Delta, None]:
        """Yield the answer word by word; a token is a word or a Chinese character.

        Raises RequestRefused for several choices and for tools: it has one answer, in words.
        """
        if (options.get("n") or 1) > 1 or options.get("tools"):
            raise RequestRefused("inference.request_refused", detail="one choice, and no tools")
        messages: Sequence[Message] = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        )
        most = options.get("max_tokens")
        pieces = _PIECE.findall(_cut(quote(messages), options.get("stop")))
        shown = pieces if most is None else pieces[:most]
        read = sum(len(_PIECE.findall(m["content"])) for m in messages)
        for count, piece in enumerate(shown, 1):
            await asyncio.sleep(self._delay)
            yield self._delta(prompt, piece, None, Usage(prompt_tokens=read, completion_tokens=count))
        reason = "stop" if len(shown) == len(pieces) else "length"
        yield self._delta(prompt, "", reason, Usage(prompt_tokens=read, completion_tokens=len(shown)))

    def _delta(self, prompt: Prompt, text: str, reason: str | None, usage: Usage) -> Delta:
        said = {"text": text} if isinstance(prompt, str) else {"delta": {"content": text}}
        choice = {"index": 0, **said, "finish_reason": reason, "logprobs": None}
        return Delta(text=text, finish_reason=reason, usage=usage, choices=(choice,))

    async def complete(self, model: str, prompt: Prompt, **options: Any) -> Completion:
        """Return what `stream` yields, whole."""
        deltas = [delta async for delta in self.stream(model, prompt, **options)]
        text = "".join(delta.text for delta in deltas)
        said = (
            {"text": text} if isinstance(prompt, str) else {"message": {"role": "assistant", "content": text}}
        )
        reason = deltas[-1].finish_reason
        choice = {"index": 0, **said, "finish_reason": reason, "logprobs": None}
        return Completion(text=text, finish_reason=reason, usage=deltas[-1].usage, choices=(choice,))

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Serve `name` from now on; the folder is not read."""
        self._adapters.add(name)

    async def unload_adapter(self, name: str) -> None:
        """Serve `name` no more."""
        self._adapters.discard(name)

    async def models(self) -> list[str]:
        """Return the base and every adapter loaded."""
        return [BASE, *sorted(self._adapters)]

    async def score(self, model: str, ids: Sequence[int]) -> list[TokenScore]:
        """Raise UpstreamFailed: it has no likelihoods."""
        raise UpstreamFailed("inference.odd_answer")

    async def probe(self, model: str) -> bool:
        """Return True: there is nothing that could be down."""
        return True


def quote(messages: Sequence[Message]) -> str:
    """Return the sentence to quote for the last user message, or the refusal in its language."""
    message = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
    question = message.split("\n")[0]
    sentences = [s.strip() for passage in _PASSAGE.findall(message) for s in _SENTENCE.findall(passage)]
    asked = _words(question)
    best = max(sentences, key=lambda s: len(asked & _words(s)), default="")
    return best if asked & _words(best) else REFUSAL[detect_language(question)]


def _words(text: str) -> set[str]:
    chinese = re.findall(r"[\u4e00-\u9fff]+", text)
    pairs = {run[i : i + 2] for run in chinese for i in range(len(run) - 1)}
    return pairs | set(re.findall(r"\d+|[a-z]{4,}", text.lower()))


def _cut(text: str, stop: Sequence[str] | None) -> str:
    ends = [text.find(word) for word in stop or () if word and word in text]
    return text[: min(ends)] if ends else text
