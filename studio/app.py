"""The developer studio as a Gradio app: one page per step, one file per page."""

from types import ModuleType

import gradio as gr

from engine.kit.messages import t
from studio.handlers import access
from studio.pages import (
    data,
    earnings,
    indexes,
    knowledge,
    money,
    operator,
    passages,
    plan,
    prices,
    publish,
    retrieval,
    review,
    train,
)

PAGES: tuple[tuple[str, ModuleType], ...] = (
    ("", knowledge),
    ("data", data),
    ("train", train),
    ("publish", publish),
    ("prices", prices),
    ("earnings", earnings),
    ("plan", plan),
    ("review", review),
    ("operator", operator),
    ("money", money),
    ("passages", passages),
    ("retrieval", retrieval),
    ("indexes", indexes),
)


def build(language: str) -> gr.Blocks:
    """Return the studio in one language."""
    with gr.Blocks(title=t("studio.page_title", language), analytics_enabled=False) as demo:
        knowledge.page(language)
    for path, module in PAGES[1:]:
        with demo.route(t(f"studio.tab_{access.NAMES[access.UNDER.get(path, path)]}", language), f"/{path}"):
            module.page(language)
    return demo
