"""Searching for good values: many short trainings as one job, whose best one becomes an expert."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.datasets import service as datasets
from engine.flows import plan_limits, preview_training, price_training, train_expert
from engine.flows.estimate_training import estimate, require_fit
from engine.flows.ground_rows import write_rows
from engine.flows.price_training import Price
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound
from engine.kit.settings import settings
from engine.training import searches
from engine.training import service as training
from engine.training.estimate import Estimate
from engine.training.recipe import LoraRecipe
from engine.training.schemas import SearchView, Tally, Trial
from engine.training.search import SearchSpace

SEARCH = "training.search"


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What a search would be: its space, and what all trials need together if none of them ends early.

    `recipe` is what the trials share, and the values of the first one.
    """

    space: SearchSpace
    recipe: LoraRecipe
    estimate: Estimate
    tokens: int
    price: Price


def start(
    person: Person,
    *,
    name: str,
    dataset_id: str,
    knowledge_base_ids: Sequence[str] = (),
    questions: Sequence[str] = (),
    method: str = "sft",
    preset: str = "balanced",
    changes: dict[str, Any] | None = None,
    space: Mapping[str, Any] | None = None,
) -> tuple[SearchView, JobView]:
    """Submit a search over rank, learning rate and epochs.

    `method`, `preset` and `changes` choose the recipe as for a training: what the trials share, and where
    the search begins. `space` overrides fields of the SearchSpace around it. Raises what
    `train_expert.start` raises, for the largest training that the search could make.
    """
    require(person, "developer")
    with unit_of_work() as uow:
        plan_limits.require_training(uow, person.tenant_id)
        dataset = datasets.get(uow, dataset_id, person.tenant_id)
    recipe = train_expert.chosen(dataset, method, preset, changes)
    wanted = around(recipe).changed(space or {})
    needs = require_fit(wanted.largest(recipe))
    training.require_startable(name, wanted.largest(recipe), knowledge_base_ids, questions)
    with unit_of_work() as uow:
        train_expert.require_bases(uow, knowledge_base_ids, person.tenant_id)
    price = price_training.of_training(dataset, knowledge_base_ids, recipe, passes=_passes(wanted))
    with unit_of_work() as uow:
        plan_limits.require_training(uow, person.tenant_id, device=needs.device)
        price_training.require(uow, person.tenant_id, price, device=needs.device)
        search = searches.create(
            uow,
            person_id=person.id,
            tenant_id=person.tenant_id,
            name=name,
            dataset_id=dataset_id,
            held_out_rows=dataset.validation_rows,
            base_model=settings().base_model,
            recipe=recipe,
            space=wanted,
            knowledge_base_ids=knowledge_base_ids,
            questions=questions,
            dataset_fingerprint=dataset.fingerprint,
        )
        job = train_expert.submit(
            uow,
            person,
            kind=SEARCH,
            made=search,
            dataset=dataset,
            preset=preset,
            memory=needs.memory if needs.device else 0,
            price=price,
        )
        return searches.attach_job(uow, search.id, person.tenant_id, job.id), job


def around(recipe: LoraRecipe) -> SearchSpace:
    """Return where a search looks when nothing else is said."""
    return SearchSpace.around(recipe, settings().max_lora_rank)


def proposal(person: Person, dataset_id: str, preset: str, method: str = "sft") -> SearchSpace:
    """Return the space that `start` would search for a dataset of the tenant without changes."""
    return around(train_expert.proposal(person, dataset_id, preset, method))


def outlook(
    person: Person,
    *,
    dataset_id: str,
    knowledge_base_ids: Sequence[str] = (),
    method: str = "sft",
    preset: str = "balanced",
    changes: dict[str, Any] | None = None,
    space: Mapping[str, Any] | None = None,
) -> Outlook:
    """Return what `start` would search with the same values. Raises what it raises for them."""
    given = preview_training.preview(
        person,
        dataset_id=dataset_id,
        knowledge_base_ids=knowledge_base_ids,
        method=method,
        preset=preset,
        changes=changes,
    )
    wanted = around(given.recipe).changed(space or {})
    tokens = round(given.tokens / given.recipe.epochs * _passes(wanted))
    needs = estimate(wanted.largest(given.recipe), tokens)
    price = price_training.about(needs)
    return Outlook(
        space=wanted,
        recipe=given.recipe,
        estimate=needs,
        tokens=tokens,
        price=price_training.quote(person.tenant_id, price, device=needs.device),
    )


def _passes(space: SearchSpace) -> float:
    """Return how often all trials together go through the rows, if each takes the middle of the range."""
    return space.trials * sum(space.epochs) / 2


def source(search: SearchView, folder: Path) -> tuple[Path, Path]:
    """Write the two splits of a search's dataset into `folder`, as its expert will read them."""
    return write_rows(train_expert.speaker_of(search), search.dataset_id, folder)


def finish(uow: Session, job: JobView, result: dict[str, Any]) -> None:
    """Enter the best trial's adapter in the market; in the transaction that ends the job."""
    run_id = str(result["best_run_id"])
    searches.finish(uow, str(job.params["search_id"]), job.tenant_id, run_id)
    train_expert.enter(uow, job, run_id, result)


def listing(person: Person) -> list[tuple[SearchView, JobView | None, Tally]]:
    """Return the tenant's searches with their jobs and how far they are, newest first."""
    require(person, "developer")
    with unit_of_work() as uow:
        found = searches.listing(uow, person.tenant_id)
        by_id = {job.id: job for job in jobs.listing(uow, person.tenant_id, kinds=(SEARCH,), limit=200)}
    return [(search, by_id.get(search.job_id or ""), tally) for search, tally in found]


def watch(person: Person, search_id: str) -> tuple[SearchView, JobView, list[Trial]]:
    """Return a search, its job and its trials so far. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        search = searches.get(uow, search_id, person.tenant_id)
        job = jobs.get(uow, search.job_id or "", person.tenant_id)
        return search, job, searches.trials(uow, search_id, person.tenant_id)


def watch_job(person: Person, job_id: str) -> tuple[SearchView, JobView, list[Trial]]:
    """Return what `watch` returns, by the job's id. Raises NotFound, also for another kind of job."""
    require(person, "developer")
    with unit_of_work() as uow:
        job = jobs.get(uow, job_id, person.tenant_id)
    if job.kind != SEARCH:
        raise NotFound("search.unknown")
    return watch(person, job.subject_id or "")
