"""Training data as the model will see it: the chat template applied, cut into tokens, some of them learnt."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNFINISHED = "\ufffd"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Text of one token, or of a few that make a character together; `learnt` counts in the loss."""

    text: str
    learnt: bool


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An example as a model sees it: `length` tokens in all, of which the first `kept` are used.

    `learnt` counts the used tokens that the loss looks at: the answer. At 0 the example teaches nothing.
    `good` tells whether the answer was found good or bad, None where it is just learnt.
    """

    pieces: list[Piece]
    length: int
    kept: int
    learnt: int
    good: bool | None = None


def tokenizer(folder: Path) -> Any:
    """Return the tokenizer of the base model in `folder`. No code from there is run."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def seen(
    tokens: Any, example: dict[str, Any], max_length: int, *, good: bool | None = None, show: bool = True
) -> Seen:
    """Return an example of "prompt" and "completion" messages as TRL's trainers prepare it.

    Without `show` it has no pieces: taking text apart costs far more than counting.
    """
    prompt = _ids(tokens, example["prompt"], generation=True)
    whole = _ids(tokens, example["prompt"] + example["completion"], generation=False)
    kept = min(len(whole), max_length)
    first = min(len(prompt), kept)
    pieces = []
    if show:
        pieces = [*_pieces(tokens, whole[:first], False), *_pieces(tokens, whole[first:kept], True)]
    return Seen(pieces=pieces, length=len(whole), kept=kept, learnt=kept - first, good=good)


def _ids(tokens: Any, messages: list[dict[str, str]], *, generation: bool) -> list[int]:
    found = tokens.apply_chat_template(
        messages, tokenize=True, add_generation_prompt=generation, return_dict=True
    )
    return list(found["input_ids"])


def _pieces(tokens: Any, ids: Iterable[int], learnt: bool) -> list[Piece]:
    pieces, waiting = [], []
    for one in ids:
        waiting.append(one)
        text = tokens.decode(waiting, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        if not text.endswith(UNFINISHED):
            pieces.append(Piece(text=text, learnt=learnt))
            waiting = []
    if waiting:
        pieces.append(Piece(text=tokens.decode(waiting), learnt=learnt))
    return pieces
