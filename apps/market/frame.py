"""What every page of the market shares: header, sub-navigation, opening, events, refused fields."""

from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio.context import Context

from apps import cards, shell
from apps.frame import header_for
from apps.market import views
from apps.theme import MONO
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from engine.kit.messages import t

CSS = f"""
.mbe-page .form{{border:0;gap:12px;background:none}}
.mbe-page a.mbe-back{{display:inline-block;margin:0 0 8px;padding:0;color:var(--muted);text-decoration:none}}
.mbe-page a.mbe-back:hover{{color:var(--primary)}}
.mbe-page .mbe-bad-field input,.mbe-page .mbe-bad-field textarea{{border-color:var(--bad)!important}}
.mbe-page .mbe-bad-field .info,.mbe-page .mbe-bad-field span[data-testid="block-info"]+div{{color:var(--bad)}}
.mbe-page .mbe-row{{align-items:center;flex-wrap:wrap;gap:8px}}
.mbe-page .mbe-row>button{{flex:0 0 auto!important;width:auto!important;min-width:max-content!important}}
.mbe-page .js-plotly-plot text{{fill:var(--ink)!important}}
.mbe-page .js-plotly-plot .gridlayer path,.mbe-page .js-plotly-plot .zerolinelayer path{{
 stroke:var(--line)!important}}
.mbe-page .mbe-table tr{{border:0}} .mbe-page .mbe-table td a time{{color:inherit}}
.mbe-text{{white-space:pre-wrap;overflow-wrap:anywhere}}
.mbe-experts{{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,320px),1fr));gap:12px}}
.mbe-page a.mbe-expert{{display:flex;flex-direction:column;gap:4px;padding:16px;color:var(--ink);
 background:var(--panel);border:1px solid var(--line);border-radius:10px;text-decoration:none;
 overflow-wrap:anywhere;font-size:15px;text-align:left}}
.mbe-page a.mbe-expert:hover,.mbe-page a.mbe-expert:focus-visible{{border-color:var(--primary);outline:none}}
.mbe-page a.mbe-expert b{{font-size:18px;font-weight:650;color:var(--ink)}}
.mbe-about{{display:-webkit-box;-webkit-box-orient:vertical;-webkit-line-clamp:2;overflow:hidden}}
.mbe-price{{margin-top:auto;padding-top:4px;font-weight:600;font-variant-numeric:tabular-nums}}
.mbe-tag{{display:inline-block;border:1px solid var(--line);border-radius:12px;padding:1px 10px;
 margin:0 6px 4px 0;color:var(--muted);font-size:15px}}
.mbe-page p a,.mbe-page .mbe-cost a,.mbe-page .mbe-lines a,.mbe-page .mbe-note a{{padding:0}}
.mbe-page .tab-container button.selected{{color:var(--primary)!important}}
.mbe-narrow{{max-width:400px}}
.mbe-page .mbe-question textarea{{border:1px solid var(--line)!important;border-radius:8px;padding:9px 12px}}
.mbe-page .mbe-question textarea:focus{{border-color:var(--primary)!important}}
.mbe-cost{{color:var(--muted);font-size:14px;margin-top:6px;font-variant-numeric:tabular-nums}}
.mbe-page .mbe-cost,.mbe-page .mbe-cost span{{color:var(--muted)}}
.mbe-cost a{{color:var(--muted)!important;text-decoration:underline}}
.mbe-page .mbe-cost button{{color:var(--muted);background:none;border:0;padding:0;min-height:0;font:inherit;
 text-decoration:underline;cursor:pointer}}
.mbe-page .mbe-cost a:hover,.mbe-page .mbe-cost button:hover{{color:var(--primary)!important}}
.mbe-page .mbe-chat{{border:1px solid var(--line)!important;border-radius:10px;background:var(--panel)}}
.mbe-chat .message{{overflow-wrap:anywhere}} .mbe-chat .message-content .md{{white-space:pre-wrap}}
.mbe-page .mbe-chat .user.message{{background:var(--paper)!important;border-color:var(--line)!important}}
.mbe-page .mbe-chat .bot.message{{background:none!important;border:0!important;max-width:100%}}
.mbe-chat .icon-button-wrapper{{display:none}}
.mbe-copy{{margin-top:12px}}
.mbe-copy-top{{display:flex;justify-content:space-between;align-items:end;gap:12px;margin-bottom:4px}}
.mbe-page .mbe-copy button{{border:1px solid var(--line);border-radius:8px;padding:2px 12px;
 background:var(--panel);color:var(--ink);cursor:pointer;flex:none;
 font-size:14px;font-weight:400}}
.mbe-page .mbe-copy button:hover{{border-color:var(--primary)}}
.mbe-page .mbe-copy pre{{font-family:{MONO};margin:0;padding:12px 16px;border:1px solid var(--line);
 border-radius:10px;background:var(--panel);color:var(--ink);overflow-x:auto;white-space:pre-wrap}}
.mbe-page .mbe-lines{{margin:8px 0;max-width:640px}}
.mbe-lines>div{{display:flex;justify-content:space-between;gap:4px 24px;padding:8px 0;flex-wrap:wrap;
 border-bottom:1px solid var(--line)}}
.mbe-lines>div:last-child{{border-bottom:0}}
.mbe-lines dt{{color:var(--muted)}}
.mbe-lines dd{{margin:0;font-variant-numeric:tabular-nums;text-align:right;overflow-wrap:anywhere}}
"""

