"""Fine-tuning an expert: from a dataset to a model in the market's first state."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.datasets import service as datasets
from engine.datasets.schemas import DatasetView
from engine.flows import plan_limits, price_training
from engine.flows.estimate_training import fitted, require_fit
from engine.flows.ground_rows import ground, write_rows
from engine.flows.speak import Speaker, prompt_for
from engine.inference.base_model import parameter_count
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.kit.settings import settings
from engine.knowledge import service as knowledge
from engine.knowledge.schemas import BaseView
from engine.market import service as market
from engine.training import service as training
from engine.training.prompting import is_prompt
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Point, RunView, Sample, SearchView

TRAIN = "training.sft"
MEASURE = "training.prompt"
KINDS = (TRAIN, MEASURE)
"""The jobs that make an expert: by training, and by a prompt that is only measured."""
LEARNS = {"preference": ("dpo", "kto", "sft"), "feedback": ("kto", "sft")}
"""Methods by the layout of a dataset, the usual one first; of other layouts answers are learnt."""
KEPT_OF_DATASET = {"id", "name", "train_rows", "validation_rows", "seed", "validation_percent"}


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
) -> tuple[RunView, JobView]:
    """Submit a LoRA fine-tuning of the base model on a dataset.

    `preset` chooses a recipe by method and size of the data; `changes` override single values of it.
    `questions` are answered by the model in training at ends of epochs. Raises BadInput naming the value at
    fault, also when no machine has the memory for it or the data nothing for the method, NotFound for
    another tenant's data or knowledge, Forbidden when the plan has no room for it, and InsufficientCredit
    when the wallet has less than it will cost.
    """
    require(person, "developer")
    with unit_of_work() as uow:
        plan_limits.require_training(uow, person.tenant_id)
        dataset = datasets.get(uow, dataset_id, person.tenant_id)
    recipe = chosen(dataset, method, preset, changes)
    needs = require_fit(recipe)
    training.require_startable(name, recipe, knowledge_base_ids, questions)
    with unit_of_work() as uow:
        require_bases(uow, knowledge_base_ids, person.tenant_id)
    price = price_training.of_training(dataset, knowledge_base_ids, recipe)
    with unit_of_work() as uow:
        plan_limits.require_training(uow, person.tenant_id, device=needs.device)
        price_training.require(uow, person.tenant_id, price, device=needs.device)
        run = training.create_run(
            uow,
            person_id=person.id,
            tenant_id=person.tenant_id,
            name=name,
            dataset_id=dataset_id,
            base_model=settings().base_model,
            recipe=recipe,
            knowledge_base_ids=knowledge_base_ids,
            questions=questions,
            dataset_fingerprint=dataset.fingerprint,
        )
        memory = needs.memory if needs.device else 0
        job = submit(
            uow, person, kind=TRAIN, made=run, dataset=dataset, preset=preset, memory=memory, price=price
        )
        return training.attach_job(uow, run.id, person.tenant_id, job.id), job


def submit(
    uow: Session,
    person: Person,
    *,
    kind: str,
    made: RunView | SearchView,
    dataset: DatasetView,
    preset: str | None = None,
    memory: int = 0,
    price: int | None = None,
) -> JobView:
    """Submit the job of a run or a search; `price` is about what it costs, in micro-credits, if one can tell.

    Raises NotFound when one of its knowledge bases is not there.
    """
    bases = require_bases(uow, made.knowledge_base_ids, person.tenant_id)
    return jobs.submit(
        uow,
        kind=kind,
        person_id=person.id,
        tenant_id=person.tenant_id,
        title=made.name,
        subject_id=made.id,
        params={
            "search_id" if isinstance(made, SearchView) else "run_id": made.id,
            "tenant_id": person.tenant_id,
            "dataset_id": dataset.id,
            # For the report: a run outlives its dataset, its bases and the numbers of a preset.
            **({"preset": preset} if preset else {}),
            **({"estimate_micro": price} if price is not None else {}),
            "examples": taught(dataset, made.recipe["method"]),
            "parameters": parameter_count(settings().base_model),
            "dataset": dataset.model_dump(include=KEPT_OF_DATASET),
            "bases": [{"id": base.id, "name": base.name} for base in bases],
        },
        queue="training",
        resource="training",
        memory=memory,
    )


def require_bases(uow: Session, base_ids: Sequence[str], tenant_id: str) -> list[BaseView]:
    """Return the bases. Raises NotFound, naming the door's field, unless every one is the tenant's."""
    found = []
    for base_id in base_ids:
        try:
            found.append(knowledge.get_base(uow, base_id, tenant_id))
        except NotFound:
            raise NotFound("training.unknown_base", field="kb_ids", id=base_id[:40]) from None
    return found


def methods(layout: str) -> tuple[str, ...]:
    """Return by which methods something can be learnt from a dataset, the usual one first."""
    return LEARNS.get(layout, ("sft",))


def taught(dataset: DatasetView, method: str) -> int:
    """Return how many examples the rows of a dataset come to, if each has one answer."""
    pairs = method == "kto" and dataset.layout == "preference"
    return dataset.train_rows * (2 if pairs else 1)


def proposal(person: Person, dataset_id: str, preset: str, method: str = "sft") -> LoraRecipe:
    """Return the recipe that `start` would use for a dataset of the tenant without changes."""
    require(person, "developer")
    with unit_of_work() as uow:
        dataset = datasets.get(uow, dataset_id, person.tenant_id)
    return chosen(dataset, method, preset)


def chosen(
    dataset: DatasetView, method: str, preset: str, changes: Mapping[str, Any] | None = None
) -> LoraRecipe:
    """Return the recipe of a preset for a dataset and the machines that there are, with some values replaced.

    Raises BadInput, also when the dataset has nothing that the method learns from.
    """
    parameters = parameter_count(settings().base_model)
    usual = LoraRecipe.preset(preset, taught(dataset, method), parameters, method)
    recipe = fitted(usual).changed(changes or {})
    if recipe.method not in methods(dataset.layout):
        raise BadInput(f"training.{recipe.method}_needs", field="method", name=dataset.name)
    return recipe


def data_source(run_id: str, tenant_id: str, folder: Path) -> tuple[Path, Path]:
    """Write the two splits of a run's dataset into `folder`, as the expert will read them when it serves."""
    with unit_of_work() as uow:
        run = training.get_run(uow, run_id, tenant_id)
    if is_prompt(run.recipe):
        # Only the held-out rows are read: looking up passages for the others would take hours.
        with unit_of_work() as uow:
            train, held_out = datasets.materialise(uow, run.dataset_id, tenant_id, folder)
        ground(held_out, speaker_of(run))
        return train, held_out
    return write_rows(speaker_of(run), run.dataset_id, folder)


