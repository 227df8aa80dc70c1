"""The arena as a Gradio app: battle, leaderboard, one's own battles."""

import gradio as gr

from arena.pages.battle import BattlePage
from arena.pages.history import HistoryPage
from arena.pages.leaderboard import LeaderboardPage
from engine.kit.messages import t


def build(language: str) -> gr.Blocks:
    """Return the arena in one language."""
    with gr.Blocks(title=t("arena_page.page_title", language), analytics_enabled=False) as demo:
        BattlePage(language)
    for page in (LeaderboardPage, HistoryPage):
        with demo.route(t(f"arena_page.tab_{page.path}", language), f"/{page.path}"):
            page(language)
    return demo
