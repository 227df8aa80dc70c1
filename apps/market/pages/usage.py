"""Usage: what the account called and paid, by day and by expert."""

from typing import Any

import gradio as gr

from apps.market import handlers, views
from apps.market.frame import MarketPage
from apps.shell import person_of
from engine.accounts.schemas import Person


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    UsagePage(language)


class UsagePage(MarketPage):
    """Totals, a plot, and two tables for a period."""

    path = "usage"
    tab = "usage"

    def build(self) -> None:
        gr.HTML(views.heading("usage", self.language))
        periods = [(self.t("days", days=days), days) for days in handlers.PERIODS]
        self.period = self.part(
            gr.Radio(periods, value=handlers.PERIODS[1], label=self.t("period"), show_label=False)
        )
        self.totals = self.part(gr.HTML())
        self.plot = self.part(gr.Plot(show_label=False, visible=False))
        self.tables = self.part(gr.HTML())

    def wire(self, blocks: gr.Blocks) -> None:
        self.on(self.period.input, self.choosing, [self.period])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        return self.shown(person, handlers.PERIODS[1])

    def shown(self, person: Person, days: int) -> dict[Any, Any]:
        """Return the updates that show a period."""
        found = handlers.usage(person, days, self.language)
        return {
            self.totals: found.totals,
            self.tables: found.tables,
            self.plot: gr.update(value=found.plot, visible=found.plot is not None),
        }

    def choosing(self, days: int, request: gr.Request) -> dict[Any, Any]:
        return self.shown(person_of(request), days)
