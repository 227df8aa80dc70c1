"""Knowledge: bases, documents, preparing them, looking into them."""

from typing import Any

import gradio as gr

from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from studio.frame import JobBox, StudioPage
from studio.handlers import access, plan
from studio.handlers import knowledge as handlers
from studio.uploader import CSS as UPLOADER_CSS
from studio.uploader import uploader


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    KnowledgePage(language)


class KnowledgePage(StudioPage):
    """List and detail of knowledge bases."""

    css = StudioPage.css + UPLOADER_CSS

    def build(self) -> None:
        with gr.Column() as listing:
            self.listing = self.part(listing)
            gr.HTML(f"<h1>{self.t('tab_knowledge')}</h1><p class='mbe-muted'>{self.t('knowledge_why')}</p>")
            self.bases = self.part(gr.HTML())
            gr.HTML(f"<h2>{self.t('new_base')}</h2>")
            self.barred = self.part(gr.HTML(visible=False))
            with gr.Column() as form:
                self.new_place = self.part(form)
                self._build_new()
        with gr.Column(visible=False) as detail:
            self.detail = self.part(detail)
            self._build_detail()

    def _build_new(self) -> None:
        with gr.Row(equal_height=True):
            name = gr.Textbox(label=self.t("name"), info=self.t("base_name_info"), max_length=80, scale=2)
            choices = [(self.t(f"language_{code}"), code) for code in handlers.LANGUAGES]
            spoken = gr.Dropdown(
                choices, value=self.language, label=self.t("language"), info=self.t("base_language_info")
            )
        self.new = self.part(Form(self.language, name=name, language=spoken))
        with gr.Row(elem_classes="mbe-row"):
            self.create = gr.Button(self.t("create_base"), variant="primary", size="md")

    def _build_detail(self) -> None:
        self.base_id = self.part(gr.Textbox(visible=False))
        self.head = self.part(gr.HTML())
        gr.HTML(f"<h2>{self.t('documents')}</h2>")
        self.documents = self.part(gr.HTML())
        self.files = uploader(self.language, handlers.SUFFIXES)
        link = gr.Textbox(
            label=self.t("web_link"), info=self.t("web_link_info"), placeholder="https://", max_length=2000
        )
        self.linking = self.part(Form(self.language, link=link))
        with gr.Row(elem_classes="mbe-row"):
            self.fetch = gr.Button(self.t("fetch_link"), size="md")
        with gr.Row(elem_classes="mbe-row"):
            self.prepare = self.part(gr.Button(self.t("prepare"), variant="primary", size="md"))
        self.job = self.part(JobBox(self.language))
        with gr.Accordion(self.t("label_document"), open=False):
            labelled = gr.Dropdown([], label=self.t("document"))
            # Shown once the labels of the document are in it: they would overwrite what is typed before.
            labels = gr.Textbox(
                label=self.t("labels"), info=self.t("labels_info"), max_length=500, visible=False
            )
            self.labelling = self.part(Form(self.language, labelled=labelled, labels=labels))
            with gr.Row(elem_classes="mbe-row"):
                self.label = self.part(gr.Button(self.t("save_labels"), size="md", visible=False))
        with gr.Accordion(self.t("delete_document"), open=False):
            chosen = gr.Dropdown([], label=self.t("document"))
            confirmed = gr.Checkbox(label=self.t("confirm_delete"))
            self.deleting = self.part(Form(self.language, document=chosen, confirmed=confirmed))
            with gr.Row(elem_classes="mbe-row"):
                self.delete = gr.Button(self.t("delete"), variant="stop", size="md")

    def wire(self, blocks: gr.Blocks) -> None:
        self.leads(self.on(self.create.click, self.creating, self.new.inputs, busy=[self.create]))
        self.leads(self.on(self.new.fields["name"].submit, self.creating, self.new.inputs))
        self.on(self.files.change, self.tick, [self.base_id])
        for event in (self.fetch.click, self.linking.fields["link"].submit):
            self.on(event, self.fetching, [self.base_id, *self.linking.inputs], busy=[self.fetch])
        self.on(self.prepare.click, self.preparing, [self.base_id], busy=[self.prepare])
        self.connect(self.job, self.tick, self.base_id)
        labelling = [self.base_id, *self.labelling.inputs]
        self.on(self.labelling.fields["labelled"].input, self.choosing, labelling[:2])
        self.on(self.label.click, self.saving_labels, labelling, busy=[self.label])
        self.on(self.delete.click, self.removing, [self.base_id, *self.deleting.inputs], busy=[self.delete])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if base_id := query.get("base"):
            return {
                self.listing: gr.update(visible=False),
                self.detail: gr.update(visible=True),
                self.base_id: base_id,
                **self.shown(person, base_id),
            }
        barred = plan.no_base(person, self.language)
        return {
            self.bases: handlers.listing(person, self.language),
            self.barred: gr.update(value=barred, visible=bool(barred)),
            self.new_place: gr.update(visible=not barred),
        }

    def shown(self, person: Person, base_id: str) -> dict[Any, Any]:
        """Return the updates that show a base as it is now."""
        now = handlers.detail(person, base_id, self.language)
        return {
            self.head: now.head,
            self.documents: now.documents,
            self.labelling.fields["labelled"]: gr.update(choices=now.choices),
            self.deleting.fields["document"]: gr.update(choices=now.choices),
            self.prepare: gr.update(interactive=now.ready),
            **self.job.show(now.job),
        }

    def creating(self, name: str, language: str, request: gr.Request) -> dict[Any, Any]:
        try:
            base_id = handlers.create(person_of(request), name, language)
        except EngineError as error:
            return {**self.new.refused(error), self.goto: ""}
        return {**self.new.cleared(), self.goto: access.address(self.language, base=base_id)}

    def fetching(self, base_id: str, link: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.add_link(person, base_id, link)
        except EngineError as error:
            return self.linking.refused(error)
        return {**self.shown(person, base_id), **self.linking.cleared(link={"value": ""})}

    def preparing(self, base_id: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        handlers.prepare(person, base_id)
        return self.shown(person, base_id)

    def tick(self, base_id: str, request: gr.Request) -> dict[Any, Any]:
        return self.shown(person_of(request), base_id)

    def choosing(self, base_id: str, document_id: str | None, request: gr.Request) -> dict[Any, Any]:
        has = handlers.labels_of(person_of(request), base_id, document_id)
        shown = self.labelling.cleared(labels={"value": has, "visible": True})
        return {**shown, self.label: gr.update(visible=True)}

    def saving_labels(
        self, base_id: str, document_id: str | None, labels: str, request: gr.Request
    ) -> dict[Any, Any]:
        person = person_of(request)
        try:
            name = handlers.label(person, document_id, labels)
        except EngineError as error:
            return self.labelling.refused(error)
        return {**self.shown(person, base_id), **self.labelling.said(self.t("labels_saved", name=name))}

    def removing(
        self, base_id: str, document_id: str, confirmed: bool, request: gr.Request
    ) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.delete(person, document_id, confirmed)
        except EngineError as error:
            return self.deleting.refused(error)
        updates = self.shown(person, base_id)
        choices = handlers.detail(person, base_id, self.language).choices
        return updates | self.deleting.cleared(
            document={"choices": choices, "value": None}, confirmed={"value": False}
        )
