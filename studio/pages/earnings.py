"""Earnings: what one's experts earned in all, by expert, and lately."""

from typing import Any

import gradio as gr

from engine.accounts.schemas import Person
from studio.frame import StudioPage
from studio.handlers import earnings as handlers


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    EarningsPage(language)


class EarningsPage(StudioPage):
    """Sum, chart and tables."""

    path = "earnings"

    def build(self) -> None:
        gr.HTML(f"<h1>{self.t('tab_earnings')}</h1>")
        self.head = self.part(gr.HTML())
        self.chart = self.part(gr.Plot(show_label=False, visible=False))
        self.tables = self.part(gr.HTML())

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        now = handlers.earnings(person, self.language)
        return {
            self.head: now.head,
            self.chart: gr.update(value=now.chart, visible=now.chart is not None),
            self.tables: now.tables,
        }
