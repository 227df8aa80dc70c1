"""What words mean: which of a question's words a sentence says, and how much each of them matters.

Every token has a code, a weight and a need. A token of a sentence that resembles tokens of the question is
worth their weight; a sentence is worth the sum over its tokens, each token counted once; the question is
refused when no sentence is worth what its tokens need together. So little is learned within minutes, from
questions and sentences alone, and the weights of the circuit say exactly the same.
"""

import math
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy, normalize
from torch.utils.data import DataLoader, IterableDataset
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from engine.training.starter.circuit import ALIKE, ALIKE_FROM, ASKED_AMONG, COMMON, JOINED, MEANING
from engine.training.starter.lexicon import JOINING
from engine.training.starter.names import Split
from engine.training.starter.text import LANGUAGES, Level, grounded_case, with_asides

LEVEL = Level(fewest=2, sentences=1, turns=1, refusals=0.25)
CASES = 48  # of a batch
RATE, SCALAR_RATE = 3e-3, 1e-2
STAY = 2e-3  # how much a code is held to where it began: a word seldom seen keeps to its own spelling
TELLING = 0.02  # the weight from which on a word tells something
ASIDE = 0.35  # share of questions with something around them that no passage says
COUNTED = 250  # batches of questions from which the rarity of a word is counted
KEEP = 1e-2  # how much a weight is held to where it began: generated text is not all text
ENDINGS = ("ings", "ing", "edly", "ed", "ies", "es", "s", "ly", "y", "e")


class Asked(NamedTuple):
    """A batch: questions (cases, tokens) and sentences (cases, most sentences, tokens), 0 where nothing is;
    `answer` is the number of the sentence, or that of sentences when none answers.
    """

    question: Tensor
    sentences: Tensor
    answer: Tensor


def stem(word: str) -> str:
    """Return a word without its capital, its space and its ending."""
    small = word.removesuffix("Ġ").lower()
    return next(
        (small.removesuffix(e) for e in ENDINGS if small.endswith(e) and len(small) > len(e) + 2), small
    )


def script(text: str) -> float:
    """Return 1 for a text of Latin letters, -1 for one beyond them (a part of a character too), else 0."""
    if any(ord(sign) > 0x2E7F for sign in text):
        return -1.0
    return 1.0 if re.search("[A-Za-z]", text) else 0.0


