"""API keys: make one with its limits, see them, change one; rotate or revoke one after a question."""

from typing import Any

import gradio as gr

from apps import cards
from apps.market import key_handlers as handlers
from apps.market import key_views
from apps.market.frame import CSS, MarketPage
from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import SCOPES, Person
from engine.kit.errors import EngineError
from engine.kit.messages import t

NUMBERS = ("requests_per_minute", "tokens_per_minute", "parallel")


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    KeysPage(language)


class KeysPage(MarketPage):
    """The list with its form; one key, when the address names it; or a question about it."""

    path = "keys"
    tab = "keys"
    catalog = "keys"
    css = f"""{CSS}
.mbe-form{{max-width:800px}}
.mbe-scopes{{min-width:136px}} .mbe-page .mbe-ways{{margin:12px 0 0}}
.mbe-page .mbe-ways a{{margin:0!important;padding:0!important}}
"""

    def build(self) -> None:
        self.top = self.part(gr.HTML(key_views.heading(self.language)))
        self.told = self.part(gr.HTML(visible=False))
        self.key_id = self.part(gr.Textbox(visible=False))
        with gr.Column(visible=False) as asking:
            self.asking = self.part(asking)
            self.asked = self.part(gr.HTML())
            with gr.Row(elem_classes="mbe-row"):
                self.revoke = self.part(gr.Button(self.t("revoke_yes"), variant="stop", size="md"))
                self.rotate = self.part(gr.Button(self.t("rotate_yes"), variant="primary", size="md"))
        with gr.Column(visible=False, elem_classes="mbe-form") as making:
            self.making = self.part(making)
            self.form = self.part(Form(self.language, **self._fields()))
            with gr.Row(elem_classes="mbe-row"):
                self.create = self.part(gr.Button(self.t("create"), variant="primary", size="md"))
                self.save = self.part(gr.Button(self.t("save"), variant="primary", size="md"))
        self.secret = self.part(gr.HTML(visible=False))
        self.listing = self.part(gr.HTML(visible=False))

    def _fields(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"name": self._text("name", "name_hint", 100)}
        with gr.Accordion(self.t("limits"), open=False) as limits:
            self.limits = self.part(limits)
            fields["scopes"] = gr.CheckboxGroup(
                [(self.t(f"scope_{scope}"), scope) for scope in SCOPES],
                value=list(SCOPES),
                label=self.t("scopes"),
                info=self.t("scopes_hint"),
            )
            with gr.Row():
                fields["models"] = self._text("models", "models_hint", 12_000, lines=2)
                fields["ips"] = self._text("ips", "ips_hint", 12_000, lines=2)
            with gr.Row():
                fields["expires_at"] = self._text("expires_at", "expires_hint", 10)
                fields["cap"] = self._text("cap", "cap_hint", 20)
                fields["project"] = gr.Dropdown(
                    [(self.t("no_project"), "")],
                    value="",
                    label=self.t("project"),
                    info=self.t("project_hint"),
                    min_width=240,
                )
            with gr.Row():
                for name in NUMBERS:
                    fields[name] = gr.Number(
                        label=self.t(name), info=self.t("limit_hint"), precision=0, min_width=160
                    )
        return {name: fields[name] for name in handlers.KEY_FIELDS}

    def _text(self, name: str, hint: str, longest: int, lines: int = 1) -> gr.Textbox:
        return gr.Textbox(
            label=self.t(name),
            info=self.t(hint),
            max_length=longest,
            lines=lines,
            max_lines=max(1, 3 * (lines - 1)),
            min_width=240,
        )

    def wire(self, blocks: gr.Blocks) -> None:
        self.on(self.create.click, self.creating, self.form.inputs, busy=[self.create])
        # Enter in the name field does what the button that is shown would do.
        said = [self.key_id, *self.form.inputs]
        self.on(self.form.fields["name"].submit, self.entering, said, busy=[self.create, self.save])
        self.on(self.save.click, self.saving, said, busy=[self.save])
        self.on(self.revoke.click, self.taking_back, [self.key_id], busy=[self.revoke])
        self.on(self.rotate.click, self.turning, [self.key_id], busy=[self.rotate])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        for what in ("revoke", "rotate"):
            if key_id := query.get(what):
                question = handlers.question(person, what, key_id, self.language)
                return {
                    self.asked: question,
                    self.key_id: key_id,
                    self.asking: gr.update(visible=True),
                    self.revoke: gr.update(visible=what == "revoke"),
                    self.rotate: gr.update(visible=what == "rotate"),
                }
        if key_id := query.get("key"):
            return {**self.one(person, key_id), self.limits: gr.update(open=True)}
        return {**self.filled(person, None), **self.shown(person)}

    def shown(self, person: Person) -> dict[Any, Any]:
        """Return the updates that show the list and an empty form."""
        return {
            self.top: key_views.heading(self.language),
            self.listing: gr.update(value=handlers.keys(person, self.language), visible=True),
            self.making: gr.update(visible=True),
            self.create: gr.update(visible=True),
            self.save: gr.update(visible=False),
            self.asking: gr.update(visible=False),
            self.key_id: "",
        }

    def one(self, person: Person, key_id: str) -> dict[Any, Any]:
        """Return the updates that show one key with its terms in the form."""
        key = handlers.live_key(person, key_id)
        return {
            **self.filled(person, key),
            self.top: key_views.detail(key, self.language),
            self.key_id: key_id,
            self.making: gr.update(visible=True),
            self.create: gr.update(visible=False),
            self.save: gr.update(visible=True),
            self.asking: gr.update(visible=False),
        }

    def filled(self, person: Person, key: handlers.KeyStanding | None) -> dict[Any, Any]:
        """Return the updates that put a key's terms into the form, or those of a new one."""
        updates = {name: {"value": value} for name, value in handlers.values(key).items()}
        kept = key.project_id if key else None
        updates["project"]["choices"] = handlers.project_choices(person, self.language, kept)
        return self.form.cleared(**updates)

    def refused(self, error: EngineError) -> dict[Any, Any]:
        """Return the updates that say what is wrong, with its field in sight."""
        told = {self.told: gr.update(visible=False), self.secret: gr.update(visible=False)}
        limits = {} if error.field == "name" else {self.limits: gr.update(open=True)}
        return {**self.form.refused(error), **told, **limits}

    def entering(self, request: gr.Request, key_id: str, *given: Any) -> dict[Any, Any]:
        return self.saving(request, key_id, *given) if key_id else self.creating(request, *given)

    def creating(self, request: gr.Request, *given: Any) -> dict[Any, Any]:
        person = person_of(request)
        fields = dict(zip(handlers.KEY_FIELDS, given, strict=True))
        try:
            secret = handlers.create_key(person, fields, self.language)
        except EngineError as error:
            return self.refused(error)
        return {
            **self.filled(person, None),
            **self.shown(person),
            self.limits: gr.update(open=False),
            self.secret: gr.update(value=secret, visible=True),
            self.told: gr.update(visible=False),
        }

    def saving(self, request: gr.Request, key_id: str, *given: Any) -> dict[Any, Any]:
        person = person_of(request)
        fields = dict(zip(handlers.KEY_FIELDS, given, strict=True))
        try:
            key = handlers.change_key(person, key_id, fields)
        except EngineError as error:
            return self.refused(error)
        told = cards.note(t("keys.saved", self.language, name=key.name), "good")
        return {**self.one(person, key_id), self.told: gr.update(value=told, visible=True)}

    def turning(self, key_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        secret = handlers.rotate(person, key_id, self.language)
        return {**self.one(person, key_id), self.secret: gr.update(value=secret, visible=True)}

    def taking_back(self, key_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        told = handlers.revoke(person, key_id, self.language)
        return {
            **self.filled(person, None),
            **self.shown(person),
            self.told: gr.update(value=told, visible=True),
        }
