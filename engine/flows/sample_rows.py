"""Some rows of a dataset as a training would read them, and how many tokens all of them come to."""

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from engine.datasets import service as datasets
from engine.datasets.schemas import DatasetView
from engine.flows.ground_rows import ground
from engine.flows.speak import Speaker
from engine.inference.base_model import resolve
from engine.kit.database import unit_of_work
from engine.kit.settings import settings
from engine.training import preview as previews
from engine.training.examples import examples, sides
from engine.training.preview import Seen
from engine.training.recipe import LoraRecipe

SAMPLED = 100
"""Conversations that are looked at, spread evenly over all."""
SHOWN = 3
MOST_OF_ONE = 20
"""Examples of one conversation that are looked at."""


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What was looked at, some of it to be shown, and the tokens of all passes over all examples."""

    seen: list[Seen]
    shown: list[Seen]
    tokens: int


def sample(
    dataset: DatasetView, base_ids: Sequence[str], recipe: LoraRecipe, *, show: bool = True
) -> Sampled:
    """Return what a training with a recipe would read of a dataset, with the passages of its bases."""
    tokens = previews.tokenizer(resolve(settings().base_model))
    with tempfile.TemporaryDirectory() as folder:
        rows = _rows(dataset, base_ids, Path(folder))
    taught = [side for row in rows for side in islice(_sides(row, recipe.method), MOST_OF_ONE)]
    most = recipe.max_length
    seen = [previews.seen(tokens, example, most, good=good, show=False) for good, example in taught]
    read = sum(len(list(_sides(row, recipe.method))) for row in rows)
    answers = read / max(1, len(rows)) * dataset.train_rows
    mean = statistics.fmean(one.kept for one in seen) if seen else 0.0
    longest = sorted(range(len(seen)), key=lambda number: -seen[number].length)[:1]
    chosen = [*dict.fromkeys([*longest, *range(len(seen))])][:SHOWN] if show else []
    shown = [previews.seen(tokens, taught[one][1], most, good=taught[one][0]) for one in chosen]
    return Sampled(seen=seen, shown=shown, tokens=round(answers * mean * recipe.epochs))


def _sides(row: Mapping[str, Any], method: str) -> Iterator[tuple[bool | None, dict[str, Any]]]:
    """Yield what a model reads of a row, see `examples.sides`."""
    return (side for example in examples(row, method) for side in sides(example))


def _rows(dataset: DatasetView, base_ids: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Return some rows, with the passages that they would be trained with."""
    with unit_of_work() as uow:
        path, _ = datasets.materialise(uow, dataset.id, dataset.tenant_id, folder)
    with path.open(encoding="utf-8") as lines:
        kept = list(islice(lines, 0, None, max(1, dataset.train_rows // SAMPLED)))[:SAMPLED]
    path.write_text("".join(kept), "utf-8")
    speaker = Speaker(
        name="preview", knowledge_base_ids=tuple(base_ids), knowledge_tenant_id=dataset.tenant_id
    )
    ground(path, speaker)
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
