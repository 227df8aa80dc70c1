"""What the arena's pages share: header, tabs, and filling the page for the person who opens it."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.context import Context

from apps import cards, shell
from apps.frame import header_for
from arena import views
from engine.accounts.schemas import Person
from engine.kit.errors import NotFound
from engine.kit.messages import t

PATHS = {"": "battle", "leaderboard": "leaderboard", "history": "history"}
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}


class ArenaPage:
    """A page of the arena. A subclass builds its parts, wires its events and says what they show at first.

    Every event may update every part, so handlers return a dict with what changes.
    """

    path = ""

    def __init__(self, language: str) -> None:
        self.language = language
        self.parts: list[Any] = []
        header = shell.frame("arena", language, self._address())
        with gr.Column(elem_classes="mbe-page"):
            gr.HTML(f"{cards.style()}<style>{views.CSS}</style>")
            gr.HTML(shell.tabs([self._tab(path) for path in PATHS]))
            self.lost = self.part(gr.HTML(visible=False))
            with gr.Column() as body:
                self.body = self.part(body)
                self.build()
        self.blocks = Context.root_block
        assert self.blocks is not None
        self.blocks.load(shell.spoken(language, self._header), None, header, **PRIVATE)
        self.blocks.load(shell.spoken(language, self._open), None, self.parts, **PRIVATE)
        self.wire()

    def build(self) -> None:
        """Make the parts of the page."""
        raise NotImplementedError

    def wire(self) -> None:
        """Connect the parts to handlers; a page without events has nothing to connect."""

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        """Return the updates that fill the page for `person` at the address with `query`."""
        raise NotImplementedError

    def part(self, component: Any) -> Any:
        """Register a component as one that events may update."""
        self.parts.append(component)
        return component

    def t(self, key: str, **facts: object) -> str:
        """Return words of the arena's pages."""
        return t(f"arena_page.{key}", self.language, **facts)

    def on(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Any],
        inputs: Sequence[Any] = (),
        *,
        stream: bool = False,
        js: str | None = None,
    ) -> Any:
        """Call `handler(*inputs, request)` on an event; streams of several people run side by side."""
        wrap = shell.spoken_stream if stream else shell.spoken
        limit = 32 if stream else 4
        return event(
            wrap(self.language, handler), list(inputs), self.parts, js=js, concurrency_limit=limit, **PRIVATE
        )

    def _tab(self, path: str) -> tuple[str, str, bool]:
        return f"/{self.language}/arena/{path}", self.t(f"tab_{PATHS[path]}"), path == self.path

    def _address(self, query: dict[str, str] | None = None) -> str:
        """Return this page's address without its language, for the switch between languages."""
        return f"arena/{self.path}" + (f"?{urlencode(query)}" if query else "")

    def _header(self, request: gr.Request) -> str:
        query = dict(request.query_params)
        return header_for("arena", self.language, shell.person_of(request), self._address(query))

    def _open(self, request: gr.Request) -> dict[Any, Any]:
        person = shell.person_of(request)
        try:
            return self.opened(person, dict(request.query_params))
        except NotFound as error:
            back = cards.empty(
                error.message(self.language), f"/{self.language}/arena/{self.path}", self.t("back")
            )
            return {self.lost: gr.update(value=back, visible=True), self.body: gr.update(visible=False)}
