"""The model servers, as a part of a page: who there is, how they fare, and how much each is used."""

from typing import Any

import gradio as gr

from apps.pages import Form, Group
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.messages import t
from studio.frame import StudioPage
from studio.handlers import servers as handlers
from studio.handlers.publish import own

ADDED = ("name", "base_url", "model", "served_as", "key_variable", "weight", "fallback")


class Servers(Group):
    """A table that is filled by asking each server once the page is open, and forms to change it."""

    def __init__(self, page: StudioPage) -> None:
        self.page, self.language = page, page.language
        gr.HTML(f"<h2>{self.t('title')}</h2><p class='mbe-muted'>{self.t('why')}</p>")
        self.table = gr.HTML()
        with gr.Row(elem_classes="mbe-row"):
            self.probe = gr.Button(self.t("do_probe"), size="md")
        with gr.Accordion(self.t("add"), open=False):
            self._build_add()
        with gr.Accordion(self.t("edit"), open=False):
            self._build_edit()
        self.soon = gr.Timer(0.2, active=False)

    def _build_add(self) -> None:
        def text(key: str, value: str = "") -> Any:
            label, info = self.t(key), self.t(f"{key}_info")
            return gr.Textbox(value, label=label, info=info, max_length=300, min_width=240)

        with gr.Row():
            name, base_url = text("name"), text("place")
        with gr.Row():
            model, served_as, key_variable = text("model", "*"), text("served_as"), text("key_variable")
        with gr.Row():
            weight, fallback = self._shares()
        fields = (name, base_url, model, served_as, key_variable, weight, fallback)
        self.adding = Form(self.language, **dict(zip(ADDED, fields, strict=True)))
        with gr.Row(elem_classes="mbe-row"):
            self.add = gr.Button(self.t("do_add"), size="md")

    def _shares(self) -> tuple[Any, Any]:
        return (
            gr.Number(1, label=self.t("weight"), info=self.t("weight_info"), precision=0),
            gr.Number(0, label=self.t("rank"), info=self.t("rank_info"), precision=0),
        )

    def _build_edit(self) -> None:
        server = gr.Dropdown(label=self.t("server"), info="", choices=[])
        with gr.Row():
            weight, fallback = self._shares()
        enabled = gr.Checkbox(True, label=self.t("enabled"))
        self.editing = Form(self.language, server=server, weight=weight, fallback=fallback, enabled=enabled)
        with gr.Row(elem_classes="mbe-row"):
            self.save = gr.Button(self.t("do_save"), size="md")
        self.removing = Form(self.language, confirmed=gr.Checkbox(label=self.t("confirm_remove")))
        with gr.Row(elem_classes="mbe-row"):
            self.remove = gr.Button(self.t("do_remove"), variant="stop", size="md")

    def t(self, key: str, **facts: object) -> str:
        """Return words of this part."""
        return t(f"servers.{key}", self.language, **facts)

    @property
    def parts(self) -> list[Any]:
        forms = [*self.adding.parts, *self.editing.parts, *self.removing.parts]
        return [self.table, self.probe, *forms, self.add, self.save, self.remove, self.soon]

    def wire(self) -> None:
        """Connect the buttons."""
        on, server = self.page.on, self.editing.fields["server"]
        on(self.soon.tick, self.probed, [])
        on(self.probe.click, self.probed, [], busy=[self.probe])
        on(self.add.click, self.added, self.adding.inputs, busy=[self.add])
        on(server.input, self.chosen, [server])
        on(self.save.click, self.saved, self.editing.inputs, busy=[self.save])
        on(self.remove.click, self.removed, [server, *self.removing.inputs], busy=[self.remove])

    def show(self, person: Person) -> dict[Any, Any]:
        """Return the updates that show what is declared; each server is asked a moment later."""
        return {**self._shown(handlers.listing(person, self.language)), self.soon: gr.update(active=True)}

    def _shown(self, now: handlers.Shown) -> dict[Any, Any]:
        return {self.table: now.table, self.editing.fields["server"]: gr.update(choices=now.choices)}

    def probed(self, request: gr.Request) -> dict[Any, Any]:
        now = handlers.probed(person_of(request), self.language)
        return {self.table: now.table, self.soon: gr.update(active=False)}

    def added(self, request: gr.Request, *values: Any) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.add(person, self.language, **dict(zip(ADDED, values, strict=True)))
        except EngineError as error:
            return self.adding.refused(error)
        blank = {field: {"value": ""} for field in ("name", "base_url", "served_as", "key_variable")}
        return {**self.show(person), **self.adding.said(words, **blank)}

    def chosen(self, upstream_id: str | None, request: gr.Request) -> dict[Any, Any]:
        weight, fallback, enabled = handlers.values(person_of(request), upstream_id)
        values = {"weight": weight, "fallback": fallback, "enabled": enabled}
        return self.editing.cleared(**{field: {"value": value} for field, value in values.items()})

    def saved(
        self, upstream_id: str | None, weight: Any, fallback: Any, enabled: bool, request: gr.Request
    ) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.change(person, self.language, upstream_id, weight, fallback, enabled)
        except EngineError as error:
            return self.editing.refused(error)
        return {**self.show(person), **self.editing.said(words)}

    def removed(self, upstream_id: str | None, confirmed: bool, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.remove(person, self.language, upstream_id, confirmed)
        except EngineError as error:
            return self.removing.refused(error)
        now = handlers.listing(person, self.language)
        unchosen = self.editing.cleared(server={"choices": now.choices, "value": None})
        said = self.removing.said(words, confirmed={"value": False})
        return {**unchosen, **said, self.table: now.table, self.soon: gr.update(active=True)}


class Instead(Group):
    """The text that stands in for an expert's answers; the expert's id stands in `expert_id`."""

    def __init__(self, page: StudioPage, expert_id: Any) -> None:
        self.page, self.expert_id, self.language = page, expert_id, page.language
        with gr.Column(visible=False) as place:
            self.place = place
            words = [t(f"servers.instead_{key}", self.language) for key in ("title", "why")]
            gr.HTML(f"<h2>{words[0]}</h2><p class='mbe-muted'>{words[1]}</p>")
            text = gr.Textbox(
                label=t("servers.instead", self.language),
                info=t("servers.instead_info", self.language),
                lines=3,
                max_length=2000,
            )
            self.form = Form(self.language, text=text)
            with gr.Row(elem_classes="mbe-row"):
                self.save = gr.Button(t("servers.instead_save", self.language), size="md")

    @property
    def parts(self) -> list[Any]:
        return [self.place, *self.form.parts, self.save]

    def wire(self) -> None:
        """Connect the button."""
        self.page.on(self.save.click, self.saved, [self.expert_id, *self.form.inputs], busy=[self.save])

    def fill(self, person: Person, name: str) -> dict[Any, Any]:
        """Return the update that puts the text that is declared into the field."""
        return {self.form.fields["text"]: gr.update(value=handlers.instead(person, name))}

    def show(self, published: bool) -> dict[Any, Any]:
        """Return the update that shows this for what is on the market; the field keeps what was typed."""
        return {self.place: gr.update(visible=published)}

    def saved(self, expert_id: str, text: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            words = handlers.write_instead(person, own(person, expert_id).name, text, self.language)
        except EngineError as error:
            return self.form.refused(error)
        return self.form.said(words)
