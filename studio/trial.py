"""A box to try a model in: a conversation, its citations, stop and clear."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import gradio as gr

from apps import cards
from apps.shell import person_of
from engine.kit.errors import EngineError
from engine.kit.messages import t
from studio.frame import StudioPage
from studio.handlers import trial

Speak = Callable[..., AsyncIterator[trial.Spoken]]
"""Who answers: takes the person, the values of the box's subject, conversation, question and language."""


class TrialBox:
    """A free conversation with what `subject`, some components of the page, names; `speak` lets it answer."""

    def __init__(self, page: StudioPage, subject: Sequence[Any], speak: Speak) -> None:
        self.page, self.subject, self.speak = page, list(subject), speak
        self.language = page.language
        self.chat = gr.Chatbot(
            show_label=False,
            height=300,
            buttons=["copy"],
            placeholder=t("studio.trial_empty", self.language),
            elem_classes="mbe-chat",
        )
        self.citations = gr.HTML()
        with gr.Row(elem_classes="mbe-row"):
            self.question = gr.Textbox(
                label=t("studio.question", self.language),
                show_label=False,
                placeholder=t("studio.question", self.language),
                max_length=4000,
                scale=1,
            )
            self.send = gr.Button(t("studio.send", self.language), size="md")
            self.stop = gr.Button(t("studio.stop", self.language), size="md", visible=False)
            self.clear = gr.Button(t("studio.clear", self.language), size="md")

    def wire(self) -> None:
        """Connect the buttons; what streams touches only this box."""
        outputs = [self.chat, self.citations, self.question, self.send, self.stop]
        inputs = [self.chat, self.question, *self.subject]
        running = [
            self.page.on(event, self.speaking, inputs, stream=True, outputs=outputs)
            for event in (self.send.click, self.question.submit)
        ]
        self.stop.click(
            lambda: [gr.update(visible=True), gr.update(visible=False)],
            None,
            [self.send, self.stop],
            cancels=running,
            api_visibility="private",
        )
        self.clear.click(
            lambda: [[], ""], None, [self.chat, self.citations], cancels=running, api_visibility="private"
        )

    async def speaking(
        self, request: gr.Request, history: list[dict[str, Any]], question: str, *subject: Any
    ) -> AsyncIterator[dict[Any, Any]]:
        """Yield the conversation as the answer grows; a refused question stays in its field.

        The line about an answer stands under it, as a second piece of its turn.
        """
        before = [{"role": turn["role"], "content": turn["content"]} for turn in history or []]
        resting = {self.send: gr.update(visible=True), self.stop: gr.update(visible=False)}
        try:
            person = person_of(request)
            yield {self.send: gr.update(visible=False), self.stop: gr.update(visible=True)}
            async for spoken in self.speak(person, *subject, before, question, self.language):
                line = [f'<span class="mbe-muted">{spoken.line}</span>'] if spoken.line else []
                turns = [
                    *before,
                    {"role": "user", "content": question},
                    {"role": "assistant", "content": [spoken.text, *line]},
                ]
                yield {self.chat: turns, self.citations: spoken.citations, self.question: ""}
            yield resting
        except EngineError as error:
            message = cards.note(error.message(self.language), "bad")
            yield {**resting, self.citations: message, self.question: question}
