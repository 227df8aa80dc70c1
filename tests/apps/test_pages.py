"""What all pages share, for the pages of every place."""

import pytest

from apps.human_eval.pages.frame import EvalPage
from apps.market.frame import MarketPage
from apps.pages import Page
from arena.pages.frame import ArenaPage
from studio.frame import StudioPage


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("kind", [StudioPage, MarketPage, ArenaPage, EvalPage])
def test_an_address_that_names_nothing_leads_back(kind: type[Page], language: str) -> None:
    page = type("Bare", (kind,), {name: None for name in kind.__abstractmethods__})
    bare = page.__new__(page)  # built in full, it would need a running app
    bare.language = language
    shown = bare.lost("There is <no> such run.")
    assert "There is &lt;no&gt; such run." in shown and f'href="/{language}/{kind.place}/' in shown
