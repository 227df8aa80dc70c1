"""Before a training starts: the data as the model will see it, and what the training will need."""

import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.datasets import service as datasets
from engine.flows import train_expert
from engine.flows.estimate_training import estimate
from engine.inference.base_model import resolve
from engine.kit.database import unit_of_work
from engine.kit.settings import settings
from engine.training import preview as previews
from engine.training.estimate import Estimate
from engine.training.examples import examples
from engine.training.preview import Seen
from engine.training.recipe import LoraRecipe

SAMPLED = 100
"""Conversations that are looked at, spread evenly over all."""
SHOWN = 3


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a training would be. `lengths` are tokens of the sampled examples, `shown` some of them.

    `tokens` is the number of tokens that all passes over all examples come to, `cut` and `empty` count the
    sampled examples that lose their end, and those that lose their whole answer.
    """

    recipe: LoraRecipe
    estimate: Estimate
    rows: int
    lengths: list[int]
    cut: int
    empty: int
    tokens: int
    shown: list[Seen]


def preview(
    person: Person,
    *,
    dataset_id: str,
    knowledge_base_ids: Sequence[str] = (),
    preset: str = "balanced",
    changes: dict[str, Any] | None = None,
) -> Preview:
    """Return what `train_expert.start` would train with the same values. Raises what it raises."""
    require(person, "developer")
    tenant = person.tenant_id
    with unit_of_work() as uow:
        dataset = datasets.get(uow, dataset_id, tenant)
        train_expert.require_bases(uow, knowledge_base_ids, tenant)
    recipe = train_expert.chosen(preset, dataset.train_rows, changes)
    tokens = previews.tokenizer(resolve(settings().base_model))
    with tempfile.TemporaryDirectory() as folder:
        sample = _sample(dataset_id, knowledge_base_ids, tenant, Path(folder))
    seen = [previews.seen(tokens, example, recipe.max_length) for row in sample for example in examples(row)]
    answers = len(seen) / max(1, len(sample)) * dataset.train_rows
    mean = statistics.fmean(one.kept for one in seen) if seen else 0.0
    total = round(answers * mean * recipe.epochs)
    longest_first = sorted(seen, key=lambda one: -one.length)
    shown = [longest_first[0], *seen[: SHOWN - 1]] if len(seen) > SHOWN else seen
    return Preview(
        recipe=recipe,
        estimate=estimate(recipe, total),
        rows=dataset.train_rows,
        lengths=[one.length for one in seen],
        cut=sum(one.kept < one.length for one in seen),
        empty=sum(not one.learnt for one in seen),
        tokens=total,
        shown=shown,
    )


def _sample(
    dataset_id: str, base_ids: Sequence[str], tenant_id: str, folder: Path
) -> list[list[dict[str, str]]]:
    """Return the messages of some conversations, with the passages that they would be trained with."""
    with unit_of_work() as uow:
        path, _ = datasets.materialise(uow, dataset_id, tenant_id, folder)
    lines = path.read_text("utf-8").splitlines()
    step = max(1, len(lines) // SAMPLED)
    path.write_text("".join(f"{line}\n" for line in lines[::step][:SAMPLED]), "utf-8")
    train_expert.ground([path], "preview", base_ids, tenant_id)
    return [json.loads(line)["messages"] for line in path.read_text("utf-8").splitlines()]
