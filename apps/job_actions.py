"""The buttons of a job. What is lost by cancelling is said before anything is cancelled."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from apps import cards, costs
from apps.pages import Group, Page
from engine.flows import schedule_jobs
from engine.jobs.schemas import JobView
from engine.kit.messages import t

STATES = {
    "pause": ("queued", "running"),
    "resume": ("paused", "failed"),
    "cancel": ("queued", "running", "pausing", "paused"),
}
"""The states of a job in which each button helps."""


class JobActions(Group):
    """Pause, resume and cancel; the first press of the last asks, and only the second cancels."""

    def __init__(self, language: str) -> None:
        self.language = language
        with gr.Column() as resting:
            self.resting = resting
            with gr.Row(elem_classes="mbe-row"):
                self.buttons = {
                    name: gr.Button(t(f"studio.{name}", language), visible=False, size="md")
                    for name in STATES
                }
            self.pausing = gr.HTML(visible=False)
        with gr.Column(visible=False) as asking:
            self.asking = asking
            self.asked = gr.Textbox(visible=False)
            self.cost = gr.HTML()
            with gr.Row(elem_classes="mbe-row"):
                self.sure = gr.Button(t("costs.sure", language), variant="stop", size="md")
                self.keep = gr.Button(t("costs.keep", language), size="md")

    @property
    def parts(self) -> list[Any]:
        return [self.resting, *self.buttons.values(), self.pausing, self.asking, self.asked, self.cost]

    def show(self, job: JobView | None) -> dict[Any, Any]:
        """Return the updates that fit a job; while somebody is asked, only the figures change."""
        able = {name: job is not None and job.state in states for name, states in STATES.items()}
        updates = {self.buttons[name]: gr.update(visible=there) for name, there in able.items()}
        if job is None or not able["cancel"]:
            return updates | self._rest() | {self.pausing: gr.update(visible=False)}
        cost = schedule_jobs.cost(job)
        said = f"{costs.pause_words(job, self.language)} {costs.credit_words(cost, self.language)}"
        pausing = f'<p class="mbe-muted">{said}</p>'
        cancelling = costs.cancel_words(job, cost, self.language)
        return updates | {
            self.pausing: gr.update(value=pausing, visible=able["pause"]),
            self.cost: cards.note(cancelling),
        }

    def wire(self, page: Page, changing: Callable[[str], Callable[..., Any]], inputs: Sequence[Any]) -> None:
        """Connect the buttons; `changing` gives the handler that pauses, resumes or cancels.

        The first of `inputs` is the job's id. What is cancelled is the job that was asked about: another may
        have come into its place since.
        """
        for name in ("pause", "resume"):
            page.on(self.buttons[name].click, changing(name), inputs)
        page.on(self.buttons["cancel"].click, self._ask, inputs[:1])
        page.on(self.keep.click, self._rest)
        page.on(self.sure.click, changing("cancel"), [self.asked, *inputs[1:]])

    def _ask(self, job_id: str) -> dict[Any, Any]:
        return {
            self.resting: gr.update(visible=False),
            self.asking: gr.update(visible=True),
            self.asked: job_id,
        }

    def _rest(self) -> dict[Any, Any]:
        return {self.resting: gr.update(visible=True), self.asking: gr.update(visible=False)}
