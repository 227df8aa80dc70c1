"""Prices: what a published expert costs from now on, what it cost before, and its packages."""

from functools import partial
from typing import Any

import gradio as gr

from apps import cards
from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.messages import t
from studio.frame import StudioPage
from studio.handlers import prices as handlers
from studio.handlers.prices import Typed

FIELDS = ("input_price", "output_price", "call_price", "minimum")


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    PricesPage(language)


class PricesPage(StudioPage):
    """List of one's experts on the market; one of them; or the question whether to withdraw a package."""

    path = "prices"

    def w(self, key: str, **facts: object) -> str:
        """Return words about prices and packages."""
        return t(f"packages.{key}", self.language, **facts)

    def build(self) -> None:
        self.name = self.part(gr.Textbox(visible=False))
        with gr.Column(visible=False) as listing:
            self.listing = self.part(listing)
            gr.HTML(f"<h1>{self.w('prices')}</h1><p class='mbe-muted'>{self.w('prices_why')}</p>")
            self.experts = self.part(gr.HTML())
        with gr.Column(visible=False) as question:
            self.question = self.part(question)
            self.asked = self.part(gr.HTML())
            self.package_id = self.part(gr.Textbox(visible=False))
            with gr.Row(elem_classes="mbe-row"):
                self.withdraw = self.part(gr.Button(self.w("withdraw_yes"), variant="stop", size="md"))
        self.told = self.part(gr.HTML(visible=False))
        with gr.Column(visible=False) as detail:
            self.detail = self.part(detail)
            self.head = self.part(gr.HTML())
            self._build_price()
            gr.HTML(f"<h2>{self.w('history')}</h2>")
            self.history = self.part(gr.HTML())
            gr.HTML(f"<h2>{self.w('title')}</h2><p class='mbe-muted'>{self.w('offer_why')}</p>")
            self.packages = self.part(gr.HTML())
            self._build_offer()

    def _build_price(self) -> None:
        gr.HTML(f"<h2>{self.w('change')}</h2><p class='mbe-muted'>{self.w('change_why')}</p>")
        with gr.Column(elem_classes="mbe-panel"):
            with gr.Row():
                fields: dict[str, Any] = {
                    name: gr.Textbox(
                        label=self.w(f"field_{name}"),
                        info=self.w(f"info_{name}"),
                        max_length=20,
                        min_width=200,
                    )
                    for name in FIELDS
                }
            gr.HTML(f"<p class='mbe-muted'>{self.w('tiers_why')}</p>")
            fields["tiers"] = gr.Dataframe(
                headers=[self.w(key) for key in ("tier_from", "tier_in", "tier_out")],
                datatype=["str", "str", "str"],
                column_count=3,
                row_count=1,
                type="array",
                interactive=True,
                show_label=True,
                label=self.w("tiers"),
                wrap=True,
            )
            self.typical = self.part(gr.HTML())
            self.form = self.part(Form(self.language, **fields))
            with gr.Row(elem_classes="mbe-row"):
                self.save = self.part(gr.Button(self.w("save_price"), variant="primary", size="md"))

    def _build_offer(self) -> None:
        with gr.Column(elem_classes="mbe-panel"):
            with gr.Row():
                title = gr.Textbox(
                    label=self.w("offer_title"), info=self.w("offer_title_info"), max_length=60, min_width=200
                )
                tokens = gr.Textbox(
                    label=self.w("offer_tokens"),
                    info=self.w("offer_tokens_info"),
                    max_length=20,
                    min_width=200,
                )
                price = gr.Textbox(
                    label=self.w("offer_price"), info=self.w("offer_price_info"), max_length=20, min_width=200
                )
            self.package = self.part(Form(self.language, title=title, tokens=tokens, price=price))
            with gr.Row(elem_classes="mbe-row"):
                self.offer = self.part(gr.Button(self.w("offer"), size="md"))

    def wire(self, blocks: gr.Blocks) -> None:
        typed = [self.name, *self.form.inputs]
        # One event of all fields: the page fills them one by one, and the last look sees all of them.
        changes = partial(gr.on, [field.change for field in self.form.inputs])
        self.on(changes, self.pricing, typed, outputs=[self.typical], trigger_mode="always_last")
        self.on(self.save.click, self.saving, typed, busy=[self.save])
        self.on(self.offer.click, self.offering, [self.name, *self.package.inputs], busy=[self.offer])
        self.on(self.withdraw.click, self.withdrawing, [self.name, self.package_id], busy=[self.withdraw])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        name = query.get("name", "")
        if not name:
            return {
                self.listing: gr.update(visible=True),
                self.experts: handlers.listing(person, self.language),
            }
        if package_id := query.get("withdraw"):
            return {
                self.name: name,
                self.package_id: package_id,
                self.asked: handlers.withdraw_question(person, name, package_id, self.language),
                self.question: gr.update(visible=True),
            }
        return self.filled(person, name)

    def filled(self, person: Person, name: str) -> dict[Any, Any]:
        """Return the updates that show an expert, its price in the form."""
        now = handlers.detail(person, name, self.language)
        values = {field: getattr(now.typed, field) for field in FIELDS}
        return {
            self.name: name,
            self.detail: gr.update(visible=True),
            **self.shown(person, name),
            **{self.form.fields[field]: gr.update(value=value) for field, value in values.items()},
            self.form.fields["tiers"]: gr.update(value=handlers.with_room(now.typed.tiers)),
            self.typical: handlers.typical(person, name, now.typed, self.language),
        }

    def shown(self, person: Person, name: str) -> dict[Any, Any]:
        """Return the updates that show an expert as it is now; the forms keep what was typed."""
        now = handlers.detail(person, name, self.language)
        return {self.head: now.head, self.history: now.history, self.packages: now.packages}

    def pricing(self, request: gr.Request, name: str, *values: Any) -> dict[Any, Any]:
        person = person_of(request)
        return {self.typical: handlers.typical(person, name, Typed(*values), self.language)}

    def saving(self, request: gr.Request, name: str, *values: Any) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.save(person, name, Typed(*values), self.language)
        except EngineError as error:
            return self.form.refused(error)
        typical = handlers.typical(person, name, Typed(*values), self.language)
        return {**self.form.said(words), **self.shown(person, name), self.typical: typical}

    def offering(self, name: str, title: str, tokens: str, price: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.offer(person, name, title, tokens, price, self.language)
        except EngineError as error:
            return self.package.refused(error)
        empty = {field: {"value": ""} for field in self.package.fields}
        return {**self.package.said(words, **empty), **self.shown(person, name)}

    def withdrawing(self, name: str, package_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.withdraw(person, name, package_id, self.language)
        except EngineError as error:
            words = cards.note(error.message(self.language), "bad")
            return {self.told: gr.update(value=words, visible=True)}
        return {
            self.question: gr.update(visible=False),
            self.told: gr.update(value=cards.note(words, "good"), visible=True),
            **self.filled(person, name),
        }
