"""Make the starter model from nothing: `python -m engine.training.starter.make`.

Training is seeded and goes on from its last state when it is started again with the same work folder.
Cases are short and few-sentenced first and grow harder than the product's; the last part has its shape.
The learning rate rises, then falls along half a cosine.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, LlamaForCausalLM
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from engine.kit.prompts import Message
from engine.training.starter.evaluate import measure
from engine.training.starter.model import new_model
from engine.training.starter.text import Level, case
from engine.training.starter.tokenizer import save_tokenizer, train_tokenizer

HOME = Path(__file__).parents[3] / "data" / "starter"
LEVELS = (
    (0.00, Level(passages=3, sentences=1, turns=1, refusals=0.10)),
    (0.10, Level(passages=5, sentences=2, turns=1, refusals=0.12)),
    (0.30, Level(passages=8, sentences=2)),
    (0.60, Level()),
    (0.78, Level(passages=8, sentences=1, single=0.85)),
)
FIRST_WEIGHT = 4.0
LONGEST = 480  # tokens of a case
Encoded = tuple[list[int], int]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How long and how fast: `steps` of about `tokens` tokens each; learning rates; where to begin.

    `skipped` is the share of LEVELS that a model which is not new leaves out.
    """

    steps: int = 7_000
    tokens: int = 2048
    rate: float = 2e-4
    embedding_rate: float = 6e-5
    warm_up: int = 50
    skipped: float = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.steps, self.tokens, self.warm_up) < 1:
            raise ValueError("steps, tokens and warm_up are at least 1")
        if not 0 <= self.skipped < 1:
            raise ValueError("skipped is a share below 1")

    def factor(self, step: int) -> float:
        """The factor on both learning rates at `step`: a rise, then half a cosine down to a fiftieth."""
        rising = min(1.0, (step + 1) / self.warm_up)
        return rising * (0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, step / self.steps))))

    def level(self, step: int) -> Level:
        """How hard the cases of `step` are."""
        at = self.skipped + (1 - self.skipped) * step / self.steps
        return next(level for start, level in reversed(LEVELS) if at >= start)


def encode(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> Encoded:
    """Return the tokens of a conversation and the place where its last answer begins."""
    chat: Any = messages
    asked = str(tokenizer.apply_chat_template(chat[:-1], add_generation_prompt=True, tokenize=False))
    prompt = list(tokenizer(asked, add_special_tokens=False).input_ids)
    answer = tokenizer(f"{chat[-1]['content']}{tokenizer.eos_token}", add_special_tokens=False).input_ids
    return prompt + list(answer), len(prompt)


def batches(tokenizer: PreTrainedTokenizerBase, recipe: Recipe, start: int) -> Iterator[list[Encoded]]:
    """Yield batches of cases of like length from step `start` on, the same for the same recipe and start."""
    step = start
    while True:
        rng = Random(f"{recipe.seed}/{step}")
        level = recipe.level(step)
        pool: list[Encoded] = []
        while sum(len(ids) for ids, _ in pool) < 12 * recipe.tokens:
            row = encode(tokenizer, case(rng, "train", level).messages())
            if len(row[0]) <= LONGEST:
                pool.append(row)
        pool.sort(key=lambda row: len(row[0]))
        made: list[list[Encoded]] = [[]]
        for row in pool:
            if made[-1] and len(row[0]) * (len(made[-1]) + 1) > recipe.tokens:
                made.append([])
            made[-1].append(row)
        rng.shuffle(made)
        yield from made
        step += len(made)


def loss_of(model: LlamaForCausalLM, batch: list[Encoded]) -> tuple[Tensor, float, float]:
    """Return the loss on the last answers, and the shares of right first tokens and of right answers."""
    width = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in batch])
    place = torch.arange(width)
    begin = torch.tensor([begin for _, begin in batch])[:, None] - 1
    end = torch.tensor([len(row) for row, _ in batch])[:, None] - 1
    said = (place >= begin) & (place < end)
    # Padding stands on the right, where causal attention never looks from a real token: no mask needed.
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits, target = model.lm_head(hidden[said]), ids.roll(-1, 1)[said]
    # Which sentence to quote is decided by its first token; all others only go on copying.
    first = (place == begin)[said]
    weight = 1 + FIRST_WEIGHT * first
    losses = cross_entropy(logits, target, reduction="none")
    right = logits.argmax(-1) == target
    rows = torch.arange(len(batch))[:, None].expand_as(said)[said]
    wrong = torch.zeros(len(batch)).index_add_(0, rows, (~right).float())
    share = right[first].float().mean().item()
    return (weight * losses).sum() / weight.sum(), share, (wrong == 0).float().mean().item()


