"""The market as Gradio apps: both languages, every page, nothing published as an API."""

import subprocess
import sys

import pytest

from apps import market
from apps.market.chat import Turn
from apps.market.pages import expert


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_builds_and_no_event_is_public(language: str) -> None:
    demo = market.build(language)
    assert [path for path, *_ in demo.pages] == [
        "",
        "expert",
        "wallet",
        "usage",
        "keys",
        "projects",
        "passage",
    ]
    public = [fn.api_name for fn in demo.fns.values() if fn.api_visibility == "public"]
    assert public == []


def test_stopping_cancels_whatever_lets_an_answer_stream() -> None:
    demo = market.build("en")
    streams = {index for index, fn in demo.fns.items() if fn.name in ("asking", "asking_again")}
    (cancel,) = [fn for fn in demo.fns.values() if fn.is_cancel_function]
    assert len(streams) == 3 and set(cancel.cancels) == streams
    # The browser goes through a click's events in order: what reads the receipt comes last.
    stopping = next(index for index, fn in demo.fns.items() if fn.name == "stopping")
    assert stopping > next(index for index, fn in demo.fns.items() if fn is cancel)


def test_words_of_an_answer_are_never_html() -> None:
    shown = expert.bubble(
        Turn(role="assistant", content="<img src=x onerror=alert(1)>"), "help-desk", "en", busy=False
    )
    assert shown["content"] == ["&lt;img src=x onerror=alert(1)&gt;"]


def test_importing_the_market_loads_no_model_library() -> None:
    heavy = ("torch", "transformers", "lancedb")
    code = f"import apps.market, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
