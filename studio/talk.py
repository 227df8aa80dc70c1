"""Talking to a checkpoint of a training: which one, and the conversation with it."""

from typing import Any

import gradio as gr

from apps.pages import Group
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.messages import t
from studio.frame import JobBox, StudioPage
from studio.handlers import trial
from studio.trial import TrialBox


class Talk(Group):
    """A choice of the checkpoints of the run that `run_id` names, and a box to try the chosen one in.

    What is typed and said stays while the page follows its training, and so does what was chosen.
    """

    def __init__(self, page: StudioPage, run_id: gr.Textbox) -> None:
        self.page, self.run_id, self.language = page, run_id, page.language
        with gr.Column(visible=False) as place:
            self.place = place
            title, why = (t(f"studio.{key}", self.language) for key in ("talk", "talk_why"))
            gr.HTML(f'<h2>{title}</h2><p class="mbe-muted">{why}</p>')
            self.chosen = gr.Radio([], label=t("studio.checkpoint", self.language))
            self.box = TrialBox(page, [run_id, self.chosen], trial.speak_checkpoint)

    @property
    def parts(self) -> list[Any]:
        return [self.place, self.chosen]

    def show(self, person: Person, run_id: str, chosen: int | None = None) -> dict[Any, Any]:
        """Return the updates that offer what is kept now; nothing else is chosen than was."""
        offer = trial.offered(person, run_id, chosen, self.language)
        choice = gr.update(choices=offer.checkpoints)
        if chosen is None:  # else it is left alone: another may have been chosen since this was asked
            choice = gr.update(choices=offer.checkpoints, value=offer.first)
        return {self.chosen: choice, self.place: gr.update(visible=bool(offer.checkpoints))}

    def wire(self, job: JobBox) -> None:
        """Connect the box, and follow the job whose checkpoints these are.

        After its card has changed, not beside it: the last checkpoint comes just before the last change.
        """
        self.page.on(job.card.change, self._follow, [self.run_id, self.chosen], outputs=self.parts)
        self.box.wire()

    def _follow(self, run_id: str, chosen: int | None, request: gr.Request) -> dict[Any, Any]:
        return self.show(person_of(request), run_id, chosen)
