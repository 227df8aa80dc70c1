from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kit.errors import BadInput
from engine.kit.money import CREDIT, LARGEST, format_credits, parse_credits, split, token_price


@given(st.integers(0, LARGEST))
def test_what_is_shown_can_be_entered_again(micro: int) -> None:
    assert parse_credits(format_credits(micro).replace(",", "")) == micro


@given(st.integers(0, LARGEST))
def test_shares_sum_to_the_whole_and_the_platform_gets_the_odd_micro(amount: int) -> None:
    developer, platform = split(amount)
    assert developer + platform == amount
    assert 0 <= platform - Decimal(amount) / 5 < 1


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_price_never_falls_short_and_is_at_most_one_micro_above(
    tokens_in: int, tokens_out: int, price_in: int, price_out: int
) -> None:
    exact = tokens_in * price_in + tokens_out * price_out
    assert 0 <= token_price(tokens_in, tokens_out, price_in, price_out) * 1000 - exact < 1000


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("NaN", "money.not_a_number"),
        ("inf", "money.not_a_number"),
        ("ten", "money.not_a_number"),
        ("", "money.not_a_number"),
        ("-1", "money.negative"),
        ("-0.0000001", "money.negative"),
        ("1000001", "money.too_large"),
        ("1e999999", "money.too_large"),
        ("0.0000001", "money.too_fine"),
        ("1e-9999999", "money.too_fine"),
    ],
)
def test_what_is_no_amount_is_refused_with_its_reason(text: str, key: str) -> None:
    with pytest.raises(BadInput) as refusal:
        parse_credits(text, field="price")
    assert refusal.value.key == key
    assert refusal.value.field == "price"


def test_amounts_in_words() -> None:
    assert parse_credits(" 0.25 ") == CREDIT // 4
    assert format_credits(1_234_567_890_000) == "1,234,567.89"
    assert format_credits(-1) == "-0.000001"
