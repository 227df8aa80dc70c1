"""Human evaluation as a Gradio app: tasks for evaluators, campaigns for developers."""

import gradio as gr

from apps.human_eval.pages.campaigns import CampaignsPage
from apps.human_eval.pages.tasks import TasksPage
from engine.kit.messages import t


def build(language: str) -> gr.Blocks:
    """Return human evaluation in one language."""
    with gr.Blocks(title=t("human_eval.page_title", language), analytics_enabled=False) as demo:
        TasksPage(language)
    with demo.route(t("human_eval.tab_campaigns", language), "/campaigns"):
        CampaignsPage(language)
    return demo
