"""Retrieval: what a question finds, the saved questions, and what they say about a base."""

from typing import Any

import gradio as gr

from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError, NotFound
from studio.frame import StudioPage
from studio.handlers import retrieval as handlers


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    RetrievalPage(language)


class RetrievalPage(StudioPage):
    """The check of one knowledge base; a page below Knowledge."""

    path = "retrieval"

    def build(self) -> None:
        self.base_id = self.part(gr.Textbox(visible=False))
        self.head = self.part(gr.HTML())
        question = gr.Textbox(
            label=self.t("question"), show_label=False, placeholder=self.t("question"), max_length=1000
        )
        labels = gr.Dropdown(
            [], multiselect=True, visible=False, label=self.t("only_labels"), info=self.t("only_labels_info")
        )
        self.asking = self.part(Form(self.language, question=question, labels=labels))
        with gr.Row(elem_classes="mbe-row"):
            self.ask = gr.Button(self.t("look_into_it"), variant="primary", size="md")
        self.found = self.part(gr.HTML())
        with gr.Column(visible=False) as answering:
            self.answering = self.part(answering)
            answer = gr.Radio([], label=self.t("which_answers"), info=self.t("which_answers_info"))
            self.saving = self.part(Form(self.language, answer=answer))
            with gr.Row(elem_classes="mbe-row"):
                self.save = gr.Button(self.t("save_question"), size="md")
        gr.HTML(
            f"<h2>{self.t('saved_questions')}</h2><p class='mbe-muted'>{self.t('saved_questions_why')}</p>"
        )
        self.result = self.part(gr.HTML())
        self.checking = self.part(Form(self.language))
        with gr.Row(elem_classes="mbe-row"):
            self.check = self.part(gr.Button(self.t("run_check"), size="md"))
            self.calibrate = self.part(gr.Button(self.t("calibrate"), size="md"))
        self.curve = self.part(gr.Plot(show_label=False, visible=False))
        self.questions = self.part(gr.HTML())
        with gr.Accordion(self.t("delete_question"), open=False):
            chosen = gr.Dropdown([], label=self.t("question"))
            self.deleting = self.part(Form(self.language, question_id=chosen))
            with gr.Row(elem_classes="mbe-row"):
                self.delete = gr.Button(self.t("delete"), variant="stop", size="md")

    def wire(self, blocks: gr.Blocks) -> None:
        asked = [self.base_id, *self.asking.inputs]
        for event in (self.ask.click, self.asking.fields["question"].submit):
            self.on(event, self.looking, asked, busy=[self.ask])
        kept = [self.base_id, self.asking.fields["question"], *self.saving.inputs]
        self.on(self.save.click, self.keeping, kept, busy=[self.save])
        self.on(self.check.click, self.measuring, [self.base_id], busy=[self.check])
        self.on(self.calibrate.click, self.setting, [self.base_id], busy=[self.calibrate])
        self.on(self.delete.click, self.removing, [self.base_id, *self.deleting.inputs], busy=[self.delete])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        base_id = query.get("base", "")
        if not base_id:
            raise NotFound("knowledge.unknown_base")
        updates = {
            self.base_id: base_id,
            self.head: handlers.head(person, base_id, self.language),
            **self.shown(person, base_id),
        }
        if question := query.get("question", ""):
            updates |= self.looked(person, base_id, question)
            updates[self.asking.fields["question"]] = gr.update(value=question)
        # At the end: showing what a question finds takes marks off the same field.
        labels = handlers.labels(person, base_id)
        updates[self.asking.fields["labels"]] = gr.update(choices=labels, visible=bool(labels))
        return updates

    def shown(self, person: Person, base_id: str) -> dict[Any, Any]:
        """Return the updates that show the saved questions and what they found."""
        now = handlers.overview(person, base_id, self.language)
        return {
            self.result: now.result,
            self.curve: gr.update(value=now.curve, visible=now.curve is not None),
            self.questions: now.questions,
            self.deleting.fields["question_id"]: gr.update(choices=now.choices, value=None),
        }

    def looked(
        self, person: Person, base_id: str, question: str, labels: list[str] | None = None
    ) -> dict[Any, Any]:
        """Return the updates that show what a question finds."""
        found = handlers.look(person, base_id, question, self.language, labels)
        return {
            **self.asking.cleared(),
            **self.saving.cleared(answer={"choices": found.choices, "value": found.proposed}),
            self.found: found.html,
            self.answering: gr.update(visible=True),
        }

    def looking(
        self, base_id: str, question: str, labels: list[str] | None, request: gr.Request
    ) -> dict[Any, Any]:
        try:
            return self.looked(person_of(request), base_id, question, labels)
        except EngineError as error:
            return self.asking.refused(error)

    def keeping(self, base_id: str, question: str, answer: str | None, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.save(person, base_id, question, answer)
        except EngineError as error:
            return self.saving.refused(error)
        return {**self.saving.said(self.t("question_saved")), **self.shown(person, base_id)}

    def measuring(self, base_id: str, request: gr.Request) -> dict[Any, Any]:
        return self._checked(handlers.check, base_id, request, "check_done")

    def setting(self, base_id: str, request: gr.Request) -> dict[Any, Any]:
        return self._checked(handlers.calibrate, base_id, request, "calibration_done")

    def _checked(self, act: Any, base_id: str, request: gr.Request, said: str) -> dict[Any, Any]:
        person = person_of(request)
        try:
            act(person, base_id)
        except EngineError as error:
            return self.checking.refused(error)
        return {**self.checking.said(self.t(said)), **self.shown(person, base_id)}

    def removing(self, base_id: str, question_id: str | None, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.delete(person, base_id, question_id)
        except EngineError as error:
            return self.deleting.refused(error)
        return {**self.deleting.cleared(), **self.shown(person, base_id)}
