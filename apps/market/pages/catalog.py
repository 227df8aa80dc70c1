"""The catalog: every published expert, to be searched and opened."""

from typing import Any

import gradio as gr

from apps.market import handlers
from apps.market.frame import MarketPage
from apps.shell import person_of
from engine.accounts.schemas import Person
from engine.kit.messages import t
from engine.market.schemas import CATEGORIES

# What is looked for stands in the address, so that it can be sent and a reload keeps it.
REMEMBER = """(search, category, sort) => {
  const q = new URLSearchParams();
  if (search) q.set('search', search);
  if (category) q.set('category', category);
  if (sort && sort !== 'popular') q.set('sort', sort);
  history.replaceState(history.state, '', location.pathname + (q.size ? '?' + q : ''));
}"""


def page(language: str) -> None:
    """Put the page into the Blocks that is being built."""
    CatalogPage(language)


class CatalogPage(MarketPage):
    """Search, category and order above the cards."""

    def build(self) -> None:
        gr.HTML(f"<h1>{self.t('headline')}</h1><p class='mbe-muted'>{self.t('headline_why')}</p>")
        categories = [(self.t("all_categories"), "")]
        categories += [(t(f"market.category_{name}", self.language), name) for name in CATEGORIES]
        sorts = [(self.t(f"sort_{name}"), name) for name in handlers.SORTS]
        with gr.Row():
            self.search = self.part(
                gr.Textbox(label=self.t("search"), placeholder=self.t("search_hint"), max_length=200, scale=2)
            )
            self.category = self.part(gr.Dropdown(categories, value="", label=self.t("category")))
            self.sort = self.part(gr.Dropdown(sorts, value=handlers.SORTS[0], label=self.t("sort")))
        self.limit = self.part(gr.Number(handlers.CATALOG_STEP, visible=False, precision=0))
        self.found = self.part(gr.HTML())
        with gr.Row(elem_classes="mbe-row"):
            self.more = self.part(gr.Button(self.t("more"), visible=False, size="md"))

    def wire(self, blocks: gr.Blocks) -> None:
        wish = [self.search, self.category, self.sort]
        # A text field's "input" misses what is pasted or deleted; "change" does not.
        for event in (self.search.change, self.category.input, self.sort.input):
            found = self.on(event, self.searching, wish, trigger_mode="always_last")
            found.then(None, wish, None, js=REMEMBER, api_visibility="private")
        self.on(self.more.click, self.showing_more, [*wish, self.limit])

    def opened(self, person: Person, query: dict[str, str]) -> dict[Any, Any]:
        search, category = query.get("search", ""), query.get("category", "")
        sort = query.get("sort", "")
        return {
            self.search: search,
            self.category: category if category in CATEGORIES else "",
            self.sort: sort if sort in handlers.SORTS else handlers.SORTS[0],
            **self.shown(person, search, category, sort, handlers.CATALOG_STEP),
        }

    def shown(self, person: Person, search: str, category: str, sort: str, limit: int) -> dict[Any, Any]:
        """Return the updates that show what matches."""
        found = handlers.catalog(person, search, category, sort, self.language, limit)
        return {self.found: found.html, self.more: gr.update(visible=found.more), self.limit: limit}

    def searching(self, search: str, category: str, sort: str, request: gr.Request) -> dict[Any, Any]:
        return self.shown(person_of(request), search, category, sort, handlers.CATALOG_STEP)

    def showing_more(
        self, search: str, category: str, sort: str, limit: int, request: gr.Request
    ) -> dict[Any, Any]:
        more = int(limit) + handlers.CATALOG_STEP
        return self.shown(person_of(request), search, category, sort, more)
