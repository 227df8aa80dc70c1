"""Where a new version of a published expert gets a share of the calls, is watched, promoted or taken back."""

from typing import Any

import gradio as gr

from apps.pages import Form, Group
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.messages import t
from engine.serving.rollout_schemas import RANGES, Margins
from studio.frame import StudioPage
from studio.handlers import publish
from studio.handlers import rollout as handlers

TICK_SECONDS = 5.0


class RolloutBox(Group):
    """The part of a page about the versions of the expert whose id stands in `expert_id`.

    `refresh` gives the updates of the rest of the page after a step.
    """

    def __init__(self, page: StudioPage, expert_id: Any, refresh: Any) -> None:
        self.page, self.expert_id, self.refresh, self.language = page, expert_id, refresh, page.language
        with gr.Column(visible=False) as place:
            self.place = place
            gr.HTML(f"<h2>{self.t('title')}</h2>")
            self.head = gr.HTML()
            with gr.Row():
                self.plots = [
                    gr.Plot(show_label=False, container=False, min_width=300, visible=False) for _ in range(2)
                ]
            self.timer = gr.Timer(TICK_SECONDS, active=False)
            self._build_start()
            self._build_running()

    def _build_start(self) -> None:
        with gr.Column(visible=False) as starting:
            self.starting = starting
            fields: dict[str, Any] = {
                "strategy": gr.Radio(
                    handlers.strategies(self.language),
                    value="canary",
                    label=self.t("strategy"),
                    info=self.t("strategy_info"),
                ),
                "weight_percent": self._slider(),
            }
            usual = Margins()
            with gr.Accordion(self.t("margins"), open=False), gr.Row():
                for name in handlers.MARGINS:
                    least, most = RANGES[name]
                    fields[name] = gr.Number(
                        getattr(usual, name),
                        label=self.t(name),
                        info=self.t(f"{name}_info", least=least, most=most),
                        precision=0,
                        min_width=240,
                    )
            self.form = Form(self.language, **fields)
            with gr.Row(elem_classes="mbe-row"):
                self.start = gr.Button(self.t("do_start"), size="md")

    def _build_running(self) -> None:
        with gr.Column(visible=False) as running:
            self.running = running
            with gr.Column() as sharing:
                self.sharing = sharing
                self.share = self._slider()
                with gr.Row(elem_classes="mbe-row"):
                    self.change = gr.Button(self.t("do_change"), size="md")
            confirmed = gr.Checkbox(label=self.t("confirm"), info=self.t("confirm_info"))
            self.ending = Form(self.language, weight_percent=self.share, confirmed=confirmed)
            with gr.Row(elem_classes="mbe-row"):
                self.promote = gr.Button(self.t("do_promote"), size="md")
                self.back = gr.Button("", variant="stop", size="md")

    def _slider(self) -> gr.Slider:
        label, info = self.t("share"), self.t("share_info")
        return gr.Slider(0, 100, handlers.FIRST_SHARE, step=1, label=label, info=info)

    def t(self, key: str, **facts: object) -> str:
        """Return words of this part."""
        return t(f"rollouts.{key}", self.language, **facts)

    @property
    def parts(self) -> list[Any]:
        own = [self.place, self.head, *self.plots, self.timer, self.starting, self.start, self.running]
        own += [self.sharing, self.change, self.promote, self.back]
        return [*own, *self.form.parts, *self.ending.parts]

    def wire(self) -> None:
        """Connect the buttons and the clock."""
        page, inputs = self.page, [self.expert_id]
        page.on(self.timer.tick, self.tick, inputs)
        page.on(self.start.click, self.beginning, [*inputs, *self.form.inputs], busy=[self.start])
        page.on(self.change.click, self.changing, [*inputs, self.share], busy=[self.change])
        ends = [*inputs, self.ending.fields["confirmed"]]
        page.on(self.promote.click, self._ending("promote"), ends, busy=[self.promote])
        page.on(self.back.click, self._ending("roll_back"), ends, busy=[self.back])

    def show(self, person: Person, expert_id: str) -> dict[Any, Any]:
        """Return the updates that show the versions as they are now; what was typed stays."""
        now = handlers.state(person, publish.own(person, expert_id), self.language)
        running = now.mode == "running"
        figures = zip(self.plots, (now.failures, now.latency), strict=True)
        return {
            self.place: gr.update(visible=now.mode != "hidden"),
            self.head: now.head,
            self.timer: gr.update(active=running),
            self.starting: gr.update(visible=now.mode == "start"),
            self.running: gr.update(visible=now.mode in ("running", "return")),
            self.sharing: gr.update(visible=running),
            self.promote: gr.update(visible=running),
            self.back: gr.update(value=now.back),
            **{plot: gr.update(value=figure, visible=figure is not None) for plot, figure in figures},
        }

    def opened(self, person: Person, expert_id: str) -> dict[Any, Any]:
        """Return the updates that show the versions to somebody who comes to the page."""
        now = handlers.state(person, publish.own(person, expert_id), self.language)
        return {**self.show(person, expert_id), self.share: gr.update(value=now.share)}

    def tick(self, expert_id: str, request: gr.Request) -> dict[Any, Any]:
        return self.show(person_of(request), expert_id)

    def beginning(self, request: gr.Request, expert_id: str, *values: Any) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.start(person, publish.own(person, expert_id), *values)
        except EngineError as error:
            return self.form.refused(error)
        return {**self.form.cleared(), **self.refresh(person, expert_id), **self.opened(person, expert_id)}

    def changing(self, expert_id: str, share: Any, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            handlers.change(person, publish.own(person, expert_id), share)
        except EngineError as error:
            return {**self.show(person, expert_id), **self.ending.refused(error)}
        return {**self.ending.cleared(), **self.show(person, expert_id)}

    def _ending(self, what: str) -> Any:
        def end(expert_id: str, confirmed: bool, request: gr.Request) -> dict[Any, Any]:
            person = person_of(request)
            try:
                handlers.end(person, publish.own(person, expert_id), what, confirmed is True)
            except EngineError as error:
                return {**self.show(person, expert_id), **self.ending.refused(error)}
            cleared = self.ending.cleared(confirmed={"value": False})
            return {**cleared, **self.refresh(person, expert_id)}

        return end
