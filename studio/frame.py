"""What every page of the studio shares: the frame, who may see it, its events, forms and jobs."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.context import Context

from apps import cards, shell
from engine.accounts.schemas import Person
from engine.jobs.schemas import ACTIVE, JobView
from engine.kit.errors import EngineError
from engine.kit.messages import t
from studio.handlers import access
from studio.handlers import jobs as job_handlers

CSS = """
.mbe-page .form{border:0;gap:12px;background:none}
.mbe-page a.mbe-back{display:inline-block;margin:0 0 8px;padding:0;color:var(--muted);text-decoration:none}
.mbe-page a.mbe-back:hover{color:var(--primary)}
.mbe-page .mbe-bad-field input,.mbe-page .mbe-bad-field textarea{border-color:var(--bad)!important}
.mbe-page .mbe-bad-field span[data-testid="block-info"]+div,.mbe-bad-field .info{color:var(--bad)}
.mbe-page .mbe-row{align-items:center;flex-wrap:wrap;gap:8px}
.mbe-page .mbe-row>button{flex:0 0 auto!important;width:auto!important;min-width:max-content!important}
.mbe-page .mbe-drop{border:1px dashed var(--line)!important;border-radius:10px!important;
 background:var(--panel)}
.mbe-page .mbe-panel{background:var(--panel);border:1px solid var(--line);border-radius:10px;
 padding:16px 20px}
.mbe-page .js-plotly-plot text{fill:var(--ink)!important}
.mbe-page .js-plotly-plot .gridlayer path,.mbe-page .js-plotly-plot .zerolinelayer path{
 stroke:var(--line)!important}
.mbe-facts{display:grid;grid-template-columns:max-content 1fr;gap:6px 20px;margin:0}
.mbe-facts dd{margin:0}
@media(max-width:760px){.mbe-facts{grid-template-columns:1fr;gap:2px}.mbe-facts dd{margin-bottom:8px}}
.mbe-page details>summary{cursor:pointer;margin:8px 0}
.mbe-page .mbe-chat{border:1px solid var(--line)!important;
 border-radius:10px!important;background:var(--panel)}
.mbe-text{white-space:pre-wrap;overflow-wrap:anywhere}
.mbe-stack>.mbe-card{margin-bottom:8px}
.mbe-page ol.mbe-track{display:flex;flex-wrap:wrap;gap:4px 0;list-style:none!important;
 margin:8px 0 16px;padding:0}