class Meanings(torch.nn.Module):
    """The codes (tokens, MEANING), weights and needs (tokens), and how sharply they decide."""

    joins: Tensor

    def __init__(self, tokenizer: PreTrainedTokenizerBase, seed: int = 1) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        pieces = cast(list[str], tokenizer.convert_ids_to_tokens(list(range(len(tokenizer)))))
        stems = [stem(piece) if re.fullmatch("[A-Za-z]+Ġ?", piece) else piece for piece in pieces]
        number = {name: place for place, name in enumerate(dict.fromkeys(stems))}
        codes = normalize(torch.randn(len(number), MEANING, generator=random), dim=1)
        self.first = codes[[number[name] for name in stems]]
        self.meaning = torch.nn.Parameter(self.first.clone())
        telling = [bool(re.search(r"\w", str(tokenizer.decode([n])))) for n in range(len(pieces))]
        special = set(tokenizer.all_special_ids)
        joining = [
            piece.removesuffix("Ġ").lower() in JOINING or tokenizer.decode([n]) in JOINING
            for n, piece in enumerate(pieces)
        ]
        worth = torch.tensor([0.8 * (t and n not in special) for n, t in enumerate(telling)])
        self.worth = torch.where(torch.tensor(joining), worth / 8, worth)
        self.weight = torch.nn.Parameter(self.worth.clone())
        self.need = torch.nn.Parameter(self.worth / 2)
        joins = [
            re.search("[A-Za-z0-9]$", piece) is not None and n not in special
            for n, piece in enumerate(pieces)
        ]
        self.register_buffer("joins", torch.tensor(joins))
        self.script = torch.tensor([script(str(tokenizer.decode([n]))) for n in range(len(pieces))])
        self.sharpness = torch.nn.Parameter(torch.tensor(5.0))
        self.threshold = torch.nn.Parameter(torch.tensor(-1.0))

    def forward(self, asked: Asked, alike: float = ALIKE, alike_from: float = ALIKE_FROM) -> Tensor:
        """Return a score for each sentence and, last, for none of them: (cases, most sentences + 1)."""
        question, sentences = asked.question, asked.sentences
        codes = normalize(self.meaning, dim=1)
        near = torch.einsum("bqd,bsld->bslq", codes[question], codes[sentences])
        begun, asked_begun = self.begun(sentences), self.begun(question)
        apart = (begun[..., :, None] != asked_begun[:, None, None, :]).float()
        apart *= 1 + ((begun[..., :, None] != 0) & (asked_begun[:, None, None, :] != 0)).float()
        scores = (alike * (near - alike_from) - JOINED / 2 * apart).masked_fill(
            (question == 0)[:, None, None], -1e4
        )
        found = torch.softmax(torch.cat([scores, torch.zeros_like(scores[..., :1])], -1), -1)[..., :-1]
        weights = self.weight.clamp(min=0)[question]
        worth = (found * weights[:, None, None]).sum(-1) * (sentences != 0)
        same = sentences[..., :, None] == sentences[..., None, :]
        earlier = torch.ones(same.shape[-2:], dtype=torch.bool).tril(-1)
        total = (worth * ~(same & earlier).any(-1)).sum(-1) * self.sharpness
        total = total.masked_fill(sentences[..., 0] == 0, -1e4)
        length = (question != 0).sum(-1)
        asked_for = (self.need[question] * (question != 0)).sum(-1) * ASKED_AMONG / (ASKED_AMONG + length)
        needed = self.threshold + asked_for * self.sharpness
        return torch.cat([total, needed[:, None]], 1)

    def begun(self, ids: Tensor) -> Tensor:
        """Return for each token (..., tokens) the one before it, if both are of one word, else 0."""
        before = torch.cat([torch.zeros_like(ids[..., :1]), ids[..., :-1]], -1)
        return before * self.joins[before]

    def found(self) -> dict[str, Tensor]:
        """Return what the circuit is written from."""
        return {
            "meaning": normalize(self.meaning.detach(), dim=1),
            "weight": self.weight.detach().clamp(min=0),
            "need": self.need.detach(),
            "joins": self.joins.float(),
            "script": self.script,
            "rarity": torch.where(self.weight.detach() > TELLING, 0.0, COMMON),
            "sharpness": self.sharpness.detach(),
            "threshold": self.threshold.detach(),
        }


