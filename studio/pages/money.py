"""Money, for operators: whether the books agree, payouts, credits for tenants, codes, refunds."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.ids import new_id
from studio.frame import StudioPage
from studio.handlers import money as handlers

DECISIONS = {"approve": "primary", "pay": "secondary", "reject": "stop"}


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    MoneyPage(language)


class MoneyPage(StudioPage):
    """The operators' view of all that is paid, and of what they can do about it."""

    path = "money"
    role = "operator"
    catalog = "cash"

    def build(self) -> None:
        gr.HTML(f"<h1>{self.t('money')}</h1><p class='mbe-muted'>{self.t('money_why')}</p>")
        # Each makes a repeated click count once; a new one follows each success.
        self.key = self.part(gr.Textbox(visible=False))
        gr.HTML(f"<h2>{self.t('books')}</h2>")
        self.books = self.part(gr.HTML())
        with gr.Row(elem_classes="mbe-row"):
            self.compare = self.part(gr.Button(self.t("compare"), size="md"))
        self._build_payouts()
        self._build_refund()
        self._build_top_up()
        self._build_codes()

    def _build_payouts(self) -> None:
        gr.HTML(f"<h2>{self.t('payouts')}</h2>")
        self.payouts = self.part(gr.HTML())
        with gr.Column(elem_classes="mbe-panel", visible=False) as place:
            self.deciding_place = self.part(place)
            payout = gr.Dropdown(label=self.t("payout"), info=self.t("payout_info"), choices=[])
            note = gr.Textbox(label=self.t("note"), info=self.t("note_info"), max_length=500)
            self.decision = self.part(Form(self.language, payout=payout, note=note))
            with gr.Row(elem_classes="mbe-row"):
                self.buttons = {
                    name: self.part(gr.Button(self.t(f"do_{name}"), variant=variant, size="md"))  # type: ignore[arg-type]
                    for name, variant in DECISIONS.items()
                }

    def _build_refund(self) -> None:
        gr.HTML(f"<h2>{self.t('refund_title')}</h2>")
        with gr.Column(elem_classes="mbe-panel"):
            receipt = gr.Textbox(label=self.t("receipt"), info=self.t("receipt_info"), max_length=60)
            self.wanted = self.part(Form(self.language, receipt=receipt))
            with gr.Row(elem_classes="mbe-row"):
                self.find = self.part(gr.Button(self.t("find"), size="md"))
            self.found_id = self.part(gr.Textbox(visible=False))
            self.found = self.part(gr.HTML())
            with gr.Column(visible=False) as place:
                self.refund_place = self.part(place)
                amount = gr.Textbox(label=self.t("refund_amount"), info=self.t("refund_info"), max_length=20)
                reason = gr.Textbox(label=self.t("why"), info=self.t("refund_why"), max_length=500)
                self.refund = self.part(Form(self.language, amount=amount, reason=reason))
                with gr.Row(elem_classes="mbe-row"):
                    self.give = self.part(gr.Button(self.t("give_back"), variant="stop", size="md"))

    def _build_top_up(self) -> None:
        gr.HTML(f"<h2>{self.t('fill_title')}</h2>")
        with gr.Column(elem_classes="mbe-panel"):
            with gr.Row(elem_classes="mbe-row"):
                tenant = gr.Dropdown(label=self.t("tenant"), info="", choices=[])
                amount = gr.Textbox(label=self.t("credits"), info="", max_length=20)
            reason = gr.Textbox(label=self.t("why"), info=self.t("fill_info"), max_length=500)
            self.gift = self.part(Form(self.language, tenant=tenant, amount=amount, reason=reason))
            with gr.Row(elem_classes="mbe-row"):
                self.fill = self.part(gr.Button(self.t("fill"), size="md"))

    def _build_codes(self) -> None:
        gr.HTML(f"<h2>{self.t('codes')}</h2>")
        self.batches = self.part(gr.HTML())
        with gr.Column(elem_classes="mbe-panel"):
            with gr.Row(elem_classes="mbe-row"):
                count = gr.Number(10, label=self.t("count"), info="", precision=0)
                amount = gr.Textbox("5", label=self.t("worth"), info="", max_length=20)
                days = gr.Number(90, label=self.t("days_valid"), info="", precision=0)
            self.codes = self.part(Form(self.language, count=count, amount=amount, days=days))
            with gr.Row(elem_classes="mbe-row"):
                self.make = self.part(gr.Button(self.t("make_codes"), size="md"))
            self.made = self.part(
                gr.Textbox(label=self.t("codes_once"), lines=4, max_lines=20, visible=False, buttons=["copy"])
            )

    def wire(self, blocks: gr.Blocks) -> None:
        self.on(self.compare.click, self.comparing, [], busy=[self.compare])
        for name, button in self.buttons.items():
            self.on(button.click, self._deciding(name), self.decision.inputs, busy=[button])
        for event in (self.find.click, self.wanted.fields["receipt"].submit):
            self.on(event, self.finding, self.wanted.inputs, busy=[self.find])
        self.on(
            self.give.click, self.giving, [self.found_id, *self.refund.inputs, self.key], busy=[self.give]
        )
        self.on(self.fill.click, self.filling, [*self.gift.inputs, self.key], busy=[self.fill])
        self.on(self.make.click, self.making, self.codes.inputs, busy=[self.make])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        return {
            self.key: new_id("key"),
            self.books: handlers.books(person, self.language),
            self.batches: handlers.codes(person, self.language),
            self.gift.fields["tenant"]: gr.update(choices=handlers.tenants(person)),
            **self.shown(person),
        }

    def shown(self, person: Person) -> dict[Any, Any]:
        """Return the updates that show the payouts as they are now."""
        now = handlers.payouts(person, self.language)
        return {
            self.payouts: now.table,
            self.deciding_place: gr.update(visible=bool(now.choices)),
            self.decision.fields["payout"]: gr.update(choices=now.choices, value=None),
        }

    def comparing(self, request: gr.Request) -> dict[Any, Any]:
        return {self.books: handlers.compare(person_of(request), self.language)}

    def _deciding(self, decision: str) -> Callable[..., dict[Any, Any]]:
        def decide(payout_id: str | None, note: str, request: gr.Request) -> dict[Any, Any]:
            person = person_of(request)
            try:
                words = handlers.decide(person, decision, payout_id, note, self.language)
            except EngineError as error:
                return self.decision.refused(error)
            now = handlers.payouts(person, self.language)
            payout = {"choices": now.choices, "value": None}
            return {**self.decision.said(words, note={"value": ""}, payout=payout), self.payouts: now.table}

        return decide

    def finding(self, receipt_id: str, request: gr.Request) -> dict[Any, Any]:
        try:
            now = handlers.receipt(person_of(request), receipt_id, self.language)
        except EngineError as error:
            hidden = gr.update(visible=False)
            return {**self.wanted.refused(error), self.found: "", self.refund_place: hidden}
        return {
            **self.wanted.cleared(),
            **self.refund.cleared(amount={"value": now.left}),
            self.found_id: receipt_id,
            self.found: now.html,
            self.refund_place: gr.update(visible=bool(now.left)),
        }

    def giving(
        self, receipt_id: str, amount: str, reason: str, key: str, request: gr.Request
    ) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.refund(person, receipt_id, amount, reason, key, self.language)
        except EngineError as error:
            return self.refund.refused(error)
        now = handlers.receipt(person, receipt_id, self.language)
        return {
            **self.refund.cleared(amount={"value": now.left}, reason={"value": ""}),
            **self.wanted.said(words),
            self.found: now.html,
            self.refund_place: gr.update(visible=bool(now.left)),
            self.key: new_id("key"),
        }

    def filling(
        self, tenant_id: str | None, amount: str, reason: str, key: str, request: gr.Request
    ) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.top_up(person, tenant_id, amount, reason, key, self.language)
        except EngineError as error:
            return self.gift.refused(error)
        empty = {"value": ""}
        return {
            **self.gift.said(words, tenant={"value": None}, amount=empty, reason=empty),
            **self.headed(person, {}),
            self.key: new_id("key"),
        }

    def making(
        self, count: float | None, amount: str, days: float | None, request: gr.Request
    ) -> dict[Any, Any]:
        person = person_of(request)
        try:
            made = handlers.make_codes(person, count, amount, days)
        except EngineError as error:
            return self.codes.refused(error)
        return {
            **self.codes.cleared(),
            self.made: gr.update(value="\n".join(made), visible=True),
            self.batches: handlers.codes(person, self.language),
        }
