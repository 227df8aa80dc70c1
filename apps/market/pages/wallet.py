"""The wallet: what can be spent, the ways to add credits, and the receipt of every answer."""

from typing import Any

import gradio as gr

from apps import cards
from apps.market import cash_views, handlers, package_handlers
from apps.market.frame import MarketPage
from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.ids import new_id
from engine.kit.messages import t
from engine.kit.settings import settings


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    WalletPage(language)


class WalletPage(MarketPage):
    """Balance, packages, top-up and receipts; or one receipt, or a question, when the address names it."""

    path = "wallet"
    tab = "wallet"

    def build(self) -> None:
        self.receipt = self.part(gr.HTML(visible=False))
        self._build_question()
        self.told_cancel = self.part(gr.HTML(visible=False))
        with gr.Column(visible=False) as overview:
            self.overview = self.part(overview)
            gr.HTML(f"<h1>{self.t('tab_wallet')}</h1>")
            self.amounts = self.part(gr.HTML())
            self.packages = self.part(gr.HTML())
            self.key = self.part(gr.Textbox(visible=False))
            with gr.Column(visible=False) as shop:
                self.shop = self.part(shop)
                self._build_shop()
            with gr.Column() as free:
                self.free = self.part(free)
                self._build_free()
            gr.HTML(f"<h2>{t('cash.redeem_title', self.language)}</h2>")
            with gr.Column(elem_classes="mbe-narrow"):
                self._build_code()
            self.orders = self.part(gr.HTML())
            gr.HTML(f"<h2>{self.t('receipts')}</h2>")
            self.limit = self.part(gr.Number(handlers.RECEIPT_STEP, visible=False, precision=0))
            self.receipts = self.part(gr.HTML())
            with gr.Row(elem_classes="mbe-row"):
                self.more = self.part(gr.Button(self.t("more"), visible=False, size="md"))

    def _build_question(self) -> None:
        with gr.Column(visible=False) as question:
            self.question = self.part(question)
            self.asked_cancel = self.part(gr.HTML())
            self.subscription = self.part(gr.Textbox(visible=False))
            with gr.Row(elem_classes="mbe-row"):
                words = t("packages.cancel_yes", self.language)
                self.cancel = self.part(gr.Button(words, variant="stop", size="md"))

    def _build_shop(self) -> None:
        price = cash_views.price(settings().payment_minor, settings().payment_currency)
        words = t("cash.buy_why", self.language, price=price)
        gr.HTML(f"<h2>{t('cash.buy_title', self.language)}</h2><p class='mbe-muted'>{words}</p>")
        with gr.Column(elem_classes="mbe-narrow"):
            amount = gr.Textbox("10", label=self.t("amount"), info="", max_length=20, max_lines=1)
            self.wanted = self.part(Form(self.language, amount=amount))
            with gr.Row(elem_classes="mbe-row"):
                label = t("cash.buy", self.language)
                self.buy = self.part(gr.Button(label, variant="primary", size="md"))

    def _build_free(self) -> None:
        gr.HTML(f"<h2>{self.t('top_up')}</h2>")
        self.why = self.part(gr.HTML(f"<p class='mbe-muted'>{self.t('top_up_why')}</p>", visible=False))
        self.closed = self.part(gr.HTML(f"<p class='mbe-muted'>{self.t('top_up_off')}</p>", visible=False))
        with gr.Column(visible=False, elem_classes="mbe-narrow") as form:
            self.form = self.part(form)
            amount = gr.Textbox("10", label=self.t("amount"), info="", max_length=20, max_lines=1)
            self.asked = self.part(Form(self.language, amount=amount))
            with gr.Row(elem_classes="mbe-row"):
                self.add = self.part(gr.Button(self.t("add"), variant="primary", size="md"))
            self.told = self.part(gr.HTML(visible=False))

    def _build_code(self) -> None:
        words = t("cash.code", self.language)
        code = gr.Textbox(label=words, info="", placeholder="MBE-XXXX-XXXX-XXXX", max_length=60, max_lines=1)
        self.code = self.part(Form(self.language, code=code))
        with gr.Row(elem_classes="mbe-row"):
            self.redeem = self.part(gr.Button(t("cash.redeem", self.language), size="md"))

    def wire(self, blocks: gr.Blocks) -> None:
        for event in (self.add.click, self.asked.fields["amount"].submit):
            self.on(event, self.adding, [*self.asked.inputs, self.key], busy=[self.told])
        for event in (self.buy.click, self.wanted.fields["amount"].submit):
            self.leads(self.on(event, self.buying, [*self.wanted.inputs, self.key], busy=[self.buy]))
        for event in (self.redeem.click, self.code.fields["code"].submit):
            self.on(event, self.redeeming, self.code.inputs, busy=[self.redeem])
        self.on(self.cancel.click, self.cancelling, [self.subscription], busy=[self.cancel])
        self.on(self.more.click, self.showing_more, [self.limit])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if receipt_id := query.get("receipt"):
            shown = handlers.receipt(person, receipt_id, self.language)
            return {self.receipt: gr.update(value=shown, visible=True)}
        if subscription_id := query.get("cancel"):
            words = package_handlers.cancel_question(person, subscription_id, self.language)
            return {
                self.question: gr.update(visible=True),
                self.asked_cancel: words,
                self.subscription: subscription_id,
            }
        return self.overviewed(person)

    def overviewed(self, person: Person) -> dict[Any, Any]:
        """Return the updates that show the wallet whole."""
        return {
            self.overview: gr.update(visible=True),
            self.key: new_id("top"),
            self.packages: package_handlers.mine(person, self.language),
            **self.shown(person, handlers.RECEIPT_STEP),
        }

    def cancelling(self, subscription_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = package_handlers.cancel(person, subscription_id, self.language)
        except EngineError as error:
            words = cards.note(error.message(self.language), "bad")
            return {self.told_cancel: gr.update(value=words, visible=True)}
        return {
            self.question: gr.update(visible=False),
            self.told_cancel: gr.update(value=words, visible=True),
            **self.overviewed(person),
        }

    def shown(self, person: Person, limit: int) -> dict[Any, Any]:
        """Return the updates that show wallet and receipts as they are now."""
        found = handlers.wallet(person, self.language, limit)
        return {
            self.amounts: found.balance,
            self.shop: gr.update(visible=found.can_buy),
            self.free: gr.update(visible=not found.can_buy),
            self.form: gr.update(visible=found.can_top_up),
            self.why: gr.update(visible=found.can_top_up),
            self.closed: gr.update(visible=not found.can_top_up),
            self.orders: found.orders,
            self.receipts: found.receipts,
            self.more: gr.update(visible=found.more),
            self.limit: limit,
        }

    def adding(self, amount: str, key: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            told = handlers.top_up(person, amount, key, self.language)
        except EngineError as error:
            return {**self.asked.refused(error), self.told: gr.update(visible=False)}
        return {
            **self.asked.cleared(),
            **self.headed(person, {}),
            **self.shown(person, handlers.RECEIPT_STEP),
            self.told: gr.update(value=told, visible=True),
            # The next click is another top-up; until here a repeated one counted once.
            self.key: new_id("top"),
        }

    def buying(self, amount: str, key: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            address = handlers.buy(person, amount, key)
        except EngineError as error:
            # An order that was kept under this key is of this amount; another amount is another order.
            again = {} if error.status == 502 else {self.key: new_id("top")}
            return {**self.wanted.refused(error), self.goto: "", **again}
        return {**self.wanted.cleared(), self.goto: address, self.key: new_id("top")}

    def redeeming(self, code: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            told = handlers.redeem(person, code, self.language)
        except EngineError as error:
            return self.code.refused(error)
        return {
            **self.headed(person, {}),
            **self.shown(person, handlers.RECEIPT_STEP),
            **self.code.cleared(code={"value": ""}),
            self.code.message: gr.update(value=told, visible=True),
        }

    def showing_more(self, limit: int, request: gr.Request) -> dict[Any, Any]:
        return self.shown(person_of(request), int(limit) + handlers.RECEIPT_STEP)
