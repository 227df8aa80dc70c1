"""My battles: a list, and each battle in full."""

from typing import Any

import gradio as gr

from arena import handlers
from arena.pages.frame import ArenaPage
from engine.accounts.schemas import Person


class HistoryPage(ArenaPage):
    """What the person asked, and how they voted."""

    path = "history"

    def build(self) -> None:
        self.shown = self.part(gr.HTML())

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if battle_id := query.get("battle"):
            return {self.shown: handlers.record(person, battle_id, self.language)}
        listing = handlers.history(person, self.language)
        return {self.shown: f"<h1>{self.t('tab_history')}</h1>{listing}"}
