"""Indexes: a second way of cutting and embedding, compared with the first; earlier states."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError, NotFound
from studio.frame import JobBox, StudioPage
from studio.handlers import indexes as handlers

CSS = """
.mbe-page .mbe-sides th[scope=row]{text-align:left;font-weight:400;color:var(--muted)}
.mbe-page .mbe-sides td{white-space:normal}
.mbe-page .mbe-sides tr:last-child th{border-bottom:0}
"""


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    IndexesPage(language)


class IndexesPage(StudioPage):
    """The indexes of one knowledge base; a page below Knowledge."""

    path = "indexes"
    css = StudioPage.css + CSS

    def build(self) -> None:
        self.base_id = self.part(gr.Textbox(visible=False))
        self.head = self.part(gr.HTML())
        self.table = self.part(gr.HTML())
        self.bars = self.part(gr.Plot(show_label=False, visible=False))
        self.job = self.part(JobBox(self.language))
        self.acting = self.part(Form(self.language))
        with gr.Row(elem_classes="mbe-row", visible=False) as actions:
            self.actions = self.part(actions)
            self.compare = gr.Button(self.t("compare_indexes"), size="md")
            self.switch = self.part(gr.Button(self.t("switch_index"), variant="primary", size="md"))
            self.update = gr.Button(self.t("update_index"), size="md")
            self.discard = gr.Button(self.t("remove_index"), variant="stop", size="md")
        with gr.Column(visible=False) as making:
            self.making = self.part(making)
            self._build_form()
        gr.HTML(f"<h2>{self.t('snapshots')}</h2><p class='mbe-muted'>{self.t('snapshots_why')}</p>")
        kept = gr.Dropdown([], label=self.t("snapshot"))
        self.restoring = self.part(Form(self.language, version=kept))
        with gr.Row(elem_classes="mbe-row"):
            self.restore = gr.Button(self.t("restore_snapshot"), size="md")
        self.restored = self.part(JobBox(self.language))

    def _build_form(self) -> None:
        gr.HTML(f"<h2>{self.t('new_index')}</h2>")
        with gr.Row(equal_height=True):
            embedder = gr.Dropdown(
                handlers.embedders(self.language),
                value=None,
                label=self.t("embedding_model"),
                info=self.t("embedding_model_info"),
            )
            target = gr.Dropdown(
                handlers.targets(self.language),
                value=None,
                label=self.t("passage_length"),
                info=self.t("passage_length_info"),
            )
        self.new = self.part(Form(self.language, embedder=embedder, target_tokens=target))
        with gr.Row(elem_classes="mbe-row"):
            self.make = gr.Button(self.t("build_index"), variant="primary", size="md")

    def wire(self, blocks: gr.Blocks) -> None:
        self.on(self.make.click, self.building, [self.base_id, *self.new.inputs], busy=[self.make])
        for button, act, said in (
            (self.compare, handlers.compare, "indexes_compared"),
            (self.switch, handlers.switch, "index_switched"),
            (self.update, handlers.update, ""),
            (self.discard, handlers.discard, "index_removed"),
        ):
            self.on(button.click, self._acting(act, said), [self.base_id], busy=[button])
        self.on(
            self.restore.click, self.going_back, [self.base_id, *self.restoring.inputs], busy=[self.restore]
        )
        for box in (self.job, self.restored):
            self.connect(box, self.tick, self.base_id)

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        base_id = query.get("base", "")
        if not base_id:
            raise NotFound("knowledge.unknown_base")
        return {self.base_id: base_id, **self.shown(person, base_id)}

    def shown(self, person: Person, base_id: str) -> dict[Any, Any]:
        """Return the updates that show the indexes as they are now."""
        now = handlers.overview(person, base_id, self.language)
        return {
            self.head: now.head,
            self.table: now.table,
            self.bars: gr.update(value=now.bars, visible=now.bars is not None),
            self.actions: gr.update(visible=now.second),
            self.making: gr.update(visible=not now.second),
            self.switch: gr.update(interactive=now.ready),
            self.restoring.fields["version"]: gr.update(choices=now.kept),
            **self.job.show(now.job),
            **self.restored.show(now.restoring),
        }

    def tick(self, base_id: str, request: gr.Request) -> dict[Any, Any]:
        return self.shown(person_of(request), base_id)

    def building(
        self, base_id: str, embedder: str | None, target: int | None, request: gr.Request
    ) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.build(person, base_id, embedder, target)
        except EngineError as error:
            return self.new.refused(error)
        return {**self.new.cleared(), **self.acting.cleared(), **self.shown(person, base_id)}

    def _acting(self, act: Callable[[Person, str], None], said: str) -> Callable[..., dict[Any, Any]]:
        def acting(base_id: str, request: gr.Request) -> dict[Any, Any]:
            person = person_of(request)
            try:
                act(person, base_id)
            except EngineError as error:
                return {**self.acting.refused(error), **self.shown(person, base_id)}
            told = self.acting.said(self.t(said)) if said else self.acting.cleared()
            # The states are those of another index now.
            unchosen = {
                self.restoring.fields["version"]: gr.update(choices=self._kept(person, base_id), value=None)
            }
            return {**told, **self.shown(person, base_id), **unchosen}

        return acting

    def _kept(self, person: Person, base_id: str) -> list[tuple[str, int]]:
        return handlers.kept(person, base_id, self.language)

    def going_back(self, base_id: str, version: int | None, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.restore(person, base_id, version)
        except EngineError as error:
            return self.restoring.refused(error)
        unchosen = {"choices": self._kept(person, base_id), "value": None}
        return self.shown(person, base_id) | self.restoring.cleared(version=unchosen)