class Questions(IterableDataset[Asked]):
    """Batches of generated cases from number `start` on, always the same ones for the same seed."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, split: Split, seed: int, start: int = 0) -> None:
        self.tokenizer, self.split, self.seed, self.start = tokenizer, split, seed, start

    def __iter__(self) -> Iterator[Asked]:
        step = self.start
        while True:
            yield self._batch(Random(f"{self.split}/{self.seed}/{step}"))
            step += 1

    def _ids(self, text: str) -> list[int]:
        return list(self.tokenizer(" ".join(text.split()), add_special_tokens=False).input_ids)

    def _batch(self, rng: Random) -> Asked:
        rows: list[tuple[list[int], list[list[int]], int]] = []
        while len(rows) < CASES:
            case = grounded_case(rng, self.split, LEVEL, rng.choice(LANGUAGES))
            question, answer = case.turns[-1]
            if rng.random() < ASIDE:
                question = with_asides(rng, case.language, question)
            passages = [" ".join(passage.split()) for passage in case.passages]
            right = passages.index(answer) if case.kinds[-1] == "quote" else -1
            rows.append((self._ids(question), [self._ids(text) for text in passages], right))
        most = max(len(texts) for _, texts, _ in rows)
        longest = max(len(ids) for _, texts, _ in rows for ids in texts)
        questions = torch.zeros(CASES, max(len(ids) for ids, _, _ in rows), dtype=torch.long)
        sentences = torch.zeros(CASES, most, longest, dtype=torch.long)
        for n, (ids, texts, _) in enumerate(rows):
            questions[n, : len(ids)] = torch.tensor(ids)
            for m, text in enumerate(texts):
                sentences[n, m, : len(text)] = torch.tensor(text)
        answers = torch.tensor([right if right >= 0 else most for _, _, right in rows])
        return Asked(questions, sentences, answers)


@torch.no_grad()
def accuracy(model: Meanings, tokenizer: PreTrainedTokenizerBase, batches: int = 8) -> float:
    """Return the share of held-out questions whose sentence is chosen, or which are refused, rightly."""
    source = iter(Questions(tokenizer, "held_out", 2026))
    right = [(model(asked).argmax(-1) == asked.answer).float().mean() for asked in islice(source, batches)]
    return float(torch.stack(right).mean())


def rarity(tokenizer: PreTrainedTokenizerBase, weight: Tensor, seed: int = 1) -> Tensor:
    """Return a score for each token: e to its power is the square of how much the token tells by being rare
    among questions (Spärck Jones, "A statistical interpretation of term specificity", 1972), 1 at most.
    """
    seen, source = torch.zeros(len(weight)), iter(Questions(tokenizer, "train", seed))
    for asked in islice(source, COUNTED):
        for question in asked.question:
            seen[question.unique()] += 1
    total = COUNTED * CASES
    specific = torch.log(total / (seen + 1)) / math.log(total)
    return torch.where(weight > TELLING, 2 * specific.log(), COMMON).clamp(min=COMMON)


def learn(
    tokenizer: PreTrainedTokenizerBase, work: Path, steps: int, seed: int = 1, until: int | None = None
) -> dict[str, Tensor]:
    """Learn for `steps` batches, or stop after `until` of them, and return what was found.

    Goes on from the state in `work`, which is kept every 500 batches and at the end.
    """
    model, state = Meanings(tokenizer, seed), work / "meanings.pt"
    scalars = [model.sharpness, model.threshold]
    groups = [
        {"params": [model.meaning, model.weight, model.need], "rate": RATE},
        {"params": scalars, "rate": SCALAR_RATE},
    ]
    optimizer = torch.optim.Adam(groups)
    start = 0
    if state.exists():
        saved = torch.load(state, weights_only=True)
        start = saved["step"]
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
    source = DataLoader(Questions(tokenizer, "train", seed, start), batch_size=None, num_workers=1)
    last = steps if until is None else until
    for step, asked in zip(range(start, last), cast(Iterator[Asked], iter(source)), strict=False):
        done = step / steps
        # Words that do not resemble each other yet have to feel each other at first.
        warm = min(1.0, 1.3 * done)
        scores = model(asked, 8 + (ALIKE - 8) * warm, 0.5 + (ALIKE_FROM - 0.5) * warm)
        moved = (1 - cosine_similarity(model.meaning, model.first, dim=1)).sum() / CASES
        loss = cross_entropy(scores, asked.answer.clamp(max=scores.shape[1] - 1)) + STAY * moved
        loss = loss + KEEP * ((model.weight - model.worth) ** 2).sum() / CASES
        optimizer.zero_grad()
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * (1 - 0.95 * done)
        optimizer.step()
        if (step + 1) % 500 == 0 or step + 1 == last:
            saved = {"step": step + 1, "model": model.state_dict(), "optimizer": optimizer.state_dict()}
            torch.save(saved, state.with_suffix(".part"))
            state.with_suffix(".part").replace(state)
            print(f"meanings {step + 1} loss {loss:.3f} right {accuracy(model, tokenizer):.3f}", flush=True)
    return model.found()
