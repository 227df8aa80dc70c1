"""Figures for stakeholders; a developer sees those of their own experts."""

from dataclasses import dataclass

import pandas as pd

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.analytics import queries
from engine.kit.messages import t


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Everything one dashboard shows. Money is in micro-credits, times in milliseconds."""

    own_only: bool
    overview: dict[str, int | None]
    by_day: pd.DataFrame
    by_expert: pd.DataFrame
    latency: pd.DataFrame
    people: pd.DataFrame


def figures(person: Person, days: int) -> Figures:
    """Return the figures of the last `days` days.

    Stakeholders, operators and reviewers see the whole market, developers their own experts. Raises
    Forbidden for others.
    """
    require(person, "stakeholder", "operator", "reviewer", "developer")
    all_of_it = bool(person.roles & {"stakeholder", "operator", "reviewer"})
    tenant = None if all_of_it else person.tenant_id
    return Figures(
        own_only=not all_of_it,
        overview=queries.overview(days, tenant),
        by_day=queries.by_day(days, tenant),
        by_expert=queries.by_expert(days, tenant),
        latency=queries.latency_by_day(days, tenant),
        people=queries.people_by_day(days, tenant),
    )


def csv(found: Figures, language: str) -> str:
    """Return the figures by day as CSV with a header in words, money in credits."""
    frame = found.by_day.copy()
    for column in ("revenue_micro", "developer_micro", "platform_micro"):
        frame[column] = [f"{int(value) / 1_000_000:.6f}" for value in frame[column]]
    names = {column: t(f"dashboard.csv_{column}", language) for column in frame.columns}
    return str(frame.rename(columns=names).to_csv(index=False))
