"""An evaluator's page: one answer at a time, rated blind."""

from typing import Any

import gradio as gr

from apps import cards
from apps.human_eval import handlers
from apps.human_eval.pages.frame import EvalPage
from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.evals.schemas import RUBRIC
from engine.kit.errors import BadInput, Conflict, EngineError, NotFound

WITH_WORDS = (1, 3, 5)
UP = "() => window.scrollTo({top: 0, behavior: 'smooth'})"


class TasksPage(EvalPage):
    """Read, rate, next."""

    def build(self) -> None:
        gr.HTML(f"<h1>{self.t('tab_tasks')}</h1><p class='mbe-muted'>{self.t('tasks_why')}</p>")
        self.progress = self.part(gr.HTML())
        self.said = self.part(gr.HTML(visible=False))
        self.empty = self.part(gr.HTML(visible=False))
        with gr.Column(visible=False) as rating:
            self.rating = self.part(rating)
            self.task_id = self.part(gr.Textbox(visible=False))
            self.task = self.part(gr.HTML())
            comment = gr.Textbox(label=self.t("comment"), info=self.t("comment_info"), lines=2, render=False)
            radios = {name: self._radio(name) for name in RUBRIC}
            comment.render()
            self.form = self.part(Form(self.language, **radios, comment=comment))
            with gr.Row(elem_classes="mbe-row"):
                self.submit = gr.Button(self.t("submit"), variant="primary", size="md")
                self.skip = gr.Button(self.t("skip"), size="md")
        self.rated = self.part(gr.HTML())

    def _radio(self, name: str) -> gr.Radio:
        """Return the scores of one criterion; the ends and the middle say what they mean."""
        choices = [
            (f"{score} · {self.t(f'{name}_{score}')}" if score in WITH_WORDS else str(score), score)
            for score in range(1, 6)
        ]
        return gr.Radio(choices, label=self.t(name), info=self.t(f"{name}_info"))

    def wire(self, blocks: gr.Blocks) -> None:
        inputs = [self.task_id, *self.form.inputs]
        for event, handler, given in (
            (self.submit.click, self.submitting, inputs),
            (self.skip.click, self.skipping, [self.task_id]),
        ):
            done = self.on(event, handler, given)
            done.success(None, None, None, js=UP, api_visibility="private")

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        now = handlers.desk(person, self.language)
        return {
            self.task_id: now.task_id,
            self.task: now.task,
            self.rating: gr.update(visible=bool(now.task_id)),
            self.empty: gr.update(value=now.empty, visible=bool(now.empty)),
            self.progress: now.progress,
            self.rated: now.rated,
        }

    def next_one(self, person: Person, said: str, tone: str) -> dict[Any, Any]:
        """Return the updates that show the next task in a clean form, and what became of the last."""
        blank = {name: {"value": None} for name in RUBRIC}
        return {
            **self.form.cleared(**blank, comment={"value": ""}),
            **self.opened(person, {}),
            self.said: gr.update(value=cards.note(said, tone), visible=True),
        }

    def submitting(
        self,
        task_id: str,
        accuracy: int | None,
        helpfulness: int | None,
        tone: int | None,
        comment: str,
        request: gr.Request,
    ) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.submit(person, task_id, accuracy, helpfulness, tone, comment)
        except BadInput as error:
            return self._refused(error)
        except (NotFound, Conflict) as error:
            return self.next_one(person, error.message(self.language), "bad")
        return self.next_one(person, self.t("saved"), "good")

    def _refused(self, error: EngineError) -> dict[Any, Any]:
        return {**self.form.refused(error), self.said: gr.update(visible=False)}

    def skipping(self, task_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        handlers.skip(person, task_id)
        return self.next_one(person, self.t("skipped"), "")
