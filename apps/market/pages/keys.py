"""API keys: make one, see them, revoke one after a question."""

from typing import Any

import gradio as gr

from apps.market import handlers, views
from apps.market.frame import MarketPage
from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    KeysPage(language)


class KeysPage(MarketPage):
    """The list with its form; or the question before revoking, when the address names a key."""

    path = "keys"
    tab = "keys"

    def build(self) -> None:
        gr.HTML(views.heading("keys", self.language))
        self.told = self.part(gr.HTML(visible=False))
        with gr.Column(visible=False) as revoking:
            self.revoking = self.part(revoking)
            self.key_id = self.part(gr.Textbox(visible=False))
            self.asked = self.part(gr.HTML())
            with gr.Row(elem_classes="mbe-row"):
                self.revoke = self.part(gr.Button(self.t("revoke_yes"), variant="stop", size="md"))
        with gr.Column(visible=False, elem_classes="mbe-narrow") as making:
            self.making = self.part(making)
            name = gr.Textbox(
                label=self.t("key_name"), info=self.t("key_name_hint"), max_length=100, max_lines=1
            )
            self.form = self.part(Form(self.language, name=name))
            with gr.Row(elem_classes="mbe-row"):
                self.create = self.part(gr.Button(self.t("create_key"), variant="primary", size="md"))
        self.secret = self.part(gr.HTML(visible=False))
        self.listing = self.part(gr.HTML())

    def wire(self, blocks: gr.Blocks) -> None:
        for event in (self.create.click, self.form.fields["name"].submit):
            self.on(event, self.creating, self.form.inputs, busy=[self.create])
        self.on(self.revoke.click, self.taking_back, [self.key_id], busy=[self.revoke])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if key_id := query.get("revoke"):
            question = handlers.revoke_question(person, key_id, self.language)
            return {self.asked: question, self.key_id: key_id, self.revoking: gr.update(visible=True)}
        return self.shown(person)

    def shown(self, person: Person) -> dict[Any, Any]:
        """Return the updates that show the list and the form."""
        return {
            self.listing: handlers.keys(person, self.language),
            self.making: gr.update(visible=True),
            self.revoking: gr.update(visible=False),
        }

    def creating(self, name: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            secret = handlers.create_key(person, name, self.language)
        except EngineError as error:
            return self.form.refused(error)
        return {
            **self.form.cleared(name={"value": ""}),
            **self.shown(person),
            self.secret: gr.update(value=secret, visible=True),
            self.told: gr.update(visible=False),
        }

    def taking_back(self, key_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        told = handlers.revoke(person, key_id, self.language)
        return {**self.shown(person), self.told: gr.update(value=told, visible=True)}
