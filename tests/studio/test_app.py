"""The studio as a whole: it builds in both languages, and each page knows whom it is for."""

import pytest

from engine.accounts.schemas import Person
from engine.kit.messages import LANGUAGES
from studio import app
from studio.handlers import access


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_studio_builds_with_a_page_for_each_tab_and_no_public_api(language: str) -> None:
    demo = app.build(language)
    assert {page[0] for page in demo.pages} == {*access.PATHS, *access.UNDER}
    assert all(fn.api_visibility != "public" for fn in demo.fns.values())


def test_the_knowledge_bases_of_a_training_are_chosen_as_several() -> None:
    (starting,) = (fn for fn in app.build("en").fns.values() if fn.name == "starting")
    chosen = starting.inputs[2]
    assert (chosen.label, chosen.multiselect, chosen.max_choices) == ("Knowledge bases", True, 10)


def test_tabs_show_what_a_person_can_use_and_the_page_that_is_open(dana: Person, rui: Person) -> None:
    assert [href for href, _, _ in access.tabs(dana, "en", "")] == [
        "/en/studio/",
        "/en/studio/data",
        "/en/studio/train",
        "/en/studio/publish",
        "/en/studio/prices",
        "/en/studio/earnings",
        "/en/studio/plan",
    ]
    assert [href for href, _, here in access.tabs(rui, "zh", "review")] == ["/zh/studio/review"]
    assert ("/en/studio/data", "Data", True) in access.tabs(rui, "en", "data")


def test_a_page_under_another_marks_its_tab_and_has_none_of_its_own(dana: Person) -> None:
    assert access.tabs(dana, "zh", "passages") == access.tabs(dana, "zh", "")


@pytest.mark.parametrize("role", ["developer", "reviewer"])
def test_somebody_without_the_role_reads_a_sentence_and_a_way_out(role: str) -> None:
    html = access.refusal(role, "en")
    assert f"for {role}s" in html and 'href="/en/"' in html
