"""Test & publish: an expert's way from trained to published."""

from dataclasses import asdict
from typing import Any

import gradio as gr

from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.messages import t
from studio.frame import JobBox, StudioPage
from studio.handlers import publish as handlers
from studio.handlers import take_along, trial
from studio.handlers.publish import Listing
from studio.rollout import RolloutBox
from studio.servers import Instead
from studio.takealong import TakeAlong
from studio.trial import TrialBox

ACTIONS = ("test", "submit", "publish", "withdraw", "retire")
ONWARD = ("test", "submit", "publish")
"""The first of these that is possible is the page's primary button."""


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    PublishPage(language)


class PublishPage(StudioPage):
    """List and detail of one's own experts."""

    path = "publish"

    def build(self) -> None:
        with gr.Column() as listing:
            self.listing = self.part(listing)
            gr.HTML(f"<h1>{self.t('tab_publish')}</h1><p class='mbe-muted'>{self.t('publish_why')}</p>")
            self.experts = self.part(gr.HTML())
        with gr.Column(visible=False) as detail:
            self.detail = self.part(detail)
            self.expert_id = self.part(gr.Textbox(visible=False))
            self.head = self.part(gr.HTML())
            self.job = self.part(JobBox(self.language))
            self.outcome = self.part(Form(self.language))
            with gr.Row(elem_classes="mbe-row"):
                self.buttons = {
                    name: self.part(gr.Button(self.t(f"do_{name}"), visible=False, size="md"))
                    for name in ACTIONS
                }
            self.rollout = self.part(RolloutBox(self, self.expert_id, self.shown))
            gr.HTML(f"<h2>{self.t('listing')}</h2>")
            self.shown_listing = self.part(gr.HTML())
            with gr.Column() as place:
                self.form_place = self.part(place)
                self._build_form()
            self.stand_in = self.part(Instead(self, self.expert_id))
            gr.HTML(f"<h2>{self.t('quality_check')}</h2>")
            self.report = self.part(gr.HTML())
            gr.HTML(f"<h2>{self.t('try_it')}</h2><p class='mbe-muted'>{self.t('try_it_why')}</p>")
            self.trial = TrialBox(self, [self.expert_id], trial.speak)
            words = [t(f"takealong.{key}", self.language) for key in ("title", "why")]
            with gr.Column() as weights:
                self.weights = self.part(weights)
                gr.HTML(f"<h2>{words[0]}</h2><p class='mbe-muted'>{words[1]}</p>")
                self.along = self.part(TakeAlong(self, self.expert_id))
            gr.HTML(f"<h2>{self.t('history')}</h2>")
            self.history = self.part(gr.HTML())

    def _build_form(self) -> None:
        with gr.Row():
            title = gr.Textbox(label=self.t("title"), info=self.t("title_info"), max_length=100, scale=2)
            category = gr.Dropdown(
                handlers.categories(self.language), label=self.t("category"), info=self.t("category_info")
            )
        description = gr.Textbox(
            label=self.t("description"), info=self.t("description_info"), lines=3, max_length=2000
        )
        with gr.Row():
            tags = gr.Textbox(label=self.t("tags"), info=self.t("tags_info"), scale=2)
            input_price = gr.Textbox(label=self.t("input_price"), info=self.t("price_info"))
            output_price = gr.Textbox(label=self.t("output_price"), info=self.t("price_info"))
        self.typical = self.part(gr.HTML())
        example = gr.Textbox(label=self.t("example"), info=self.t("example_info"), lines=2, max_length=2000)
        self.form = self.part(
            Form(
                self.language,
                title=title,
                description=description,
                category=category,
                tags=tags,
                input_price=input_price,
                output_price=output_price,
                example=example,
            )
        )
        with gr.Row(elem_classes="mbe-row"):
            self.save = self.part(gr.Button(self.t("save"), size="md"))

    def wire(self, blocks: gr.Blocks) -> None:
        self.connect(self.job, self.tick, self.expert_id)
        everything = [self.expert_id, *self.form.inputs]
        self.on(self.save.click, self.saving, everything, busy=[self.save])
        self.on(self.buttons["submit"].click, self.submitting, everything, busy=[self.buttons["submit"]])
        self.on(self.buttons["test"].click, self.testing, [self.expert_id], busy=[self.buttons["test"]])
        for name in ("publish", "withdraw", "retire"):
            self.on(self.buttons[name].click, self._stepping(name), [self.expert_id])
        prices = [self.form.fields["input_price"], self.form.fields["output_price"]]
        for price in prices:
            self.on(price.change, self.pricing, prices, outputs=[self.typical])
        self.trial.wire()
        self.along.wire()
        self.stand_in.wire()
        self.rollout.wire()

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if not (expert_id := query.get("expert")):
            return {self.experts: handlers.listing(person, self.language)}
        updates = self.shown(person, expert_id)
        expert = handlers.own(person, expert_id)
        values = asdict(handlers.form_of(expert))
        return {
            **updates,
            **self.stand_in.fill(person, expert.name),
            **{self.form.fields[name]: gr.update(value=value) for name, value in values.items()},
            self.listing: gr.update(visible=False),
            self.detail: gr.update(visible=True),
            self.expert_id: expert_id,
            **self.rollout.opened(person, expert_id),
        }

    def shown(self, person: Person, expert_id: str) -> dict[Any, Any]:
        """Return the updates that show an expert as it is now; the form keeps what was typed."""
        now = handlers.detail(person, expert_id, self.language)
        first = next((name for name in now.actions if name in ONWARD), "")
        buttons = {
            self.buttons[name]: gr.update(
                visible=name in now.actions, variant="primary" if name == first else "secondary"
            )
            for name in ACTIONS
        }
        return {
            **buttons,
            **self.job.show(now.job),
            **self.along.show(person, expert_id),
            **self.stand_in.show(now.expert.state == "published"),
            **self.rollout.show(person, expert_id),
            self.weights: gr.update(visible=take_along.has_weights(person, expert_id)),
            self.head: now.head,
            self.report: now.report,
            self.shown_listing: now.listing,
            self.form_place: gr.update(visible=now.editable),
            self.history: now.history,
        }

    def testing(self, expert_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.test(person, expert_id)
        except EngineError as error:
            return self.outcome.refused(error)
        return {**self.outcome.cleared(), **self.shown(person, expert_id)}

    def _stepping(self, what: str) -> Any:
        def step(expert_id: str, request: gr.Request) -> dict[Any, Any]:
            person = person_of(request)
            try:
                handlers.step(person, expert_id, what)
            except EngineError as error:
                return {**self.shown(person, expert_id), **self.outcome.refused(error)}
            return {**self.outcome.cleared(), **self.shown(person, expert_id)}

        return step

    def saving(self, request: gr.Request, expert_id: str, *values: str) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.save(person, expert_id, Listing(*values))
        except EngineError as error:
            return self.form.refused(error)
        return {**self.form.said(self.t("saved")), **self.shown(person, expert_id)}

    def submitting(self, request: gr.Request, expert_id: str, *values: str) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.submit(person, expert_id, Listing(*values))
        except EngineError as error:
            return self.form.refused(error)
        return {**self.form.cleared(), **self.shown(person, expert_id)}

    def pricing(self, input_price: str, output_price: str, request: gr.Request) -> dict[Any, Any]:
        return {self.typical: handlers.typical_call(input_price, output_price, self.language)}

    def tick(self, expert_id: str, request: gr.Request) -> dict[Any, Any]:
        return self.shown(person_of(request), expert_id)
