"""Searching for good values: what it will take, starting it, and how it goes."""

from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from engine.accounts.schemas import Person
from engine.flows import import_dataset, plan_limits, publish_expert
from engine.flows import search_training as flow
from engine.jobs.schemas import JobView
from engine.kit.errors import BadInput
from engine.kit.messages import t
from engine.kit.settings import settings
from engine.training.search import Choice, SearchSpace, best
from studio.handlers import bases
from studio.handlers.train import ADVANCED
from studio.views import search as views

TRIALS = SearchSpace.trials
PAIRS = {"learning_rate": "highest_rate", "epochs": "most_epochs"}
"""The two fields of a range."""


@dataclass(frozen=True)
class Watch:
    """A search as the page shows it; `values` has a plot, or None, for each field of Choice."""

    head: str
    job: JobView
    verdict: str
    losses: go.Figure | None
    values: list[go.Figure | None]
    table: str


def ranks() -> list[int]:
    """Return the ranks to choose from: powers of two that can be served."""
    most = settings().max_lora_rank
    return [rank for rank in (2**power for power in range(10)) if rank <= most]


def proposal(person: Person, dataset_id: str, preset: str, method: str = "sft") -> dict[str, Any]:
    """Return the fields of the search that a preset proposes for a dataset."""
    space = flow.proposal(person, dataset_id, preset, method)
    pairs = {name: getattr(space, name) for name in PAIRS}
    return {
        "rank": list(space.rank),
        **{name: low for name, (low, _) in pairs.items()},
        **{PAIRS[name]: high for name, (_, high) in pairs.items()},
    }


def outlook(person: Person, training: dict[str, Any], ranges: dict[str, Any], language: str) -> str:
    """Return what a search will take. Raises what `start` raises for its values."""
    given = _given(training, ranges)
    given.pop("name"), given.pop("questions")
    return views.outlook(flow.outlook(person, **given), plan_limits.mine(person), language)


def start(person: Person, training: dict[str, Any], ranges: dict[str, Any]) -> str:
    """Start a search and return its id; `training` and `ranges` are the fields of the two forms.

    Raises BadInput naming the field at fault.
    """
    search, _ = flow.start(person, **_given(training, ranges))
    return search.id


def _given(training: dict[str, Any], ranges: dict[str, Any]) -> dict[str, Any]:
    if not training["dataset"]:
        raise BadInput("studio.choose_dataset", field="dataset")
    lines = (training["questions"] or "").splitlines()
    return {
        "name": training["name"] or "",
        "dataset_id": training["dataset"],
        "knowledge_base_ids": training["kb_ids"] or [],
        "method": training.get("method") or "sft",
        "preset": training["preset"],
        "changes": {name: training[name] for name in ADVANCED if training[name] is not None},
        "questions": [line.strip() for line in lines if line.strip()],
        "space": {
            "rank": ranges["rank"] or [],
            "trials": ranges["trials"],
            **{name: (ranges[name], ranges[high]) for name, high in PAIRS.items()},
        },
    }


def watch(person: Person, search_id: str, language: str) -> Watch:
    """Return how a search goes. Raises NotFound."""
    search, job, trials = flow.watch(person, search_id)
    names = {dataset.id: dataset.name for dataset in import_dataset.listing(person)}
    dataset = names.get(search.dataset_id, t("studio.deleted_dataset", language))
    expert = next((e for e in publish_expert.mine(person) if e.run_id == search.best_run_id), None)
    head = views.head(search, dataset, language) + bases.ways(person, search.knowledge_base_ids, language)
    return Watch(
        head=head,
        job=job,
        verdict=views.verdict(job, trials, expert, language),
        losses=views.losses(trials, language),
        values=[views.against(name, trials, language) for name in Choice._fields],
        table=views.table(trials, best(trials), job.state not in ("cancelled", "failed"), language),
    )
