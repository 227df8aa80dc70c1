"""Where an expert is taken along: merged into one model, downloaded, sent to a hub."""

from typing import Any

import gradio as gr

from apps.pages import Form, Group
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.messages import t
from studio.frame import JobBox, StudioPage
from studio.handlers import take_along as handlers


class TakeAlong(Group):
    """The part of a page that does so with the expert whose id stands in `expert_id`."""

    def __init__(self, page: StudioPage, expert_id: Any) -> None:
        self.page, self.expert_id, self.language = page, expert_id, page.language
        self.shown = gr.HTML()
        self.job = JobBox(self.language)
        self.outcome = Form(self.language)
        with gr.Row(elem_classes="mbe-row"):
            self.merge = gr.Button(self.t("merge"), size="md")
        with gr.Accordion(self.t("push"), open=False):
            gr.HTML(f"<p class='mbe-muted'>{self.t('push_why', hub=handlers.hub_name())}</p>")
            with gr.Row():
                repo = gr.Textbox(
                    label=self.t("repo"), info=self.t("repo_info"), max_length=200, min_width=280
                )
                token = gr.Textbox(
                    label=self.t("token"),
                    info=self.t("token_info"),
                    type="password",
                    max_length=500,
                    min_width=280,
                )
            what = gr.Radio(handlers.parts(self.language), value="adapter", label=self.t("what"))
            private = gr.Checkbox(value=True, label=self.t("private"))
            self.form = Form(self.language, repo=repo, token=token, what=what, private=private)
            with gr.Row(elem_classes="mbe-row"):
                self.send = gr.Button(self.t("go"), size="md")

    def t(self, key: str, **facts: object) -> str:
        """Return words of this part."""
        return t(f"takealong.{key}", self.language, **facts)

    @property
    def parts(self) -> list[Any]:
        return [self.shown, *self.job.parts, *self.outcome.parts, self.merge, *self.form.parts, self.send]

    def wire(self) -> None:
        """Connect the buttons."""
        self.page.connect(self.job, self.tick, self.expert_id)
        self.page.on(self.merge.click, self.merging, [self.expert_id], busy=[self.merge])
        self.page.on(self.send.click, self.sending, [self.expert_id, *self.form.inputs], busy=[self.send])

    def show(self, person: Person, expert_id: str) -> dict[Any, Any]:
        """Return the updates that show how far the merged model is; the form keeps what was typed."""
        now = handlers.state(person, expert_id, self.language)
        words = self.t("merge_again" if now.merged else "merge")
        return {
            **self.job.show(now.job),
            self.shown: now.shown,
            self.merge: gr.update(visible=now.can_merge, value=words),
        }

    def tick(self, expert_id: str, request: gr.Request) -> dict[Any, Any]:
        return self.show(person_of(request), expert_id)

    def merging(self, expert_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.merge(person, expert_id)
        except EngineError as error:
            return {**self.show(person, expert_id), **self.outcome.refused(error)}
        return {**self.outcome.cleared(), **self.show(person, expert_id)}

    def sending(
        self, request: gr.Request, expert_id: str, repo: str, token: str, what: str, private: bool
    ) -> dict[Any, Any]:
        try:
            said = handlers.push(
                person_of(request), expert_id, repo, token, what, private is not False, self.language
            )
        except EngineError as error:
            return self.form.refused(error)
        updates = self.form.cleared(token={"value": ""})
        return {**updates, self.form.message: gr.update(value=said, visible=True)}
