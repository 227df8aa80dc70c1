"""Training runs side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from engine.accounts.schemas import Person
from engine.flows import compare_trainings, train_expert
from engine.kit.errors import BadInput
from studio.views import compare as views

MOST = compare_trainings.MOST


@dataclass(frozen=True)
class Side:
    """Runs side by side as the page shows them."""

    head: str
    curves: go.Figure | None
    facts: str


def choices(person: Person, language: str) -> list[tuple[str, str]]:
    """Return the tenant's runs to choose from: (words, id), the newest first."""
    return views.choices(train_expert.runs(person), language)


def chosen(run_ids: Sequence[str]) -> str:
    """Return the value of an address that compares runs. Raises BadInput unless it is two to four."""
    if not 2 <= len(run_ids) <= MOST:
        raise BadInput("runs.compare_count", field="runs", count=len(run_ids), most=MOST)
    return ",".join(run_ids)


def side(person: Person, run_ids: str, language: str) -> Side:
    """Return runs side by side; `run_ids` have commas between them. Raises as the flow does."""
    found = compare_trainings.compare(person, [one for one in run_ids.split(",") if one])
    return Side(
        head=views.head(found, language),
        curves=views.curves(found, language),
        facts=views.facts(found, language),
    )
