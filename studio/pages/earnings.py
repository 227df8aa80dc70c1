"""Earnings: what one's experts earned in all, by expert, and lately; and how it is paid out."""

from typing import Any

import gradio as gr

from apps import cards
from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.ids import new_id
from engine.kit.messages import t
from engine.kit.money import format_credits
from engine.kit.settings import settings
from studio.frame import StudioPage
from studio.handlers import earnings as handlers


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    EarningsPage(language)


class EarningsPage(StudioPage):
    """Sum, payouts, chart and tables; or the question whether to cancel a payout, as the address says."""

    path = "earnings"

    def build(self) -> None:
        with gr.Column(visible=False) as question:
            self.question = self.part(question)
            self.asked = self.part(gr.HTML())
            self.payout_id = self.part(gr.Textbox(visible=False))
            with gr.Row(elem_classes="mbe-row"):
                self.cancel = self.part(gr.Button(self.w("cancel_yes"), variant="stop", size="md"))
        self.told = self.part(gr.HTML(visible=False))
        with gr.Column(visible=False) as overview:
            self.overview = self.part(overview)
            gr.HTML(f"<h1>{self.t('tab_earnings')}</h1>")
            self.head = self.part(gr.HTML())
            with gr.Column(visible=False) as place:
                self.payout_place = self.part(place)
                self._build_payouts()
            self.chart = self.part(gr.Plot(show_label=False, visible=False))
            self.tables = self.part(gr.HTML())

    def _build_payouts(self) -> None:
        least = format_credits(settings().payout_minimum)
        gr.HTML(f"<h2>{self.w('payouts')}</h2><p class='mbe-muted'>{self.w('payouts_why', least=least)}</p>")
        self.payouts = self.part(gr.HTML())
        self.key = self.part(gr.Textbox(visible=False))
        with gr.Column(elem_classes="mbe-panel", visible=False) as form:
            self.form_place = self.part(form)
            amount = gr.Textbox(label=self.w("payout_amount"), info="", max_length=20)
            place = gr.Textbox(label=self.w("to"), info=self.w("to_info"), max_length=200)
            self.form = self.part(Form(self.language, amount=amount, destination=place))
            with gr.Row(elem_classes="mbe-row"):
                self.ask = self.part(gr.Button(self.w("payout_ask"), variant="primary", size="md"))

    def w(self, key: str, **facts: object) -> str:
        """Return words about money."""
        return t(f"cash.{key}", self.language, **facts)

    def wire(self, blocks: gr.Blocks) -> None:
        self.on(self.ask.click, self.asking, [*self.form.inputs, self.key], busy=[self.ask])
        self.on(self.cancel.click, self.cancelling, [self.payout_id], busy=[self.cancel])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if payout_id := query.get("cancel"):
            question = handlers.cancel_question(person, payout_id, self.language)
            return {self.asked: question, self.payout_id: payout_id, self.question: gr.update(visible=True)}
        return self.shown(person)

    def shown(self, person: Person) -> dict[Any, Any]:
        """Return the updates that show the earnings as they are now."""
        now = handlers.earnings(person, self.language)
        return {
            self.overview: gr.update(visible=True),
            self.head: now.head,
            self.chart: gr.update(value=now.chart, visible=now.chart is not None),
            self.tables: now.tables,
            **self.standing(person),
        }

    def standing(self, person: Person) -> dict[Any, Any]:
        """Return the updates that show what can be paid out, and a form that asks for it anew."""
        now = handlers.payouts(person, self.language)
        return {
            self.payout_place: gr.update(visible=now.any),
            self.payouts: now.html,
            self.form_place: gr.update(visible=now.possible),
            self.key: new_id("key"),
        }

    def asking(self, amount: str, destination: str, key: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.request(person, amount, destination, key, self.language)
        except EngineError as error:
            return self.form.refused(error)
        return {
            **self.shown(person),
            **self.form.said(words, amount={"value": ""}),
            # Stays, also when nothing more can be asked for: it says that this was.
            self.form_place: gr.update(visible=True),
        }

    def cancelling(self, payout_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.cancel(person, payout_id, self.language)
        except EngineError as error:
            return {self.told: gr.update(value=cards.note(error.message(self.language), "bad"), visible=True)}
        return {
            self.question: gr.update(visible=False),
            self.told: gr.update(value=cards.note(words, "good"), visible=True),
            **self.shown(person),
        }
