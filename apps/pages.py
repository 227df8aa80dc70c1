"""What every Gradio page of the product is made of: a frame, who may see it, its events, its forms."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.context import Context

from apps import cards, shell
from apps.frame import header, header_for
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.messages import t

CSS = """
.mbe-page .form{border:0;gap:12px;background:none}
.mbe-page a.mbe-back{display:inline-block;margin:0 0 8px;padding:0;color:var(--muted);text-decoration:none}
.mbe-page a.mbe-back:hover{color:var(--primary)}
.mbe-page .mbe-bad-field input,.mbe-page .mbe-bad-field textarea{border-color:var(--bad)!important}
.mbe-page .mbe-bad-field .info,.mbe-page .mbe-bad-field span[data-testid="block-info"]+div{color:var(--bad)}
.mbe-page .mbe-row{align-items:center;flex-wrap:wrap;gap:8px}
.mbe-page .mbe-row>button{flex:0 0 auto!important;width:auto!important;min-width:max-content!important}
.mbe-page .js-plotly-plot text{fill:var(--ink)!important}
.mbe-page .js-plotly-plot :is(.gridlayer,.zerolinelayer) path{stroke:var(--line)!important}
.mbe-page .mbe-chat{border:1px solid var(--line)!important;border-radius:10px!important;
 background:var(--panel)}
.mbe-text{white-space:pre-wrap;overflow-wrap:anywhere}
.mbe-dot{display:inline-block;width:10px;height:10px;border-radius:5px;margin-right:8px}
"""

GO = "(address) => { if (address) window.location.assign(address) }"
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""For events that only a page calls, and quietly."""
AT_ONCE = 32
"""How many people one event serves at the same time; Gradio's own default is one."""


class Group(ABC):
    """Components that belong together and are updated together."""

    @property
    @abstractmethod
    def parts(self) -> list[Any]:
        """Return the components that events may update."""


class Form(Group):
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

    def said(self, words: str, **updates: dict[str, Any]) -> dict[Any, Any]:
        """Return the updates that take all marks away and confirm what was done; `updates` as above."""
        return {
            **self.cleared(**updates),
            self.message: gr.update(value=cards.note(words, "good"), visible=True),
        }

    def refused(self, error: EngineError) -> dict[Any, Any]:
        """Return the updates that say what is wrong, at the field if the error names one."""
        words = error.message(self.language)
        updates = self.cleared()
        if error.field in self.infos:
            updates[self.fields[error.field]] = gr.update(info=words, elem_classes=["mbe-bad-field"])
        else:
            updates[self.message] = gr.update(value=cards.note(words, "bad"), visible=True)
        return updates


class Page(ABC):
    """A page of one of the product's places. A subclass builds its parts, wires its events and fills itself.

    Every event may update every part, so handlers return a dict with what changes. Nothing of the page is
    shown before `opened` has filled it for the person who asks.
    """

    place: str
    """Where the page is: one of `frame.PLACES`."""
    catalog: str
    """The catalog of messages that `t` reads."""
    css = ""
    path = ""

    def __init__(self, language: str) -> None:
        self.language = language
        self.parts: list[Any] = []
        top = header(self.place, language, path=self.address({}))
        self.header = self.part(gr.HTML(top, elem_classes="mbe-frame", padding=False))
        with gr.Column(elem_classes="mbe-page"):
            gr.HTML(f"<style>{CSS}{self.css}</style>{cards.style()}")
            self.nav = self.part(gr.HTML(shell.tabs(self.tabs(None))))
            self.instead = self.part(gr.HTML(visible=False))
            self.goto = self.part(gr.Textbox(visible=False))
            with gr.Column(visible=False) as body:
                self.body = self.part(body)
                self.build()
        blocks = Context.root_block
        assert blocks is not None
        self.on(blocks.load, self.open)
        self.wire(blocks)

    @abstractmethod
    def build(self) -> None:
        """Make the parts of the page."""

    @abstractmethod
    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        """Return the updates that fill the page for `person` at the address with `query`."""

    @abstractmethod
    def tabs(self, person: Person | None) -> list[tuple[str, str, bool]]:
        """Return the pages of this place for `person`: (address, words, whether it is this one)."""

    def wire(self, blocks: gr.Blocks) -> None:
        """Connect the parts to handlers; many pages only show something."""
        return None

    def refusal(self, person: Person) -> str:
        """Return what somebody reads who may not use this page; nothing for those who may."""
        return ""

    def lost(self, message: str) -> str:
        """Return what stands on a page whose address names nothing that the person can see."""
        return cards.empty(message, f"/{self.language}/{self.address({})}", self.t("back"))

    def address(self, query: dict[str, str]) -> str:
        """Return this page's address without its language, for the switch between languages."""
        return f"{self.place}/{self.path}" + (f"?{urlencode(query)}" if query else "")

    def headed(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        """Return the update of the header: the person, their balance, the language switch."""
        return {self.header: header_for(self.place, self.language, person, self.address(query))}

    def open(self, request: gr.Request) -> dict[Any, Any]:
        """Return the updates that show the page, or why it cannot be shown."""
        person, query = shell.person_of(request), dict(request.query_params)
        updates = {**self.headed(person, query), self.nav: shell.tabs(self.tabs(person))}
        if refusal := self.refusal(person):
            return {**updates, self.instead: gr.update(value=refusal, visible=True)}
        try:
            filled = self.opened(person, query)
        except EngineError as error:
            lost = self.lost(error.message(self.language))
            return {**updates, self.instead: gr.update(value=lost, visible=True)}
        return {**updates, self.body: gr.update(visible=True), **filled}

    def part(self, component: Any) -> Any:
        """Register a component, or everything of a group, as one that events may update."""
        self.parts.extend(component.parts if isinstance(component, Group) else [component])
        return component

    def t(self, key: str, **facts: object) -> str:
        """Return words of this place."""
        return t(f"{self.catalog}.{key}", self.language, **facts)

    def on(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Any],
        inputs: Sequence[Any] = (),
        *,
        busy: Sequence[Any] = (),
        stream: bool = False,
        outputs: Sequence[Any] | None = None,
        **more: Any,
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
            concurrency_limit=AT_ONCE,
            **more,
        )

    def leads(self, dependency: Any) -> None:
        """After an event that succeeded, go to the address it put into `goto`."""
        dependency.success(None, self.goto, None, js=GO, api_visibility="private")
