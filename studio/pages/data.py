"""Data: a file looked at, imported, and what became of it."""

from pathlib import Path
from typing import Any

import gradio as gr

from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from studio.frame import StudioPage
from studio.handlers import access
from studio.handlers import data as handlers

SUFFIXES = [".json", ".jsonl", ".csv", ".parquet"]


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    DataPage(language)


class DataPage(StudioPage):
    """Import, list and detail of datasets."""

    path = "data"

    def build(self) -> None:
        with gr.Column() as listing:
            self.listing = self.part(listing)
            gr.HTML(f"<h1>{self.t('tab_data')}</h1><p class='mbe-muted'>{self.t('data_why')}</p>")
            self.datasets = self.part(gr.HTML())
            gr.HTML(f"<h2>{self.t('new_dataset')}</h2>")
            self.file = self.part(
                gr.File(
                    file_types=SUFFIXES, label=self.t("drop_dataset"), height=140, elem_classes="mbe-drop"
                )
            )
            self.unread = self.part(Form(self.language))
            with gr.Column(visible=False) as look:
                self.look = self.part(look)
                self._build_look()
        with gr.Column(visible=False) as detail:
            self.detail = self.part(detail)
            self.shown = self.part(gr.HTML())
            self.dataset_id = self.part(gr.Textbox(visible=False))
            with gr.Accordion(self.t("delete_dataset"), open=False):
                self.deleting = self.part(
                    Form(self.language, confirmed=gr.Checkbox(label=self.t("confirm_delete_dataset")))
                )
                with gr.Row(elem_classes="mbe-row"):
                    self.delete = gr.Button(self.t("delete"), variant="stop", size="md")

    def _build_look(self) -> None:
        self.preview = self.part(gr.HTML())
        name = gr.Textbox(label=self.t("name"), info=self.t("dataset_name_info"), max_length=80)
        on_bad = gr.Radio(
            [(self.t("refuse"), "refuse"), (self.t("keep_good"), "keep_good")],
            value="refuse",
            label=self.t("on_bad"),
            info=self.t("on_bad_info"),
        )
        self.form = self.part(Form(self.language, name=name, on_bad=on_bad))
        with gr.Row(elem_classes="mbe-row"):
            self.take = self.part(gr.Button(self.t("import"), variant="primary", size="md"))
        self.sample = self.part(gr.HTML())

    def wire(self, blocks: gr.Blocks) -> None:
        self.on(self.file.upload, self.looked, [self.file], busy=[self.file])
        self.on(self.file.clear, self.dropped)
        self.leads(self.on(self.take.click, self.importing, [self.file, *self.form.inputs], busy=[self.take]))
        self.leads(self.on(self.delete.click, self.removing, [self.dataset_id, *self.deleting.inputs]))

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if dataset_id := query.get("dataset"):
            return {
                self.listing: gr.update(visible=False),
                self.detail: gr.update(visible=True),
                self.shown: handlers.detail(person, dataset_id, self.language),
                self.dataset_id: dataset_id,
            }
        return {self.datasets: handlers.listing(person, self.language)}

    def looked(self, file: str | None, request: gr.Request) -> dict[Any, Any]:
        try:
            look = handlers.preview(person_of(request), Path(file) if file else None, self.language)
        except EngineError as error:
            return {**self.unread.refused(error), self.look: gr.update(visible=False)}
        return {
            **self.unread.cleared(),
            **self.form.cleared(
                name={"value": look.name}, on_bad={"value": "refuse", "visible": look.has_problems}
            ),
            self.look: gr.update(visible=True),
            self.preview: look.html,
            self.sample: look.sample,
            self.take: gr.update(interactive=look.importable),
        }

    def dropped(self, request: gr.Request) -> dict[Any, Any]:
        return {**self.unread.cleared(), self.look: gr.update(visible=False)}

    def importing(self, file: str | None, name: str, on_bad: str, request: gr.Request) -> dict[Any, Any]:
        try:
            made = handlers.import_file(person_of(request), Path(file) if file else None, name, on_bad)
        except EngineError as error:
            return {**self.form.refused(error), self.goto: ""}
        return {**self.form.cleared(), self.goto: access.address(self.language, self.path, dataset=made)}

    def removing(self, dataset_id: str, confirmed: bool, request: gr.Request) -> dict[Any, Any]:
        try:
            handlers.delete(person_of(request), dataset_id, confirmed)
        except EngineError as error:
            return {**self.deleting.refused(error), self.goto: ""}
        return {self.goto: access.address(self.language, self.path)}
