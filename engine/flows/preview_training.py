"""Before a training starts: the data as the model will see it, and what the training will need and cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.datasets import service as datasets
from engine.flows import price_training, train_expert
from engine.flows.estimate_training import estimate
from engine.flows.price_training import Price
from engine.flows.sample_rows import sample
from engine.kit.database import unit_of_work
from engine.training.estimate import Estimate
from engine.training.preview import Seen
from engine.training.recipe import LoraRecipe


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a training would be. `lengths` are tokens of the sampled examples, `shown` some of them; of a
    preference each answer counts by itself.

    `tokens` is the number of tokens that all passes over all examples come to, `cut` and `empty` count the
    sampled examples that lose their end, and those that lose their whole answer.
    """

    recipe: LoraRecipe
    estimate: Estimate
    price: Price
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
    found = sample(dataset, knowledge_base_ids, recipe)
    needs = estimate(recipe, found.tokens)
    return Preview(
        recipe=recipe,
        estimate=needs,
        price=price_training.quote(tenant, price_training.about(needs), device=needs.device),
        rows=dataset.train_rows,
        lengths=[one.length for one in found.seen],
        cut=sum(one.kept < one.length for one in found.seen),
        empty=sum(not one.learnt for one in found.seen),
        tokens=found.tokens,
        shown=found.shown,
    )
