"""A deterministic model without weights, for tests of flows: it quotes, or it refuses."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

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

    async def stream(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        """Yield the answer word by word; a token is a word or a Chinese character."""
        answer = _cut(quote(messages), stop)
        pieces = _PIECE.findall(answer)
        shown = pieces if max_tokens is None else pieces[:max_tokens]
        prompt = sum(len(_PIECE.findall(m["content"])) for m in messages)
        for count, piece in enumerate(shown, 1):
            await asyncio.sleep(self._delay)
            yield Delta(text=piece, usage=Usage(prompt_tokens=prompt, completion_tokens=count))
        yield Delta(
            finish_reason="stop" if len(shown) == len(pieces) else "length",
            usage=Usage(prompt_tokens=prompt, completion_tokens=len(shown)),
        )

    async def complete(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> Completion:
        """Return what `stream` yields, whole."""
        deltas = [d async for d in self.stream(model, messages, max_tokens=max_tokens, stop=stop)]
        return Completion(
            text="".join(d.text for d in deltas),
            finish_reason=deltas[-1].finish_reason,
            usage=deltas[-1].usage,
        )

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
