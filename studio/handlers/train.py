"""The training page: what to train with which recipe, and how a run goes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from engine.accounts.schemas import Person
from engine.datasets.schemas import DatasetView
from engine.flows import (
    import_dataset,
    plan_limits,
    prepare_knowledge,
    preview_training,
    publish_expert,
    search_training,
)
from engine.flows import train_expert as flow
from engine.jobs.schemas import JobView
from engine.kit.errors import BadInput
from engine.kit.messages import t
from engine.market.schemas import ExpertView
from engine.training.schemas import RunView
from studio.handlers import bases
from studio.views import preview as previews
from studio.views import runs, search
from studio.views import train as views

PRESETS = ("quick", "balanced", "thorough")
ADVANCED = ("rank", "alpha", "learning_rate", "epochs", "batch_size", "max_length", "beta")


@dataclass(frozen=True)
class Choices:
    """What a training can be made of: (words, id) each, the newest dataset first."""

    datasets: list[tuple[str, str]]
    bases: list[tuple[str, str]]


@dataclass(frozen=True)
class Proposal:
    """The recipe of a preset for a dataset: its values by field, and what it comes to in words.

    `methods` are those that the dataset can be learnt by, (words, id) each; `method` is the one meant.
    """

    methods: list[tuple[str, str]]
    method: str
    values: dict[str, float]
    words: str


@dataclass(frozen=True)
class Watch:
    """A run as the page shows it; `course` has a plot, or None, for each of `views.runs.GAUGES`."""

    head: str
    job: JobView
    curve: go.Figure | None
    course: list[go.Figure | None]
    samples: str
    result: str


def choices(person: Person, language: str) -> Choices:
    """Return the tenant's datasets and knowledge bases to choose from."""
    return Choices(
        datasets=[(_dataset_words(d, language), d.id) for d in import_dataset.listing(person)],
        bases=[(base.name, base.id) for base in prepare_knowledge.bases(person) if base.indexed_chunks],
    )


def _dataset_words(dataset: DatasetView, language: str) -> str:
    return t("studio.dataset_choice", language, name=dataset.name, rows=f"{dataset.train_rows:,}")


def listing(person: Person, language: str) -> str:
    """Return the table of the tenant's runs, or what stands there before the first."""
    return views.runs(flow.runs(person), search_training.listing(person), language)


def nothing_to_train_with(language: str) -> str:
    """Return what stands instead of the form while there is no dataset."""
    return views.no_dataset(language)


def proposal(
    person: Person, dataset_id: str, preset: str, language: str, method: str = ""
) -> Proposal | None:
    """Return the recipe of a preset for a dataset; None while none is chosen.

    A `method` by which the dataset cannot be learnt gives way to the usual one.
    """
    if not dataset_id:
        return None
    dataset = import_dataset.get(person, dataset_id)
    methods = flow.methods(dataset.layout)
    method = method if method in methods else methods[0]
    recipe = flow.proposal(person, dataset_id, preset, method).to_dict()
    return Proposal(
        methods=[(t(f"studio.method_{name}", language), name) for name in methods],
        method=method,
        values={name: recipe[name] for name in ADVANCED},
        words=views.proposal(recipe, flow.taught(dataset, method), language),
    )


@dataclass(frozen=True)
class Check:
    """What a training would be: words and figures, the lengths of its examples, and some of them."""

    figures: str
    lengths: go.Figure
    examples: str


def check(
    person: Person,
    dataset_id: str,
    base_ids: list[str],
    preset: str,
    values: dict[str, Any],
    language: str,
    method: str = "sft",
) -> Check:
    """Return what `start` would train with the same values. Raises what it raises."""
    if not dataset_id:
        raise BadInput("studio.choose_dataset", field="dataset")
    found = preview_training.preview(
        person,
        dataset_id=dataset_id,
        knowledge_base_ids=base_ids,
        method=method,
        preset=preset,
        changes={name: value for name, value in values.items() if value is not None},
    )
    use = plan_limits.mine(person)
    return Check(
        figures=previews.figures(found, use, language),
        lengths=previews.lengths(found, language),
        examples=previews.examples(found, language),
    )


def start(
    person: Person,
    name: str,
    dataset_id: str,
    base_ids: list[str],
    preset: str,
    values: dict[str, Any],
    questions: Sequence[str] = (),
    method: str = "sft",
) -> str:
    """Start a training and return the run's id. Raises BadInput naming the field at fault.

    `questions` are lines that the model answers while it learns; empty ones do not count.
    """
    if not dataset_id:
        raise BadInput("studio.choose_dataset", field="dataset")
    changes = {name: value for name, value in values.items() if value is not None}
    run, _ = flow.start(
        person,
        name=name or "",
        dataset_id=dataset_id,
        knowledge_base_ids=base_ids,
        method=method,
        preset=preset,
        changes=changes,
        questions=[line.strip() for line in questions if line.strip()],
    )
    return run.id


def watch(person: Person, run_id: str, language: str) -> Watch:
    """Return how a run goes. Raises NotFound."""
    run, job, points = flow.watch(person, run_id)
    expert = next((e for e in publish_expert.mine(person) if e.run_id == run_id), None)
    dataset_name = _name_of(person, run.dataset_id, language)
    head = views.head(run, dataset_name, language) + search.part_of(run, language)
    finished = job.state == "succeeded" or run.ended is not None
    return Watch(
        head=head + bases.ways(person, run.knowledge_base_ids, language),
        job=job,
        curve=views.curve(points, finished, language) if points else None,
        course=runs.course(points, language),
        samples=runs.samples(run, flow.samples(person, run_id), language),
        result=_result(run, job, expert, language),
    )


def _result(run: RunView, job: JobView, expert: ExpertView | None, language: str) -> str:
    if run.search_id is not None and expert is None:
        return search.trial_result(run, language)
    return views.result(run, job, expert, language) if job.state == "succeeded" else ""


def _name_of(person: Person, dataset_id: str, language: str) -> str:
    """Return a dataset's name; a run outlives its dataset."""
    found = {dataset.id: dataset.name for dataset in import_dataset.listing(person)}
    return found.get(dataset_id, t("studio.deleted_dataset", language))
