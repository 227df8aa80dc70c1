"""Names from titles, and what a listing may hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kit.errors import BadInput
from engine.kit.money import CREDIT
from engine.market import listing


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Tent Helper", "tent-helper"),
        ("  Café & Bar: v2! ", "cafe-bar-v2"),
        ("GPT 客服 assistant", "gpt-assistant"),
        ("a" * 59 + " bcd", "a" * 59),
    ],
)
def test_a_title_becomes_a_name(title: str, name: str) -> None:
    assert listing.slugify(title) == name


@pytest.mark.parametrize("title", ["客服助手", "法律 A", "!!!", ""])
def test_a_title_without_latin_letters_gets_a_number(title: str) -> None:
    name = listing.slugify(title)
    assert name.startswith("expert-") and len(name) == 12 and listing.is_name(name)
    assert listing.slugify(title) == name


def test_different_chinese_titles_get_different_names() -> None:
    assert listing.slugify("客服助手") != listing.slugify("法律助手")


@given(st.text())
def test_every_title_gives_a_usable_name(title: str) -> None:
    assert listing.is_name(listing.slugify(title))


@pytest.mark.parametrize(
    "name", ["", "ab", "a" * 61, "Tent", "tent_helper", "-tent", "tent-", "a--b", "客服", "a b", "a\n"]
)
def test_a_bad_name_is_refused(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        listing.check_name(name)
    assert caught.value.field == "name"


def test_a_price_is_read_exactly() -> None:
    assert listing.check_price("0.000001", "input_price") == 1
    assert listing.check_price("1000", "input_price") == 1000 * CREDIT
    assert listing.check_price("0", "input_price") == 0


@pytest.mark.parametrize("text", ["-1", "nan", "Infinity", "1000.000001", "0.0000001", "free", "", "9" * 30])
def test_a_bad_price_names_its_field(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        listing.check_price(text, "output_price")
    assert caught.value.field == "output_price"


def test_tags_lose_blanks_and_repeats() -> None:
    assert listing.check_tags([" tents ", "tents", "", "露营"]) == ["tents", "露营"]
    for tags in ([f"tag {n}" for n in range(9)], ["x" * 31]):
        with pytest.raises(BadInput) as caught:
            listing.check_tags(tags)
        assert caught.value.field == "tags"


@pytest.mark.parametrize("value", ["a\x00bcd", "bell\x07 here", "half \ud800 pair"])
def test_characters_that_cannot_be_stored_are_refused(value: str) -> None:
    with pytest.raises(BadInput):
        listing.check_title(value)


def test_lengths_are_counted_in_characters() -> None:
    assert listing.check_title("客服帮") == "客服帮"
    assert listing.check_description("客" * 20) == "客" * 20
    for check, value in (
        (listing.check_title, "ab"),
        (listing.check_title, "x" * 101),
        (listing.check_description, "x" * 19),
        (listing.check_description, "x" * 2001),
        (listing.check_example, "  "),
    ):
        with pytest.raises(BadInput):
            check(value)
