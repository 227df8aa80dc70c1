"""Train: what to train with which recipe, and how a run goes."""

from typing import Any

import gradio as gr

from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.training.service import MOST_BASES
from studio.comparison import Beside, Chooser
from studio.course import Course
from studio.frame import JobBox, StudioPage
from studio.handlers import access, compare, plan, prompting
from studio.handlers import train as handlers
from studio.prompting import Writer
from studio.search import Asker, Found
from studio.talk import Talk
from studio.views import preview as previews
from studio.views import runs
from studio.views import train as views


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    TrainPage(language)


class TrainPage(StudioPage):
    """Form, list and detail of training runs."""

    path = "train"
    css = StudioPage.css + views.CSS + previews.CSS + runs.CSS

    def build(self) -> None:
        with gr.Column() as listing:
            self.listing = self.part(listing)
            gr.HTML(f"<h1>{self.t('tab_train')}</h1><p class='mbe-muted'>{self.t('train_why')}</p>")
            self.runs = self.part(gr.HTML())
            self.chooser = self.part(Chooser(self.language))
            gr.HTML(f"<h2>{self.t('new_run')}</h2>")
            self.lacking = self.part(gr.HTML(visible=False))
            with gr.Column() as form:
                self.form_place = self.part(form)
                self._build_form()
                self.writer = self.part(Writer(self.language))
        with gr.Column(visible=False) as detail:
            self.detail = self.part(detail)
            self.run_id = self.part(gr.Textbox(visible=False))
            self.head = self.part(gr.HTML())
            self.job = self.part(JobBox(self.language))
            self.result = self.part(gr.HTML())
            self.curve = self.part(gr.Plot(show_label=False, visible=False))
            self.course = self.part(Course(self.language))
            self.samples = self.part(gr.HTML())
            self.talk = self.part(Talk(self, self.run_id))
        self.beside = self.part(Beside(self.language))
        self.search = self.part(Found(self.language))

    def _build_form(self) -> None:
        fields: dict[str, Any] = {
            "name": gr.Textbox(label=self.t("name"), info=self.t("run_name_info"), max_length=100)
        }
        with gr.Row(equal_height=True):
            fields["dataset"] = gr.Dropdown(
                [], label=self.t("dataset"), info=self.t("dataset_info"), min_width=240
            )
            fields["kb_ids"] = gr.Dropdown(
                [],
                multiselect=True,
                max_choices=MOST_BASES,
                label=self.t("knowledge_bases"),
                info=self.t("knowledge_bases_info"),
                min_width=240,
            )
        fields["method"] = gr.Radio([], label=self.t("method"), info=self.t("method_info"), visible=False)
        fields["preset"] = gr.Radio(
            [(self.t(f"preset_{name}"), name) for name in handlers.PRESETS],
            value="balanced",
            label=self.t("preset"),
            info=self.t("preset_info"),
        )
        self.words = self.part(gr.HTML())
        with gr.Accordion(self.t("advanced"), open=False):
            # Drawn below the numbers, but before them among the fields: those go on to the end.
            fields["questions"] = gr.Textbox(
                label=self.t("own_questions"),
                info=self.t("own_questions_info"),
                lines=3,
                max_length=3000,
                render=False,
            )
            with gr.Row():
                for name in handlers.ADVANCED:
                    fields[name] = gr.Number(
                        label=self.t(f"recipe_{name}"),
                        info=self.t(f"recipe_{name}_info"),
                        min_width=240,
                        visible=name != "beta",
                    )
            fields["questions"].render()
        self.form = self.part(Form(self.language, **fields))
        with gr.Row(elem_classes="mbe-row"):
            self.start = gr.Button(self.t("start_training"), variant="primary", size="md")
            self.look = gr.Button(self.t("check_first"), size="md")
        with gr.Column(visible=False) as check:
            self.check = self.part(check)
            gr.HTML(f"<h2>{self.t('check_title')}</h2>")
            self.figures = self.part(gr.HTML())
            self.lengths = self.part(gr.Plot(show_label=False))
            self.examples = self.part(gr.HTML())
        self.asker = self.part(Asker(self.language))

    def wire(self, blocks: gr.Blocks) -> None:
        fields = self.form.fields
        # Of the method only what a person does: it is set together with the recipe that goes with it.
        for changed in (fields["dataset"].change, fields["method"].input, fields["preset"].change):
            self.on(changed, self.proposing, [fields["dataset"], fields["method"], fields["preset"]])
        self.leads(self.on(self.start.click, self.starting, self.form.inputs, busy=[self.start]))
        looked_at = [field for name, field in fields.items() if name not in ("name", "questions")]
        self.on(self.look.click, self.checking, looked_at, busy=[self.look])
        self.leads(
            self.on(self.writer.make.click, self.writing, self.writer.form.inputs, busy=[self.writer.make])
        )
        self.leads(self.on(self.chooser.go.click, self.comparing, self.chooser.form.inputs))
        self.connect(self.job, self.tick, self.run_id)
        self.talk.wire(self.job)
        self.asker.wire(self, self.form)
        self.search.wire(self)

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        if run_id := query.get("run"):
            return {
                self.listing: gr.update(visible=False),
                self.detail: gr.update(visible=True),
                self.run_id: run_id,
                **self.shown(person, run_id),
                **self.talk.show(person, run_id),
            }
        if run_ids := query.get("compare"):
            return {self.listing: gr.update(visible=False), **self.beside.show(person, run_ids)}
        if search_id := query.get("search"):
            return {self.listing: gr.update(visible=False), **self.search.open(person, search_id)}
        choices = handlers.choices(person, self.language)
        ids = [dataset_id for _, dataset_id in choices.datasets]
        asked = query.get("dataset", "")
        chosen = asked if asked in ids else (ids[0] if ids else None)
        barred = plan.no_training(person, self.language)
        lacking = barred or handlers.nothing_to_train_with(self.language)
        able = bool(ids) and not barred
        return {
            self.runs: handlers.listing(person, self.language),
            **self.chooser.show(person),
            self.lacking: gr.update(value=lacking, visible=not able),
            self.form_place: gr.update(visible=able),
            self.form.fields["dataset"]: gr.update(choices=choices.datasets, value=chosen),
            self.form.fields["kb_ids"]: gr.update(choices=choices.bases, value=[]),
            **self.writer.show(person, choices, query.get("prompt", "")),
        }

    def shown(self, person: Person, run_id: str) -> dict[Any, Any]:
        """Return the updates that show a run as it is now."""
        now = handlers.watch(person, run_id, self.language)
        return {
            self.head: now.head,
            self.result: now.result,
            self.curve: gr.update(value=now.curve, visible=now.curve is not None),
            self.samples: now.samples,
            **self.course.show(now),
            **self.job.show(now.job),
        }

    def proposing(
        self, dataset_id: str | None, method: str | None, preset: str, request: gr.Request
    ) -> dict[Any, Any]:
        person = person_of(request)
        found = handlers.proposal(person, dataset_id or "", preset, self.language, method or "")
        if found is None:
            return {self.words: ""}
        fields = self.form.fields
        updates = {fields[name]: gr.update(value=value) for name, value in found.values.items()}
        updates[fields["beta"]]["visible"] = found.method != "sft"
        several = len(found.methods) > 1
        updates[fields["method"]] = gr.update(choices=found.methods, value=found.method, visible=several)
        search = self.asker.propose(person, dataset_id or "", preset, found.method)
        return {self.words: found.words, **updates, **search}

    def checking(
        self,
        dataset_id: str | None,
        base_ids: list[str] | None,
        method: str | None,
        preset: str,
        request: gr.Request,
        *numbers: float | None,
    ) -> dict[Any, Any]:
        values = dict(zip(handlers.ADVANCED, numbers, strict=True))
        try:
            found = handlers.check(
                person_of(request),
                dataset_id or "",
                base_ids or [],
                preset,
                values,
                self.language,
                method or "sft",
            )
        except EngineError as error:
            return {**self.form.refused(error), self.check: gr.update(visible=False)}
        return {
            **self.form.cleared(),
            self.check: gr.update(visible=True),
            self.figures: found.figures,
            self.lengths: found.lengths,
            self.examples: found.examples,
        }

    def starting(
        self,
        name: str,
        dataset_id: str | None,
        base_ids: list[str] | None,
        method: str | None,
        preset: str,
        questions: str,
        request: gr.Request,
        *numbers: float | None,
    ) -> dict[Any, Any]:
        values = dict(zip(handlers.ADVANCED, numbers, strict=True))
        try:
            run_id = handlers.start(
                person_of(request),
                name,
                dataset_id or "",
                base_ids or [],
                preset,
                values,
                (questions or "").splitlines(),
                method or "sft",
            )
        except EngineError as error:
            return {**self.form.refused(error), self.goto: ""}
        return {**self.form.cleared(), self.goto: access.address(self.language, self.path, run=run_id)}

    def writing(
        self,
        name: str,
        template: str,
        dataset_id: str | None,
        base_ids: list[str] | None,
        questions: str,
        request: gr.Request,
    ) -> dict[Any, Any]:
        form = self.writer.form
        try:
            run_id = prompting.make(
                person_of(request), name, template, dataset_id or "", base_ids or [], questions
            )
        except EngineError as error:
            return {**form.refused(error), self.goto: ""}
        return {**form.cleared(), self.goto: access.address(self.language, self.path, run=run_id)}

    def comparing(self, run_ids: list[str] | None, _request: gr.Request) -> dict[Any, Any]:
        try:
            wanted = compare.chosen(run_ids or [])
        except EngineError as error:
            return {**self.chooser.form.refused(error), self.goto: ""}
        return {self.goto: access.address(self.language, self.path, compare=wanted)}

    def tick(self, run_id: str, request: gr.Request) -> dict[Any, Any]:
        return self.shown(person_of(request), run_id)
