"""A citation: the passage that an answer used, marked in its document."""

from typing import Any

import gradio as gr

from apps import passage
from apps.market import handlers
from apps.market.frame import MarketPage
from engine.accounts.schemas import Person

# A paragraph may be longer than a screen, above all on a phone.
TO_THE_MARK = """() => setTimeout(() => {
  const mark = document.querySelector('.mbe-doc mark');
  if (mark && mark.getBoundingClientRect().bottom > innerHeight) mark.scrollIntoView({block: 'center'});
}, 300)"""


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    PassagePage(language)


class PassagePage(MarketPage):
    """One passage, which the address names; chats open it in a tab of its own."""

    path = "passage"
    css = MarketPage.css + passage.CSS

    def build(self) -> None:
        self.shown = self.part(gr.HTML())

    def wire(self, blocks: gr.Blocks) -> None:
        self.shown.change(None, None, None, js=TO_THE_MARK, api_visibility="private")

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        return {self.shown: handlers.passage(person, passage.Cited.read(query), self.language)}
