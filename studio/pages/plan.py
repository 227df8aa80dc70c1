"""Plan: what a developer's plan grants, and how much of it is used."""

from typing import Any

import gradio as gr

from engine.accounts.schemas import Person
from studio.frame import StudioPage
from studio.handlers import plan as handlers


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    PlanPage(language)


class PlanPage(StudioPage):
    """The plan of the person's tenant."""

    path = "plan"

    def build(self) -> None:
        self.shown = self.part(gr.HTML())

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        return {self.shown: handlers.shown(person, self.language)}
