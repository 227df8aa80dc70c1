"""How much memory and time a training needs, from the base model's config and the recipe. No torch here."""

import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.training.recipe import TINY, LoraRecipe

RUNTIME = 2**30
"""Bytes of the libraries themselves, or of a CUDA context."""
SHORTEST = 128
SHARE = 0.2
"""Part of a processor's speed at multiplying large matrices that a training reaches."""
LEAST_BATCH = {"kto": 2}
OPERATIONS = {"sft": 4, "dpo": 6, "kto": 10}
"""For each token and weight: two forward, two back through weights that stay; preferences are also read by
the base model, single verdicts by both with another one's answer."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What of a base model decides its needs.

    `adapted` is the sum of inputs and outputs of all layers that an adapter changes: times the rank, the
    number of its weights.
    """

    parameters: int
    layers: int
    hidden: int
    vocabulary: int
    adapted: int

    @classmethod
    def of(cls, folder: Path, parameters: int) -> "Shape":
        """Return the shape of the base model in `folder`, which has so many weights."""
        whole = json.loads((folder / "config.json").read_text("utf-8"))
        config = whole.get("text_config") or whole
        return cls(
            parameters=parameters,
            layers=int(config["num_hidden_layers"]),
            hidden=int(config["hidden_size"]),
            vocabulary=int(config["vocab_size"]),
            adapted=sum(_adapted(config, whole.get("lora_modules"))),
        )


def _adapted(config: dict[str, Any], wanted: list[str] | None) -> Iterator[int]:
    hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
    size = int(config.get("head_dim") or hidden // heads)
    queries, keys = heads * size, int(config.get("num_key_value_heads") or heads) * size
    inner = int(config.get("intermediate_size") or 4 * hidden)
    parts = {"q_proj": queries, "k_proj": keys, "v_proj": keys, "o_proj": queries}
    parts |= dict.fromkeys(("gate_proj", "up_proj", "down_proj"), inner)
    if wanted:
        yield from (hidden + parts.get(name.rpartition(".")[2], inner) for name in wanted)
    else:
        yield from (
            hidden + other for other in parts.values() for _ in range(int(config["num_hidden_layers"]))
        )


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a training needs, and what there is.

    `memory` and `limit` are bytes of the device, or of the machine without one. `seconds` is None where
    nothing tells how fast such a training goes here. `fitting` is a recipe that fits where this one does
    not, None where it does or none would.
    """

    memory: int
    limit: int
    device: bool
    seconds: float | None
    measured: bool
    fitting: LoraRecipe | None

    @property
    def fits(self) -> bool:
        """Whether there is enough memory."""
        return self.memory <= self.limit


def memory(shape: Shape, recipe: LoraRecipe, *, device: bool) -> int:
    """Return the bytes that a training needs at most, when its examples fill `recipe.max_length`.

    The weights are kept in 2 bytes on a device, in 4 on a processor; the adapter with its gradient and
    Adam's two moments in 4 each. What a layer keeps for going back is 17 numbers for each token and hidden
    unit (Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", without
    the attention matrix, which is not kept); with checkpointing one number, and the rest for one layer at a
    time. Logits are kept once as they come, and twice in 4 bytes.
    """
    unit = 2 if device else 4
    layer = 17 * unit * shape.hidden
    checkpointed = device and shape.parameters > TINY
    kept = shape.layers * unit * shape.hidden + layer if checkpointed else shape.layers * layer
    logits = shape.vocabulary * (unit + 8)
    # Preferences are read in twos: both answers of a pair, or an answer beside another question's.
    tokens = recipe.batch_size * recipe.max_length * (1 if recipe.method == "sft" else 2)
    weights = unit * shape.parameters + 16 * recipe.rank * shape.adapted
    return RUNTIME + weights + tokens * (kept + logits)


def fitting(shape: Shape, recipe: LoraRecipe, limit: int, *, device: bool) -> LoraRecipe | None:
    """Return the nearest recipe that needs no more than `limit` bytes, or None.

    First smaller batches, as many more of them to a step, so that the result is the same; then shorter
    examples.
    """
    while memory(shape, recipe, device=device) > limit:
        least = LEAST_BATCH.get(recipe.method, 1)
        if recipe.batch_size > least:
            smaller = {
                "batch_size": max(least, recipe.batch_size // 2),
                "accumulation": min(128, 2 * recipe.accumulation),
            }
            recipe = recipe.changed(smaller)
        elif recipe.max_length >= 2 * SHORTEST:
            recipe = recipe.changed({"max_length": recipe.max_length // 2})
        else:
            return None
    return recipe


def processors() -> int:
    """Return how many processors a training without a device keeps busy on this machine: all but one.

    The model server works on the same ones; threads that wait for a core it holds cost far more than the
    core would bring.
    """
    return max(1, (os.cpu_count() or 2) - 1)


def processor_speed(shape: Shape, method: str = "sft") -> float:
    """Return roughly how many tokens a second this machine's processor trains: measured by a product."""
    side = 512
    matrix = np.ones((side, side), dtype=np.float32)
    matrix @ matrix
    began = time.perf_counter()
    for _ in range(4):
        matrix @ matrix
    operations = 4 * 2 * side**3 / max(time.perf_counter() - began, 1e-9)
    return SHARE * operations / (OPERATIONS[method] * shape.parameters)
