"""Usage: what the account called and paid, by day and by expert."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from apps.market import handlers, views
from apps.market.frame import MarketPage
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.messages import t


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    UsagePage(language)


class UsagePage(MarketPage):
    """Totals, a plot, two tables for a period, and the same as a file."""

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
        title, why = (t(f"cash.{key}", self.language) for key in ("statement", "statement_why"))
        gr.HTML(f"<h2>{title}</h2><p class='mbe-muted'>{why}</p>")
        choices = [(t(f"cash.by_{name}", self.language), name) for name in handlers.STATEMENT_CHOICES]
        self.by = self.part(
            gr.CheckboxGroup(
                choices, value=list(handlers.STATEMENT_BY), label=t("cash.told_by", self.language)
            )
        )
        self.files = self.part(gr.HTML())

    def wire(self, blocks: gr.Blocks) -> None:
        for field in (self.period, self.by):
            self.on(field.input, self.choosing, [self.period, self.by])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        return self.shown(person, handlers.PERIODS[1], handlers.STATEMENT_BY)

    def shown(self, person: Person, days: int, by: Sequence[str]) -> dict[Any, Any]:
        """Return the updates that show a period."""
        found = handlers.usage(person, days, self.language, by)
        return {
            self.totals: found.totals,
            self.tables: found.tables,
            self.files: found.files,
            self.plot: gr.update(value=found.plot, visible=found.plot is not None),
        }

    def choosing(self, days: int, by: list[str], request: gr.Request) -> dict[Any, Any]:
        return self.shown(person_of(request), days, by)
