"""Asking for a search over rank, learning rate and epochs, and a search as it goes."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from apps.pages import Form, Group
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.messages import t
from studio.frame import JobBox, StudioPage
from studio.handlers import access
from studio.handlers import search as handlers

PLOTS = len(handlers.Choice._fields)


class Asker(Group):
    """Where a search is asked for: its ranges, then what it will take, then the button that starts it."""

    def __init__(self, language: str) -> None:
        self.language = language
        with gr.Accordion(t("search.title", language), open=False):
            gr.HTML(f"<p class='mbe-muted'>{t('search.why', language)}</p>")
            fields: dict[str, Any] = {}
            with gr.Row(equal_height=True):
                fields["rank"] = gr.Dropdown(
                    handlers.ranks(),
                    multiselect=True,
                    label=t("search.ranks", language),
                    info=t("search.ranks_info", language),
                    min_width=240,
                )
                fields["trials"] = self._number("trials", value=handlers.TRIALS)
            for low, high in (("learning_rate", "highest_rate"), ("epochs", "most_epochs")):
                with gr.Row(equal_height=True):
                    fields[low], fields[high] = self._number(low), self._number(high)
            self.form = Form(language, **fields)
            with gr.Row(elem_classes="mbe-row"):
                self.ask = gr.Button(t("search.ask", language), size="md")
            with gr.Column(visible=False) as asked:
                self.asked = asked
                self.outlook = gr.HTML()
                with gr.Row(elem_classes="mbe-row"):
                    self.start = gr.Button(t("search.start", language), variant="primary", size="md")

    def _number(self, name: str, value: float | None = None) -> gr.Number:
        label, info = t(f"search.{name}", self.language), t(f"search.{name}_info", self.language)
        return gr.Number(value, label=label, info=info, min_width=240)

    @property
    def parts(self) -> list[Any]:
        return [*self.form.parts, self.asked, self.outlook]

    def wire(self, page: StudioPage, training: Form) -> None:
        """Connect the buttons; what all trainings share stands in the form `training`."""
        self.page, self.training = page, training
        inputs = [*training.inputs, *self.form.inputs]
        page.on(self.ask.click, self.asking, inputs, busy=[self.ask])
        page.leads(page.on(self.start.click, self.searching, inputs, busy=[self.start]))
        shared = [field for name, field in training.fields.items() if name not in ("name", "questions")]
        for field in (*self.form.inputs, *shared):
            page.on(field.input, self.forgetting)

    def propose(self, person: Person, dataset_id: str, preset: str, method: str) -> dict[Any, Any]:
        """Return the updates that fill in where a search for a dataset would look."""
        found = handlers.proposal(person, dataset_id, preset, method)
        fields = self.form.fields
        return {
            self.asked: gr.update(visible=False),
            **{fields[name]: gr.update(value=value) for name, value in found.items()},
        }

    def forgetting(self) -> dict[Any, Any]:
        """Hide what was said of other ranges."""
        return {self.asked: gr.update(visible=False)}

    def asking(self, request: gr.Request, *values: Any) -> dict[Any, Any]:
        try:
            said = handlers.outlook(person_of(request), *self._named(values), self.language)
        except EngineError as error:
            return {**self._refused(error), self.asked: gr.update(visible=False)}
        return {**self._cleared(), self.asked: gr.update(visible=True), self.outlook: said}

    def searching(self, request: gr.Request, *values: Any) -> dict[Any, Any]:
        try:
            search_id = handlers.start(person_of(request), *self._named(values))
        except EngineError as error:
            return {**self._refused(error), self.page.goto: ""}
        address = access.address(self.language, self.page.path, search=search_id)
        return {**self._cleared(), self.page.goto: address}

    def _named(self, values: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values of the two forms by field: some names are in both."""
        shared = len(self.training.fields)
        return (
            dict(zip(self.training.fields, values[:shared], strict=True)),
            dict(zip(self.form.fields, values[shared:], strict=True)),
        )

    def _refused(self, error: EngineError) -> dict[Any, Any]:
        """Mark the field at fault; a value of the three that are searched belongs to the search."""
        ours = error.field in self.form.fields or error.field not in self.training.infos
        if ours:
            return {**self.training.cleared(), **self.form.refused(error)}
        return {**self.form.cleared(), **self.training.refused(error)}

    def _cleared(self) -> dict[Any, Any]:
        return {**self.training.cleared(), **self.form.cleared()}


class Found(Group):
    """A search: its job, its trials, and the best of them."""

    def __init__(self, language: str) -> None:
        self.language = language
        with gr.Column(visible=False) as place:
            self.place = place
            self.search_id = gr.Textbox(visible=False)
            self.head = gr.HTML()
            self.job = JobBox(language)
            self.verdict = gr.HTML()
            self.losses = gr.Plot(show_label=False, visible=False)
            with gr.Row():
                self.values = [
                    gr.Plot(show_label=False, container=False, min_width=300, visible=False)
                    for _ in range(PLOTS)
                ]
            self.table = gr.HTML()

    @property
    def parts(self) -> list[Any]:
        own = [self.place, self.search_id, self.head, self.verdict, self.losses, self.table]
        return [*own, *self.values, *self.job.parts]

    def wire(self, page: StudioPage) -> None:
        """Let the job's timer and buttons refresh what is shown."""
        page.connect(self.job, self.tick, self.search_id)

    def open(self, person: Person, search_id: str) -> dict[Any, Any]:
        """Return the updates that show a search. Raises NotFound."""
        shown = self.show(person, search_id)
        return {self.place: gr.update(visible=True), self.search_id: search_id, **shown}

    def tick(self, search_id: str, request: gr.Request) -> dict[Any, Any]:
        return self.show(person_of(request), search_id)

    def show(self, person: Person, search_id: str) -> dict[Any, Any]:
        """Return the updates that show a search as it is now."""
        now = handlers.watch(person, search_id, self.language)
        plots = zip([self.losses, *self.values], [now.losses, *now.values], strict=True)
        return {
            self.head: now.head,
            self.verdict: now.verdict,
            self.table: now.table,
            **{plot: gr.update(value=figure, visible=figure is not None) for plot, figure in plots},
            **self.job.show(now.job),
        }