class Trainer:
    """The model, its optimizers and the step they are at; `save` and `load` carry all of it."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, first: LlamaForCausalLM | None = None
    ) -> None:
        self.tokenizer, self.recipe, self.step = tokenizer, recipe, 0
        self.model = new_model(tokenizer, recipe.seed) if first is None else first
        embedding = self.model.model.embed_tokens.weight
        others = [weight for weight in self.model.parameters() if weight is not embedding]
        # Codes that drift apart would spoil the copying of tokens that training seldom shows.
        groups = [
            {"params": others, "rate": recipe.rate},
            {"params": [embedding], "rate": recipe.embedding_rate},
        ]
        # A small epsilon would let weights without a gradient wander off from the circuit.
        self.optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.0)

    def save(self, folder: Path) -> None:
        """Write the state into `folder`, whole or not at all."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        torch.save(state, folder / "state.part")
        (folder / "state.part").replace(folder / "state.pt")

    def load(self, folder: Path) -> None:
        """Go on from the state in `folder`, if there is one."""
        if not (folder / "state.pt").exists():
            return
        state = torch.load(folder / "state.pt", weights_only=True)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def train_step(self, batch: list[Encoded]) -> tuple[float, float, float]:
        """Learn from one batch; return its loss and its shares of right first tokens and answers."""
        loss, first, exact = loss_of(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = group["rate"] * self.recipe.factor(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return loss.item(), first, exact


def train(trainer: Trainer, work: Path, every: int) -> None:
    """Train to the end of the recipe, reporting and saving every `every` steps."""
    recipe, seen, started = trainer.recipe, 0, time.monotonic()
    losses: list[tuple[float, float, float]] = []
    for batch in batches(trainer.tokenizer, recipe, trainer.step):
        if trainer.step >= recipe.steps:
            break
        losses.append(trainer.train_step(batch))
        seen += sum(len(ids) for ids, _ in batch)
        if trainer.step % 50 == 0:
            loss, first, exact = (sum(column) / len(losses) for column in zip(*losses, strict=True))
            speed = seen / (time.monotonic() - started)
            figures = f"loss {loss:.3f} first {first:.3f} exact {exact:.3f} {speed:.0f} tokens/s"
            print(f"step {trainer.step} {figures}", flush=True)
            losses.clear()
        if trainer.step % every == 0:
            trainer.save(work)
            trainer.model.eval()
            shares = measure(trainer.model, trainer.tokenizer, cases=96)
            trainer.model.train()
            print(f"step {trainer.step} {json.dumps(shares)}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Train and write the model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HOME, help="where the model folder is written")
    parser.add_argument("--work", type=Path, default=Path("var/starter"), help="where the state is kept")
    parser.add_argument("--start", type=Path, help="go on from this model folder instead of first weights")
    parser.add_argument("--skipped", type=float, default=0.0, help="share of the levels to leave out")
    parser.add_argument("--rate", type=float, default=Recipe().rate, help="highest learning rate")
    parser.add_argument("--steps", type=int, default=Recipe().steps)
    parser.add_argument("--every", type=int, default=500, help="steps between measurements")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    chosen.work.mkdir(parents=True, exist_ok=True)
    chosen.out.mkdir(parents=True, exist_ok=True)
    if chosen.start:  # a model knows no other tokens than those it was made with
        AutoTokenizer.from_pretrained(chosen.start).save_pretrained(chosen.out)
    elif not (chosen.out / "tokenizer.json").exists():
        save_tokenizer(train_tokenizer(), chosen.out)
    slower = Recipe().embedding_rate / Recipe().rate
    recipe = Recipe(
        steps=chosen.steps,
        rate=chosen.rate,
        embedding_rate=chosen.rate * slower,
        skipped=chosen.skipped,
    )
    first = LlamaForCausalLM.from_pretrained(chosen.start) if chosen.start else None
    trainer = Trainer(AutoTokenizer.from_pretrained(chosen.out), recipe, first)
    trainer.load(chosen.work)
    train(trainer, chosen.work, chosen.every)
    trainer.model.save_pretrained(chosen.out)
    print(json.dumps(measure(trainer.model, trainer.tokenizer, cases=400)))


if __name__ == "__main__":
    main()
