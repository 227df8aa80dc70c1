"""Make the starter model from nothing: `python -m engine.training.starter.make`.

Four steps: the tokenizer; the meanings of words, learned from questions and sentences; the weights that
look things up, written from those; and what to say when there is nothing to look up, learned by training.
All of it is seeded and goes on from its last state when it is started again with the same work folder.
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
from engine.training.starter.circuit import protect
from engine.training.starter.evaluate import measure
from engine.training.starter.meanings import learn, rarity
from engine.training.starter.model import new_model
from engine.training.starter.text import LANGUAGES, Level, chat_case, grounded_case
from engine.training.starter.tokenizer import save_tokenizer, train_tokenizer

HOME = Path(__file__).parents[3] / "data" / "starter"
LEVEL = Level(passages=6, sentences=2)
CHATS = 0.85  # share of conversations without passages
HOPELESS = 50.0  # the loss of a token from which on the circuit looked in the wrong place
LONGEST = 480  # tokens of a case
Encoded = tuple[list[int], int]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How long and how fast: batches for the meanings; then `steps` of about `tokens` tokens each."""

    meanings: int = 5_500
    steps: int = 2_500
    tokens: int = 1_024
    rate: float = 3e-3
    warm_up: int = 30
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.meanings, self.steps, self.tokens, self.warm_up) < 1:
            raise ValueError("meanings, steps, tokens and warm_up are at least 1")

    def factor(self, step: int) -> float:
        """The factor on the learning rate at `step`: a rise, then half a cosine down to a fiftieth."""
        rising = min(1.0, (step + 1) / self.warm_up)
        return rising * (0.02 + 0.49 * (1 + math.cos(math.pi * min(1.0, step / self.steps))))


def encode(tokenizer: PreTrainedTokenizerBase, messages: list[Message]) -> Encoded:
    """Return the tokens of a conversation and the place where its last answer begins."""
    chat: Any = messages
    asked = str(tokenizer.apply_chat_template(chat[:-1], add_generation_prompt=True, tokenize=False))
    prompt = list(tokenizer(asked, add_special_tokens=False).input_ids)
    answer = tokenizer(f"{chat[-1]['content']}{tokenizer.eos_token}", add_special_tokens=False).input_ids
    return prompt + list(answer), len(prompt)


def batches(tokenizer: PreTrainedTokenizerBase, recipe: Recipe, start: int) -> Iterator[list[Encoded]]:
    """Yield the batch of each step from `start` on, always the same for the same recipe."""
    step = start
    while True:
        rng = Random(f"{recipe.seed}/{step}")
        language, batch = rng.choice(LANGUAGES), list[Encoded]()
        chats = rng.random() < CHATS
        while True:
            made = (
                chat_case(rng, "train", language) if chats else grounded_case(rng, "train", LEVEL, language)
            )
            row = encode(tokenizer, made.messages())
            if len(row[0]) > LONGEST:
                continue
            if batch and max(len(ids) for ids, _ in [*batch, row]) * (len(batch) + 1) > recipe.tokens:
                break
            batch.append(row)
        yield batch
        step += 1


def loss_of(model: LlamaForCausalLM, batch: list[Encoded]) -> tuple[Tensor, float]:
    """Return the loss on the last answers, and the share of answers that are right to the last token."""
    width = max(len(ids) for ids, _ in batch)
    ids = torch.tensor([row + [0] * (width - len(row)) for row, _ in batch])
    place = torch.arange(width)
    begin = torch.tensor([begin for _, begin in batch])[:, None] - 1
    end = torch.tensor([len(row) for row, _ in batch])[:, None] - 1
    said = (place >= begin) & (place < end)
    # Padding stands on the right, where causal attention never looks from a real token: no mask needed.
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    logits, target = model.lm_head(hidden[said]), ids.roll(-1, 1)[said]
    # A token that the circuit copies from the wrong place teaches nothing that can be learned here.
    losses = cross_entropy(logits, target, reduction="none").clamp(max=HOPELESS)
    rows = torch.arange(len(batch))[:, None].expand_as(said)[said]
    wrong = torch.zeros(len(batch)).index_add_(0, rows, (logits.argmax(-1) != target).float())
    return losses.mean(), (wrong == 0).float().mean().item()


class Trainer:
    """The model, its optimizer and the step they are at; `save` and `load` carry all of it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, model: LlamaForCausalLM) -> None:
        self.tokenizer, self.recipe, self.model, self.step = tokenizer, recipe, model, 0
        protect(model)
        learned = [weight for weight in model.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(learned, betas=(0.9, 0.98), weight_decay=0.0)

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

    def train_step(self, batch: list[Encoded]) -> tuple[float, float]:
        """Learn from one batch; return its loss and its share of right answers."""
        loss, exact = loss_of(self.model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate * self.recipe.factor(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        return loss.item(), exact


def train(trainer: Trainer, work: Path, every: int) -> None:
    """Train to the end of the recipe, reporting and saving every `every` steps."""
    recipe, seen, started = trainer.recipe, 0, time.monotonic()
    losses: list[tuple[float, float]] = []
    for batch in batches(trainer.tokenizer, recipe, trainer.step):
        if trainer.step >= recipe.steps:
            break
        losses.append(trainer.train_step(batch))
        seen += sum(len(ids) for ids, _ in batch)
        if trainer.step % 50 == 0:
            loss, exact = (sum(column) / len(losses) for column in zip(*losses, strict=True))
            speed = seen / (time.monotonic() - started)
            print(f"step {trainer.step} loss {loss:.3f} exact {exact:.3f} {speed:.0f} tokens/s", flush=True)
            losses.clear()
        if trainer.step % every == 0:
            trainer.save(work)
            trainer.model.eval()
            shares = measure(trainer.model, trainer.tokenizer, cases=96)
            trainer.model.train()
            print(f"step {trainer.step} {json.dumps(shares)}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    """Make and write the model folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HOME, help="where the model folder is written")
    parser.add_argument("--work", type=Path, default=Path("var/starter"), help="where the state is kept")
    parser.add_argument("--meanings", type=int, default=Recipe().meanings, help="batches for the meanings")
    parser.add_argument("--steps", type=int, default=Recipe().steps, help="steps of the training")
    parser.add_argument("--every", type=int, default=250, help="steps between measurements")
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(chosen.threads)
    for folder in (chosen.work, chosen.out):
        folder.mkdir(parents=True, exist_ok=True)
    if not (chosen.work / "tokenizer.json").exists():
        save_tokenizer(train_tokenizer(), chosen.work)
    tokenizer = AutoTokenizer.from_pretrained(chosen.work)
    recipe = Recipe(meanings=chosen.meanings, steps=chosen.steps)
    meanings = learn(tokenizer, chosen.work, recipe.meanings, recipe.seed)
    meanings["rarity"] = rarity(tokenizer, meanings["weight"], recipe.seed)
    trainer = Trainer(tokenizer, recipe, new_model(tokenizer, meanings, recipe.seed))
    trainer.load(chosen.work)
    train(trainer, chosen.work, chosen.every)
    tokenizer.save_pretrained(chosen.out)
    trainer.model.save_pretrained(chosen.out)
    print(json.dumps(measure(trainer.model, tokenizer, cases=400)))


if __name__ == "__main__":
    main()
