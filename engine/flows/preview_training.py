"""Before a training starts: the data as the model will see it, and what the training will need."""

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.datasets import service as datasets
from engine.flows import train_expert
from engine.flows.estimate_training import estimate
from engine.flows.speak import Speaker
from engine.inference.base_model import resolve
from engine.kit.database import unit_of_work
from engine.kit.settings import settings
from engine.training import preview as previews
from engine.training.estimate import Estimate
from engine.training.examples import examples, sides
from engine.training.preview import Seen
from engine.training.recipe import LoraRecipe

SAMPLED = 100
"""Conversations that are looked at, spread evenly over all."""
SHOWN = 3
MOST_OF_ONE = 20
"""Examples of one conversation that are looked at."""


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a training would be. `lengths` are tokens of the sampled examples, `shown` some of them; of a
    preference each answer counts by itself.

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
    method: str = "sft",
    preset: str = "balanced",
    changes: dict[str, Any] | None = None,
) -> Preview:
    """Return what `train_expert.start` would train with the same values. Raises what it raises."""
    require(person, "developer")
    tenant = person.tenant_id
    with unit_of_work() as uow:
        dataset = datasets.get(uow, dataset_id, tenant)
        train_expert.require_bases(uow, knowledge_base_ids, tenant)
    recipe = train_expert.chosen(dataset, method, preset, changes)
    tokens = previews.tokenizer(resolve(settings().base_model))
    with tempfile.TemporaryDirectory() as folder:
        sample = _sample(dataset_id, dataset.train_rows, knowledge_base_ids, tenant, Path(folder))
    taught = [side for row in sample for side in islice(_sides(row, recipe.method), MOST_OF_ONE)]
    seen = [
        previews.seen(tokens, example, recipe.max_length, good=good, show=False) for good, example in taught
    ]
    read = sum(len(list(_sides(row, recipe.method))) for row in sample)
    answers = read / max(1, len(sample)) * dataset.train_rows
    mean = statistics.fmean(one.kept for one in seen) if seen else 0.0
    total = round(answers * mean * recipe.epochs)
    longest = sorted(range(len(seen)), key=lambda number: -seen[number].length)[:1]
    chosen = [*dict.fromkeys([*longest, *range(len(seen))])][:SHOWN]
    shown = [
        previews.seen(tokens, taught[number][1], recipe.max_length, good=taught[number][0])
        for number in chosen
    ]
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


def _sides(row: Mapping[str, Any], method: str) -> Iterator[tuple[bool | None, dict[str, Any]]]:
    """Yield what a model reads of a row, see `examples.sides`."""
    return (side for example in examples(row, method) for side in sides(example))


def _sample(
    dataset_id: str, rows: int, base_ids: Sequence[str], tenant_id: str, folder: Path
) -> list[dict[str, Any]]:
    """Return some rows, with the passages that they would be trained with."""
    with unit_of_work() as uow:
        path, _ = datasets.materialise(uow, dataset_id, tenant_id, folder)
    with path.open(encoding="utf-8") as lines:
        kept = list(islice(lines, 0, None, max(1, rows // SAMPLED)))[:SAMPLED]
    path.write_text("".join(kept), "utf-8")
    speaker = Speaker(name="preview", knowledge_base_ids=tuple(base_ids), knowledge_tenant_id=tenant_id)
    train_expert.ground(path, speaker)
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
