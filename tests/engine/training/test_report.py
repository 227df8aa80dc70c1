import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from engine.kit.messages import LANGUAGES
from engine.training.drawing import MOST_DRAWN, curve_svg
from engine.training.layout import as_html, as_markdown, plain
from engine.training.recipe import EpochChoice, LoraRecipe
from engine.training.registry import BaseModelRecord, DatasetRecord, KnowledgeRecord
from engine.training.report import Evaluation, Told, epochs_reason, sections
from engine.training.schemas import Point
from tests.engine.training.records import HOSTILE, old_record, record, told


class Tags(HTMLParser):
    """Collects the elements of a page and every attribute that can load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.risky: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.risky += [
            (name, value) for name, value in attrs if name.startswith("on") or name in ("src", "href")
        ]


def html(shown: Told, language: str = "en", title: str = "Report") -> str:
    return as_html(title, language, sections(shown, language))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_tells_everything_in_the_readers_language(language: str) -> None:
    page = html(told(), language)
    text = as_markdown("Report", sections(told(), language))
    whole = [
        "starter",
        "Talks",
        "f" * 64,
        "Manual, kb_2",
        "a" * 64,
        "float32",
        "learning_rate",
        "0.7500",
        "4,000",
        "There",
        "1,234",
        "http://127.0.0.1:8401/v1",
    ]
    for words in whole:
        assert words in page
        assert plain(words) in text
    for name, value in LoraRecipe.preset("quick", 40).to_dict().items():
        assert re.search(rf"<td>{name}</td><td>{value}</td>", page)
    assert ("轮数" in page) == (language == "zh") and ("Held out" in page) == (language == "en")


def test_a_report_needs_nothing_else() -> None:
    page = html(told())
    tags = Tags()
    tags.feed(page)
    assert tags.risky == [] and not {"script", "link", "img", "iframe", "object"} & tags.names
    assert "@import" not in page and "url(" not in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_hostile_names_stay_text(language: str) -> None:
    made = record(
        name=HOSTILE,
        title=HOSTILE,
        description=HOSTILE + "\n\n# Heading\n<b>",
        access_point=HOSTILE,
        base_model=BaseModelRecord(name=HOSTILE),
        dataset=DatasetRecord(id=HOSTILE, name=HOSTILE),
        knowledge_bases=(KnowledgeRecord(id="kb", name=HOSTILE),),
        versions={HOSTILE: HOSTILE},
        recipe={HOSTILE: HOSTILE},
        statistics={},
    )
    failures = [(HOSTILE, HOSTILE, HOSTILE, HOSTILE)]
    shown = told(
        made, state=HOSTILE, trouble=HOSTILE, evaluation=Evaluation(verdict=HOSTILE, failures=failures)
    )
    tags = Tags()
    page = html(shown, language, HOSTILE)
    tags.feed(page)
    assert "<script" not in page and "script" not in tags.names and tags.risky == []
    text = as_markdown(HOSTILE, sections(shown, language))
    assert "<script" not in text and not re.search(r"(?<!\\)\]\(", text) and "\n# Heading" not in text
    for line in (line for line in text.splitlines() if line.startswith("|")):
        assert len(re.findall(r"(?<!\\)\|", line)) in (3, 4, 5)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_of_an_old_or_a_failed_run_shows_what_there_is(language: str) -> None:
    page = html(Told(record=old_record(), state="Failed", finished=False, trouble="It broke"), language)
    assert "It broke" in page and "<svg" not in page and "None" not in page
    done = html(Told(record=old_record(), state="Done", finished=True), language)
    assert "None" not in done and str(LoraRecipe().learning_rate) in done


def test_the_number_of_epochs_comes_with_its_reason() -> None:
    choice = EpochChoice.of("quick", 40, 6_000_000)
    assert epochs_reason(record(), choice, "en").startswith(f"{choice.epochs} epochs. The base model is tiny")
    own = record(recipe=LoraRecipe(epochs=3).to_dict())
    assert f"3 epochs, chosen by hand; the preset would have taken {choice.epochs}" in epochs_reason(
        own, choice, "en"
    )
    assert "older" in epochs_reason(own, None, "en")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("preset", ["quick", "balanced", "thorough"])
@pytest.mark.parametrize("rows", [1, 150, 700, 5000, 10**6])
@pytest.mark.parametrize("parameters", [6_000_000, 500_000_000, 70_000_000_000])
def test_every_preset_can_say_why(preset: str, rows: int, parameters: int, language: str) -> None:
    choice = EpochChoice.of(preset, rows, parameters)
    recipe = LoraRecipe.preset(preset, rows, parameters)
    assert recipe.epochs == choice.epochs
    assert recipe.batch_size * recipe.accumulation == choice.batch
    assert f"{choice.per_epoch:,}" in choice.reason(language)


def test_a_curve_is_well_formed_and_short_also_for_a_long_run() -> None:
    points = [Point(step=n, epoch=n / 100, loss=1.0 + 1 / n) for n in range(1, 20_001)]
    drawn = curve_svg(points, "zh")
    (path,) = ElementTree.fromstring(drawn).iter("{http://www.w3.org/2000/svg}path")
    assert path.attrib["d"].count(" L") <= MOST_DRAWN
    assert curve_svg([], "en") == ""
    ElementTree.fromstring(curve_svg([Point(step=1, epoch=0.0, loss=0.0, eval_loss=0.0)], "en"))
