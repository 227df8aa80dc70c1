"""The market as a Gradio app: one page per place, one file per page."""

from types import ModuleType

import gradio as gr

from apps.market.pages import catalog, expert, keys, passage, projects, usage, wallet
from engine.kit.messages import t

PAGES: tuple[tuple[str, str, ModuleType], ...] = (
    ("expert", "expert", expert),
    ("wallet", "tab_wallet", wallet),
    ("usage", "tab_usage", usage),
    ("keys", "tab_keys", keys),
    ("projects", "tab_keys", projects),
    ("passage", "passage", passage),
)
"""Address below the market, key of the page's name, and the page."""


def build(language: str) -> gr.Blocks:
    """Return the market in one language ("en" or "zh")."""
    with gr.Blocks(title=t("marketplace.title", language), analytics_enabled=False) as demo:
        catalog.page(language)
    for path, name, module in PAGES:
        with demo.route(t(f"marketplace.{name}", language), f"/{path}"):
            module.page(language)
    return demo
