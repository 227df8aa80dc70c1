"""Passages: what a knowledge base was cut into, and single passages changed."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr

from apps import passage
from apps.pages import Form
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError
from studio.frame import TICK_SECONDS, StudioPage
from studio.handlers import access
from studio.handlers import passages as handlers
from studio.views import passages as views
from studio.views.passages import Where


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    PassagesPage(language)


class PassagesPage(StudioPage):
    """List and detail of the passages of a knowledge base."""

    path = "passages"
    css = StudioPage.css + passage.CSS + views.CSS

    def build(self) -> None:
        self.query = self.part(gr.Textbox(visible=False))
        with gr.Column() as listing:
            self.listing = self.part(listing)
            self.title = self.part(gr.HTML())
            with gr.Row(elem_classes="mbe-row"):
                self.words = self.part(
                    gr.Textbox(
                        label=self.t("words_in_text"),
                        show_label=False,
                        placeholder=self.t("words_in_text"),
                        max_length=handlers.LONGEST_WORDS,
                    )
                )
                self.narrow = gr.Button(self.t("narrow"), size="md")
            self.passages = self.part(gr.HTML())
        with gr.Column(visible=False) as detail:
            self.detail = self.part(detail)
            self._build_detail()

    def _build_detail(self) -> None:
        self.head = self.part(gr.HTML())
        self.job = self.part(gr.HTML(visible=False))
        self.timer = self.part(gr.Timer(TICK_SECONDS, active=False))
        text = gr.Textbox(
            label=self.t("passage_text"), info=self.t("passage_text_info"), lines=4, max_lines=16
        )
        self.form = self.part(Form(self.language, text=text))
        with gr.Row(elem_classes="mbe-row"):
            self.save = gr.Button(self.t("save_passage"), variant="primary", size="md")
            self.restore = self.part(gr.Button(self.t("restore_passage"), visible=False, size="md"))
            self.take_out = self.part(gr.Button(self.t("take_out"), visible=False, size="md"))
            self.put_back = self.part(gr.Button(self.t("put_back"), visible=False, size="md"))
        gr.HTML(f"<h2>{self.t('in_document')}</h2>")
        self.source = self.part(gr.HTML())

    def wire(self, blocks: gr.Blocks) -> None:
        for event in (self.narrow.click, self.words.submit):
            self.leads(self.on(event, self.narrowing, [self.query, self.words]))
        text = self.form.fields["text"]
        self.on(self.save.click, self.saving, [self.query, text], busy=[self.save])
        self.on(self.restore.click, self.restoring, [self.query], busy=[self.restore])
        for button, enabled in ((self.take_out, False), (self.put_back, True)):
            self.on(button.click, self._putting(enabled), [self.query], busy=[button])
        self.on(self.timer.tick, self.tick, [self.query])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        asked = handlers.where(query)
        if asked.chunk_id:
            now = handlers.detail(person, asked, self.language)
            return {
                self.query: asked.query(),
                self.listing: gr.update(visible=False),
                self.detail: gr.update(visible=True),
                **self.form.cleared(text={"value": now.text}),
                **self.shown(now),
            }
        return {
            self.query: asked.query(),
            self.title: handlers.title(person, asked, self.language),
            self.words: asked.words,
            self.passages: handlers.listing(person, asked, self.language),
        }

    def lost(self, message: str) -> str:
        return access.lost(message, self.language, "")

    def shown(self, now: handlers.Detail) -> dict[Any, Any]:
        """Return the updates that show a passage as it is now; the form keeps what was typed."""
        return {
            self.head: now.head,
            self.source: now.place,
            self.job: gr.update(value=now.job, visible=bool(now.job)),
            self.timer: gr.update(active=now.moving),
            self.restore: gr.update(visible=now.edited),
            self.take_out: gr.update(visible=now.enabled),
            self.put_back: gr.update(visible=not now.enabled),
        }

    def narrowing(self, query: str, words: str, request: gr.Request) -> dict[Any, Any]:
        base_id = asked_in(query).base_id
        return {self.goto: Where(base_id=base_id, words=words).address(self.language)}

    def saving(self, query: str, text: str, request: gr.Request) -> dict[Any, Any]:
        person, asked = person_of(request), asked_in(query)
        try:
            words = handlers.save(person, asked, text, self.language)
        except EngineError as error:
            return self.form.refused(error)
        return self._done(words, person, asked)

    def restoring(self, query: str, request: gr.Request) -> dict[Any, Any]:
        person, asked = person_of(request), asked_in(query)
        return self._done(handlers.restore(person, asked, self.language), person, asked)

    def _done(self, words: str, person: Person, asked: Where) -> dict[Any, Any]:
        """Return the updates that say what was done of the text, and show the passage with it."""
        now = handlers.detail(person, asked, self.language)
        return {**self.form.said(words, text={"value": now.text}), **self.shown(now)}

    def _putting(self, enabled: bool) -> Callable[..., dict[Any, Any]]:
        def put(query: str, request: gr.Request) -> dict[Any, Any]:
            person, asked = person_of(request), asked_in(query)
            words = handlers.put(person, asked, enabled, self.language)
            return {**self.form.said(words), **self.shown(handlers.detail(person, asked, self.language))}

        return put

    def tick(self, query: str, request: gr.Request) -> dict[Any, Any]:
        return self.shown(handlers.detail(person_of(request), asked_in(query), self.language))


def asked_in(query: str) -> Where:
    """Return what the query of the page's address names."""
    return handlers.where(dict(parse_qsl(query)))