.mbe-page .mbe-track li{list-style:none!important;margin:0;padding:0;color:var(--muted);white-space:nowrap}
.mbe-track li+li::before{content:"→";margin:0 10px;color:var(--muted);font-weight:400}
.mbe-page .mbe-track li.passed{color:var(--good)}
.mbe-page .mbe-track li[aria-current]{color:var(--primary);font-weight:650}
.mbe-page .mbe-track li.bad{color:var(--bad);font-weight:650}
"""

GO = "(address) => { if (address) window.location.assign(address) }"
TICK_SECONDS = 1.5


class JobBox:
    """A job on a page: its card, and the buttons that its state allows."""

    def __init__(self, language: str) -> None:
        self.language = language
        self.job_id = gr.Textbox(visible=False)
        self.card = gr.HTML(visible=False)
        with gr.Row(elem_classes="mbe-row"):
            self.pause = gr.Button(t("studio.pause", language), visible=False, size="md")
            self.resume = gr.Button(t("studio.resume", language), visible=False, size="md")
            self.cancel = gr.Button(t("studio.cancel", language), visible=False, size="md")
        self.timer = gr.Timer(TICK_SECONDS, active=False)

    @property
    def parts(self) -> list[Any]:
        """Return the components that `show` may change."""
        return [self.job_id, self.card, self.pause, self.resume, self.cancel, self.timer]

    def show(self, job: JobView | None) -> dict[Any, Any]:
        """Return the updates that show `job`; the page is asked again only while it moves."""
        if job is None:
            return {part: gr.update(visible=False) for part in self.parts[1:5]} | {
                self.job_id: "",
                self.timer: gr.update(active=False),
            }
        title = access.job_title(job, self.language)
        return {
            self.job_id: job.id,
            self.card: gr.update(value=cards.job_card(job, self.language, title), visible=True),
            self.pause: gr.update(visible=job.state in ("queued", "running")),
            self.resume: gr.update(visible=job.state in ("paused", "failed")),
            self.cancel: gr.update(visible=job.state in ("queued", "running", "pausing", "paused")),
            self.timer: gr.update(active=job.state in (*ACTIVE, "queued")),
        }


class Form:
    """Fields by name, and a place for what is wrong with them. A refused form keeps what was typed."""

    def __init__(self, language: str, /, **fields: Any) -> None:
        self.language = language
        self.fields = fields
        # Not every component can show words of its own; what concerns the others stands below the form.
        self.infos = {name: field.info for name, field in fields.items() if hasattr(field, "info")}
        self.message = gr.HTML(visible=False)

    @property
    def inputs(self) -> list[Any]:
        """Return the fields in the order they were given in."""
        return list(self.fields.values())

    @property
    def parts(self) -> list[Any]:
        """Return the components that a refusal may change."""
        return [*self.inputs, self.message]

    def cleared(self, **updates: dict[str, Any]) -> dict[Any, Any]:
        """Return the updates that take all marks away; `updates` are more of them, by field."""
        changes = {
            field: {
                **({"info": self.infos[name], "elem_classes": []} if name in self.infos else {}),
                **updates.get(name, {}),
            }
            for name, field in self.fields.items()
        }
        marks = {field: gr.update(**change) for field, change in changes.items() if change}
        return {**marks, self.message: gr.update(value="", visible=False)}

    def said(self, words: str) -> dict[Any, Any]:
        """Return the updates that take all marks away and confirm what was done."""
        return {**self.cleared(), self.message: gr.update(value=cards.note(words, "good"), visible=True)}

    def refused(self, error: EngineError) -> dict[Any, Any]:
        """Return the updates that say what is wrong, at the field if the error names one."""
        words = error.message(self.language)
        updates = self.cleared()
        if error.field in self.infos:
            updates[self.fields[error.field]] = gr.update(info=words, elem_classes=["mbe-bad-field"])
        else:
            updates[self.message] = gr.update(value=cards.note(words, "bad"), visible=True)
        return updates


class StudioPage:
    """A page of the studio. A subclass builds its parts, fills them when opened, and wires its events.

    Every event may update every part, so handlers return a dict with what changes.
    """

    path = ""
    role = "developer"

    def __init__(self, language: str) -> None:
        self.language = language
        self.parts: list[Any] = []
        header = shell.frame("studio", language, f"studio/{self.path}")
        with gr.Column(elem_classes="mbe-page"):
            gr.HTML(f"<style>{CSS}</style>{cards.style()}")
            self.nav = self.part(gr.HTML(shell.tabs(access.tabs(None, language, self.path))))
            self.notice = self.part(gr.HTML(visible=False))
            self.goto = self.part(gr.Textbox(visible=False))
            with gr.Column(visible=False) as body:
                self.body = self.part(body)
                self.build()
        private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
        blocks = Context.root_block
        assert blocks is not None
        loader = shell.frame_loader("studio", language, f"studio/{self.path}")
        blocks.load(loader, None, header, **private)
        blocks.load(shell.spoken(language, self._open), None, self.parts, **private)
        self.wire()

    def build(self) -> None:
        """Make the parts of the page."""
        raise NotImplementedError

    def wire(self) -> None:
        """Connect the parts to handlers."""
        raise NotImplementedError

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        """Return the updates that fill the page for `person` at the address with `query`."""
        raise NotImplementedError

    def _open(self, request: gr.Request) -> dict[Any, Any]:
        person = shell.person_of(request)
        updates = {self.nav: shell.tabs(access.tabs(person, self.language, self.path))}
        if self.role not in person.roles:
            refusal = access.refusal(self.role, self.language)
            return {**updates, self.notice: gr.update(value=refusal, visible=True)}
        try:
            filled = self.opened(person, dict(request.query_params))
        except EngineError as error:
            lost = access.lost(error.message(self.language), self.language, self.path)
            return {**updates, self.notice: gr.update(value=lost, visible=True)}
        return {**updates, self.body: gr.update(visible=True), **filled}

    def part(self, component: Any) -> Any:
        """Register a component, or everything of a form or a job box, as one that events may update."""
        self.parts.extend(component.parts if isinstance(component, Form | JobBox) else [component])
        return component

    def t(self, key: str, **facts: object) -> str:
        """Return words of the studio."""
        return t(f"studio.{key}", self.language, **facts)

    def on(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Any],
        inputs: Sequence[Any] = (),
        *,
        busy: Sequence[Any] = (),
        stream: bool = False,
        outputs: Sequence[Any] | None = None,
    ) -> Any:
        """Call `handler(*inputs, request)` on an event; `busy` are the parts that show that it works."""
        wrap = shell.spoken_stream if stream else shell.spoken
        return event(
            wrap(self.language, handler),
            list(inputs),
            self.parts if outputs is None else list(outputs),
            show_progress="minimal" if busy else "hidden",
            show_progress_on=list(busy) or None,
            api_visibility="private",
        )

    def leads(self, dependency: Any) -> None:
        """After an event that succeeded, go to the address it put into `goto`."""
        dependency.success(None, self.goto, None, js=GO, api_visibility="private")

    def connect(self, box: JobBox, tick: Callable[..., dict[Any, Any]], subject: Any) -> None:
        """Let a job box's timer and buttons work; `tick(subject, request)` refreshes the page."""
        self.on(box.timer.tick, tick, [subject])
        for button, change in ((box.pause, "pause"), (box.resume, "resume"), (box.cancel, "cancel")):
            self.on(button.click, self._changing(box, change, tick), [box.job_id, subject])

    def _changing(self, box: JobBox, change: str, tick: Callable[..., dict[Any, Any]]) -> Callable[..., Any]:
        def act(job_id: str, subject: str, request: gr.Request) -> dict[Any, Any]:
            job_handlers.change(shell.person_of(request), job_id, change)
            return tick(subject, request)

        return act
