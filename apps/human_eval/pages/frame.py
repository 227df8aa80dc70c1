"""What the human evaluation pages share: header, tabs, who may use a page, forms that keep what was typed."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.context import Context

from apps import cards, shell
from apps.frame import header_for
from apps.human_eval import handlers, views
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError, NotFound
from engine.kit.messages import t

PRIVATE: dict[str, Any] = {"api_visibility": "private"}


class EvalPage:
    """A page of human evaluation. A subclass builds its parts, wires its events and fills itself.

    Every event may update every part, so handlers return a dict with what changes.
    """

    path = ""

    def __init__(self, language: str) -> None:
        self.language = language
        self.parts: list[Any] = []
        header = shell.frame("human-eval", language, self._address())
        with gr.Column(elem_classes="mbe-page"):
            gr.HTML(f"{cards.style()}<style>{views.CSS}</style>")
            gr.HTML(shell.tabs([self._tab(path) for path in handlers.ROLES]))
            self.notice = self.part(gr.HTML(visible=False))
            with gr.Column(visible=False) as body:
                self.body = self.part(body)
                self.build()
        blocks = Context.root_block
        assert blocks is not None
        quiet = {**PRIVATE, "show_progress": "hidden"}
        blocks.load(shell.spoken(language, self._header), None, header, **quiet)
        blocks.load(shell.spoken(language, self._open), None, self.parts, **quiet)
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

    def part(self, component: Any) -> Any:
        """Register a component as one that events may update."""
        self.parts.append(component)
        return component

    def t(self, key: str, **facts: object) -> str:
        """Return words of human evaluation."""
        return t(f"human_eval.{key}", self.language, **facts)

    def on(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Any],
        inputs: Sequence[Any] = (),
        busy: Any = None,
    ) -> Any:
        """Call `handler(*inputs, request)` on an event; `busy` is the part that shows that it works."""
        return event(
            shell.spoken(self.language, handler),
            list(inputs),
            self.parts,
            show_progress="minimal" if busy else "hidden",
            show_progress_on=busy,
            concurrency_limit=4,
            **PRIVATE,
        )

    def _tab(self, path: str) -> tuple[str, str, bool]:
        return views.address(self.language, path), self.t(f"tab_{path or 'tasks'}"), path == self.path

    def _address(self, query: dict[str, str] | None = None) -> str:
        """Return this page's address without its language, for the switch between languages."""
        return f"human-eval/{self.path}" + (f"?{urlencode(query)}" if query else "")

    def _header(self, request: gr.Request) -> str:
        query = dict(request.query_params)
        return header_for("human-eval", self.language, shell.person_of(request), self._address(query))

    def _open(self, request: gr.Request) -> dict[Any, Any]:
        person = shell.person_of(request)
        notice = handlers.refusal(person, self.path, self.language)
        if not notice:
            try:
                filled = self.opened(person, dict(request.query_params))
                return {self.body: gr.update(visible=True), **filled}
            except NotFound as error:
                back = views.address(self.language, self.path)
                notice = cards.empty(error.message(self.language), back, self.t("back"))
        return {self.notice: gr.update(value=notice, visible=True)}


class Fields:
    """Fields by name, and a place for what is wrong with them; a refused form keeps what was typed."""

    def __init__(self, page: EvalPage, /, **fields: Any) -> None:
        self.language = page.language
        self.fields = {name: page.part(field) for name, field in fields.items()}
        self.infos = {name: field.info for name, field in fields.items()}
        self.message = page.part(gr.HTML(visible=False))

    @property
    def inputs(self) -> list[Any]:
        """Return the fields in the order they were given in."""
        return list(self.fields.values())

    def calm(self, **values: Any) -> dict[Any, Any]:
        """Return the updates that take all marks away, and set the fields that `values` names."""
        marks = {
            field: gr.update(
                info=self.infos[name],
                elem_classes=[],
                **({"value": values[name]} if name in values else {}),
            )
            for name, field in self.fields.items()
        }
        return {**marks, self.message: gr.update(value="", visible=False)}

    def refused(self, error: EngineError) -> dict[Any, Any]:
        """Return the updates that say what is wrong, at the field if the error names one."""
        words, updates = error.message(self.language), self.calm()
        if error.field in self.fields:
            updates[self.fields[error.field]] = gr.update(info=words, elem_classes=["mbe-bad-field"])
        else:
            updates[self.message] = gr.update(value=cards.note(words, "bad"), visible=True)
        return updates