AT_ONCE = 32
"""How many people one event serves at the same time; Gradio's own default is one."""


class Field:
    """A field that can say what is wrong with it, next to it; what was typed stays."""

    def __init__(self, component: Any) -> None:
        self.component = component
        self.info = component.info

    def cleared(self) -> dict[Any, Any]:
        """Return the update that takes the mark away."""
        return {self.component: gr.update(info=self.info, elem_classes=[])}

    def refused(self, error: EngineError, language: str) -> dict[Any, Any]:
        """Return the update that says what is wrong."""
        return {self.component: gr.update(info=error.message(language), elem_classes=["mbe-bad-field"])}


class MarketPage:
    """A page of the market. A subclass makes its parts, wires them, and fills them when it is opened.

    Every event may update every part, so handlers return a dict of what changes.
    """

    path = ""
    tab = "catalog"

    def __init__(self, language: str) -> None:
        self.language = language
        self.parts: list[Any] = []
        self.header = self.part(shell.frame("market", language, f"market/{self.path}"))
        with gr.Column(elem_classes="mbe-page"):
            gr.HTML(f"<style>{CSS}</style>{cards.style()}{views.tabs(language, self.tab)}")
            self.notice = self.part(gr.HTML(visible=False))
            with gr.Column(visible=False) as body:
                self.body = self.part(body)
                self.build()
        blocks = Context.root_block
        assert blocks is not None
        self.on(blocks.load, self._open)
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
        query = dict(request.query_params)
        updates = self.balance(person, query)
        try:
            return {**updates, self.body: gr.update(visible=True), **self.opened(person, query)}
        except EngineError as error:
            told = views.lost(error.message(self.language), self.language)
            return {**updates, self.notice: gr.update(value=told, visible=True)}

    def balance(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        """Return the update of the header; its language switch keeps the query of this address."""
        asked = f"?{urlencode(query)}" if query else ""
        return {self.header: header_for("market", self.language, person, f"market/{self.path}{asked}")}

    def part(self, component: Any) -> Any:
        """Register a component as one that events may update."""
        self.parts.append(component)
        return component

    def t(self, key: str, **facts: object) -> str:
        """Return words of the market."""
        return t(f"marketplace.{key}", self.language, **facts)

    def on(
        self,
        event: Callable[..., Any],
        handler: Callable[..., Any],
        inputs: Sequence[Any] = (),
        *,
        busy: Sequence[Any] = (),
        stream: bool = False,
        **more: Any,
    ) -> Any:
        """Call `handler(*inputs, request)` on an event; `busy` are the parts that show that it works."""
        wrap = shell.spoken_stream if stream else shell.spoken
        return event(
            wrap(self.language, handler),
            list(inputs),
            self.parts,
            show_progress="minimal" if busy else "hidden",
            show_progress_on=list(busy) or None,
            api_visibility="private",
            concurrency_limit=AT_ONCE,
            **more,
        )
