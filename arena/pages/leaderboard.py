"""The leaderboard: ratings with their intervals, and who beat whom."""

from typing import Any

import gradio as gr

from arena import handlers
from arena.pages.frame import ArenaPage
from engine.accounts.schemas import Person


class LeaderboardPage(ArenaPage):
    """Everything that follows from the votes."""

    path = "leaderboard"

    def build(self) -> None:
        gr.HTML(f"<h1>{self.t('tab_leaderboard')}</h1><p class='mbe-muted'>{self.t('board_why')}</p>")
        self.empty = self.part(gr.HTML(visible=False))
        with gr.Column(visible=False) as found:
            self.found = self.part(found)
            self.warning = self.part(gr.HTML())
            self.message = self.part(gr.HTML())
            self.ratings = self.part(gr.Plot(show_label=False, container=False))
            self.table = self.part(gr.HTML())
            gr.HTML(f"<h2>{self.t('matrix')}</h2><p class='mbe-muted'>{self.t('matrix_why')}</p>")
            self.matrix = self.part(gr.Plot(show_label=False, container=False))

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        now = handlers.board(person, self.language)
        if now.empty:
            return {self.empty: gr.update(value=now.empty, visible=True)}
        return {
            self.found: gr.update(visible=True),
            self.warning: gr.update(value=now.warning, visible=bool(now.warning)),
            self.message: now.message,
            self.ratings: now.ratings,
            self.table: now.table,
            self.matrix: now.matrix,
        }
