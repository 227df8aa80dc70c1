"""One expert: who it is, a conversation with it, and how a program asks it."""

from collections.abc import AsyncGenerator
from html import escape
from typing import Any

import anyio.to_thread
import gradio as gr

from apps.market import chat, handlers, package_handlers, package_views, views
from apps.market.chat import ChatView, Turn
from apps.market.frame import MarketPage
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.errors import EngineError, InsufficientCredit
from engine.kit.ids import new_id

# A new question is looked at, wherever the person had scrolled to.
TO_THE_END = """() => setTimeout(() => {
  const chat = document.querySelector('.mbe-chat .bubble-wrap');
  if (chat) chat.scrollTop = chat.scrollHeight;
}, 300)"""


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    ExpertPage(language)


def bubble(turn: Turn, name: str, language: str, *, busy: bool) -> dict[str, Any]:
    """Return a turn with expert `name` as the Chatbot takes it: its words, and under them chips and cost.

    The Chatbot renders HTML even with Markdown switched off, so the words are escaped.
    """
    foot = chat.foot(turn, name, language, busy=busy)
    content: list[Any] = [escape(turn.content) or ("…" if busy else "")]
    if foot:
        content.append(gr.HTML(foot, render=False))
    return {"role": turn.role, "content": content}


class ExpertPage(MarketPage):
    """The head of an expert above its chat, its API and its packages; or the question whether to buy one."""

    path = "expert"

    def build(self) -> None:
        self.name = self.part(gr.Textbox(visible=False))
        self._build_question()
        with gr.Column(visible=False) as about:
            self.about = self.part(about)
            self.head = self.part(gr.HTML())
            with gr.Tabs():
                with gr.Tab(self.t("chat")):
                    self._build_chat()
                with gr.Tab(self.t("api")):
                    self.api = self.part(gr.HTML())
            self.packages = self.part(gr.HTML())

    def _build_question(self) -> None:
        with gr.Column(visible=False) as wanted:
            self.wanted = self.part(wanted)
            self.package = self.part(gr.Textbox(visible=False))
            self.key = self.part(gr.Textbox(visible=False))
            self.ask_buy = self.part(gr.HTML())
            self.bought = self.part(gr.HTML(visible=False))
            with gr.Row(elem_classes="mbe-row"):
                self.buy = self.part(gr.Button(variant="primary", size="md"))

    def _build_chat(self) -> None:
        self.example = self.part(gr.HTML())
        self.sample = self.part(gr.Textbox(visible=False))
        # The conversation stays in the browser; what is shown is made from it anew each time.
        self.turns = self.part(gr.JSON([], visible=False))
        self.shown = self.part(
            gr.Chatbot(
                [],
                show_label=False,
                label=self.t("chat"),
                placeholder=self.t("chat_empty"),
                height="auto",
                min_height=160,
                max_height=560,
                buttons=[],
                feedback_options=None,
                render_markdown=False,
                latex_delimiters=[],
                layout="bubble",
                elem_classes="mbe-chat",
            )
        )
        self.told = self.part(gr.HTML(visible=False))
        self.question = self.part(
            gr.Textbox(
                show_label=False,
                label=self.t("question"),
                lines=1,
                max_lines=8,
                max_length=8000,
                container=False,
                elem_classes="mbe-question",
            )
        )
        with gr.Row(elem_classes="mbe-row"):
            self.send = self.part(gr.Button(self.t("send"), variant="primary", size="md"))
            self.stop = self.part(gr.Button(self.t("stop"), variant="stop", size="md", visible=False))
            self.again = self.part(gr.Button(self.t("again"), size="md", visible=False))
            self.sample_button = self.part(gr.Button(self.t("use_example"), size="md"))
            self.new = self.part(gr.Button(self.t("new_chat"), size="md", visible=False))

    def wire(self, blocks: gr.Blocks) -> None:
        given = [self.name, self.turns, self.question]
        asked = [
            self.on(event, self.asking, given, stream=True)
            for event in (self.send.click, self.question.submit)
        ]
        asked.append(self.on(self.again.click, self.asking_again, [self.name, self.turns], stream=True))
        self.on(self.buy.click, self.buying, [self.package, self.key], busy=[self.buy])
        # In this order: the browser goes through a click's events one after the other.
        self.stop.click(None, cancels=asked, api_visibility="private")
        self.on(self.stop.click, self.stopping, [self.name, self.turns], stream=True)
        self.new.click(self.starting_anew, None, self.parts, show_progress="hidden", api_visibility="private")
        for event in (self.send.click, self.question.submit, self.again.click):
            event(None, None, None, js=TO_THE_END, api_visibility="private")
        fill = "(sample) => sample"
        self.sample_button.click(None, self.sample, self.question, js=fill, api_visibility="private")

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        name = query.get("name", "")
        if package_id := query.get("buy"):
            question = package_handlers.question(person, name, package_id, self.language)
            return {
                self.wanted: gr.update(visible=True),
                self.ask_buy: question.html,
                self.buy: gr.update(value=question.button),
                self.package: package_id,
                self.key: new_id("buy"),
            }
        found = handlers.expert(person, name, self.language)
        return {
            self.about: gr.update(visible=True),
            self.packages: package_handlers.shop(person, name, self.language),
            self.name: found.expert.name,
            self.head: found.head,
            self.example: found.example,
            self.sample: found.question,
            self.sample_button: gr.update(visible=bool(found.question)),
            self.question: gr.update(placeholder=self.t("ask_hint", title=found.expert.title)),
            self.api: found.api,
            self.told: gr.update(value=found.notice, visible=bool(found.notice)),
        }

    def buying(self, package_id: str, key: str, request: gr.Request) -> dict[Any, Any]:
        person = person_of(request)
        try:
            told = package_handlers.buy(person, package_id, key, self.language)
        except EngineError as error:
            words = error.message(self.language)
            lacks = isinstance(error, InsufficientCredit)
            shown = package_views.lacking(words, self.language) if lacks else views.trouble(words)
            return {self.bought: gr.update(value=shown, visible=True)}
        return {
            **self.headed(person, {}),
            self.bought: gr.update(value=told, visible=True),
            self.buy: gr.update(visible=False),
        }

    def view(self, view: ChatView, name: str = "") -> dict[Any, Any]:
        """Return the updates that show the chat with expert `name` as it is."""
        last = len(view.turns) - 1
        bubbles = [
            bubble(turn, name, self.language, busy=view.busy and number == last)
            for number, turn in enumerate(view.turns)
        ]
        return {
            self.turns: chat.save(view.turns),
            self.shown: bubbles,
            self.told: gr.update(value=view.notice, visible=bool(view.notice)),
            self.question: view.question,
            self.send: gr.update(visible=not view.busy),
            self.stop: gr.update(visible=view.busy),
            self.sample_button: gr.update(visible=not view.turns),
            self.again: gr.update(visible=bool(view.turns) and not view.busy),
            self.new: gr.update(visible=bool(view.turns) and not view.busy),
        }

    async def streamed(
        self, person: Person, name: str, views: AsyncGenerator[ChatView, None]
    ) -> AsyncGenerator[dict[Any, Any], None]:
        """Yield the updates of a conversation that goes on; the header's balance follows at its end."""
        paid = False
        async for view in views:
            paid = view.paid
            yield self.view(view, name)
        if paid:
            yield await anyio.to_thread.run_sync(self.headed, person, {"name": name})

    async def asking(
        self, name: str, turns: Any, question: str, request: gr.Request
    ) -> AsyncGenerator[dict[Any, Any], None]:
        person = await anyio.to_thread.run_sync(person_of, request)
        views = chat.ask(person, name, chat.read(turns), question or "", self.language)
        async for update in self.streamed(person, name, views):
            yield update

    async def asking_again(
        self, name: str, turns: Any, request: gr.Request
    ) -> AsyncGenerator[dict[Any, Any], None]:
        person = await anyio.to_thread.run_sync(person_of, request)
        views = chat.again(person, name, chat.read(turns), self.language)
        async for update in self.streamed(person, name, views):
            yield update

    async def stopping(
        self, name: str, turns: Any, request: gr.Request
    ) -> AsyncGenerator[dict[Any, Any], None]:
        person = await anyio.to_thread.run_sync(person_of, request)
        view = await chat.stopped(person, name, chat.read(turns), self.language)
        yield self.view(view, name)
        yield await anyio.to_thread.run_sync(self.headed, person, {"name": name})

    def starting_anew(self) -> dict[Any, Any]:
        return self.view(ChatView(turns=()))