def speaker_of(run: RunView | SearchView) -> Speaker:
    """Return who the expert of a run or a search will be, but for its adapter: what it reads."""
    return Speaker(
        name=run.name,
        template=str(run.recipe.get("template", "")),
        knowledge_base_ids=tuple(run.knowledge_base_ids),
        knowledge_tenant_id=run.tenant_id,
    )


def asked(run: RunView) -> dict[str, list[dict[str, str]]]:
    """Return for each question of a run what its expert would read for it when it serves."""
    speaker, found = speaker_of(run), {}
    for question in run.questions:
        prompt = prompt_for(speaker, [{"role": "user", "content": question}])
        found[question] = [{"role": m["role"], "content": m["content"]} for m in prompt.messages]
    return found


def finish(uow: Session, job: JobView, result: dict[str, Any]) -> None:
    """Enter the trained adapter in the market; in the transaction that ends the job."""
    enter(uow, job, str(job.params["run_id"]), result)


def enter(uow: Session, job: JobView, run_id: str, result: dict[str, Any]) -> None:
    """Finish a run of a job and enter its adapter in the market."""
    run = training.finish_run(uow, run_id, job.tenant_id, result)
    market.register(
        uow,
        person_id=job.owner_id,
        tenant_id=job.tenant_id,
        name=market.free_name(uow, run.name, job.tenant_id),
        title=run.name,
        run_id=run.id,
        adapter_prefix=str(result["adapter_prefix"]),
        template=str(run.recipe.get("template", "")),
        base_model=run.base_model,
        knowledge_base_ids=run.knowledge_base_ids,
    )


def runs(person: Person) -> list[tuple[RunView, JobView | None]]:
    """Return the tenant's training runs with their jobs, newest first."""
    require(person, "developer")
    with unit_of_work() as uow:
        found = training.runs(uow, person.tenant_id)
        by_id = {job.id: job for job in jobs.listing(uow, person.tenant_id, kinds=KINDS, limit=200)}
    return [(run, by_id.get(run.job_id or "")) for run in found]


def run(person: Person, run_id: str) -> RunView:
    """Return a run of the tenant. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return training.get_run(uow, run_id, person.tenant_id)


def watch(person: Person, run_id: str) -> tuple[RunView, JobView, list[Point]]:
    """Return a run, its job and its loss curve so far. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        run = training.get_run(uow, run_id, person.tenant_id)
        job = jobs.get(uow, run.job_id or "", person.tenant_id)
        return run, job, training.points(uow, run_id, person.tenant_id)


def samples(person: Person, run_id: str) -> list[Sample]:
    """Return what the model in training answered so far, by step. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return training.samples(uow, run_id, person.tenant_id)


def watch_job(person: Person, job_id: str) -> tuple[RunView, JobView, list[Point]]:
    """Return what `watch` returns, by the job's id. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        job = jobs.get(uow, job_id, person.tenant_id)
    return watch(person, job.subject_id or "")
