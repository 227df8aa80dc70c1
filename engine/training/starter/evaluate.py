"""Measure a starter model on held-out cases: `python -m engine.training.starter.evaluate [FOLDER]`."""

import argparse
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from engine.kit.prompts import REFUSAL, Message
from engine.training.starter.text import Case, Level, case

HELD_OUT_SEED = 2026
LONGEST = 192  # tokens of an answer


def held_out(cases: int, level: Level | None = None) -> list[Case]:
    """The first `cases` held-out cases: names that training never uses."""
    rng = Random(HELD_OUT_SEED)
    return [case(rng, "held_out", level) for _ in range(cases)]


@torch.no_grad()
def answers(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    chats: Sequence[Sequence[Message]],
    batch: int = 16,
) -> list[str]:
    """Return the model's likeliest answer to each conversation, in order."""
    order = sorted(range(len(chats)), key=lambda n: sum(len(m["content"]) for m in chats[n]))
    found = [""] * len(chats)
    for start in range(0, len(order), batch):
        part = order[start : start + batch]
        said_so_far: Any = [list(chats[n]) for n in part]
        inputs: Any = tokenizer.apply_chat_template(
            said_so_far,
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        out = model.generate(**inputs, max_new_tokens=LONGEST, do_sample=False, top_k=None)  # type: ignore[operator]
        said = tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        for n, text in zip(part, said, strict=True):
            found[n] = text
    return found


def measure(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, cases: int, level: Level | None = None
) -> dict[str, float]:
    """Return the share of exact answers by language and kind, on the last turn of held-out cases."""
    chosen = held_out(cases, level)
    said = answers(model, tokenizer, [c.messages()[:-1] for c in chosen])
    right: dict[str, list[bool]] = defaultdict(list)
    for one, answer in zip(chosen, said, strict=True):
        kind = one.kinds[-1]
        right[f"{one.language} {kind}"].append(answer == one.turns[-1][1])
        if kind == "quote":
            right[f"{one.language} wrongly refused"].append(answer == REFUSAL[one.language])
            right[f"{one.language} verbatim"].append(any(answer in " ".join(p.split()) for p in one.passages))
    return {name: round(sum(hits) / len(hits), 3) for name, hits in sorted(right.items())}


def main(arguments: list[str] | None = None) -> None:
    """Print the figures of a model folder as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=str(Path(__file__).parents[3] / "data" / "starter"))
    parser.add_argument("--cases", type=int, default=400)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(chosen.folder).eval()
    print(json.dumps(measure(model, AutoTokenizer.from_pretrained(chosen.folder), chosen.cases), indent=1))


if __name__ == "__main__":
    main()
