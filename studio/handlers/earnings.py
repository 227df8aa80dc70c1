"""The earnings page: what one's experts earned in all, by expert, and lately."""

from dataclasses import dataclass

import plotly.graph_objects as go

from engine.accounts.schemas import Person
from engine.flows import browse_market as flow
from studio.views import earnings as views


@dataclass(frozen=True)
class Earnings:
    """The page's content; without earnings there is no chart and no tables."""

    head: str
    chart: go.Figure | None
    tables: str


def earnings(person: Person, language: str) -> Earnings:
    """Return what the tenant's experts have earned. Raises Forbidden for others than developers."""
    total, by_expert = flow.earnings(person)
    if not by_expert:
        return Earnings(head=views.nothing(language), chart=None, tables="")
    recent = flow.recent_earnings(person)
    return Earnings(
        head=views.head(total, by_expert, language),
        chart=views.chart(by_expert, language),
        tables=views.tables(by_expert, recent, language),
    )
