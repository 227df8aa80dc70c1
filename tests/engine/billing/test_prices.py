"""Prices: versions that are never changed, and what a call costs at one of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.billing import prices
from engine.billing.schemas import Price, Tier
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput
from engine.kit.money import CREDIT

AMOUNT = st.integers(0, prices.LIMIT)
TOKENS = st.integers(0, 1_000_000)
TIERS = (
    Tier(from_tokens=100, input_micro=50, output_micro=90),
    Tier(from_tokens=200, input_micro=10, output_micro=20),
)


def price(input_micro: int = 100, output_micro: int = 200, **more: object) -> Price:
    fields = {"id": "p", "subject": "m", "number": 1, "call_micro": 0, "minimum_micro": 0, "tiers": ()}
    made = {
        **fields,
        "input_micro": input_micro,
        "output_micro": output_micro,
        "by_id": "d",
        "created_at": now(),
    }
    return Price.model_validate(made | more)


def put(input_micro: int = 100, **more: object) -> Price:
    with unit_of_work() as uow:
        return prices.set_price(
            uow,
            subject="tent-helper",
            input_micro=input_micro,
            output_micro=200,
            by_id="dev",
            **more,  # type: ignore[arg-type]
        )


def test_a_call_costs_its_tokens_and_the_price_per_call_but_not_less_than_the_minimum() -> None:
    assert prices.cost(price(), 1000, 1000) == 300
    assert prices.cost(price(call_micro=7), 1000, 1000) == 307
    assert prices.cost(price(call_micro=7, minimum_micro=500), 1000, 1000) == 500
    assert prices.cost(price(), 1, 0) == 1  # a started micro-credit is a whole one


def test_the_tier_is_the_last_one_that_was_reached() -> None:
    tiered = price(tiers=TIERS)
    assert [prices.rate(tiered, used) for used in (0, 99, 100, 199, 200, 10**9)] == [
        (100, 200),
        (100, 200),
        (50, 90),
        (50, 90),
        (10, 20),
        (10, 20),
    ]


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT, TOKENS, TOKENS, TOKENS)
def test_more_tokens_never_cost_less(
    input_micro: int, output_micro: int, call: int, least: int, read: int, made: int, more: int
) -> None:
    one = price(input_micro, output_micro, call_micro=call, minimum_micro=least)
    assert least <= prices.cost(one, read, made) <= prices.cost(one, read, made + more)


def test_a_new_price_is_a_new_version_and_the_same_is_none(db: str) -> None:
    first = put()
    assert put() == first
    second = put(150, tiers=TIERS, minimum_micro=5)
    assert (first.number, second.number, second.tiers) == (1, 2, TIERS) or list(second.tiers) == list(TIERS)
    assert put(150, tiers=TIERS, minimum_micro=5) == second
    with unit_of_work() as uow:
        assert prices.current(uow, ["tent-helper", "nobody"])["tent-helper"] == second
        assert [one.number for one in prices.versions(uow, "tent-helper")] == [2, 1]


def test_the_first_price_is_whoever_came_first(db: str) -> None:
    with unit_of_work() as uow:
        made = prices.first(uow, subject="m", input_micro=1, output_micro=2, by_id="a")
        assert prices.first(uow, subject="m", input_micro=9, output_micro=9, by_id="b") == made


@pytest.mark.parametrize(
    ("field", "terms"),
    [
        ("input_price", {"input_micro": -1}),
        ("input_price", {"input_micro": 1_000 * CREDIT + 1}),
        ("call_price", {"call_micro": -1}),
        ("minimum", {"minimum_micro": 10**18}),
        ("tiers", {"tiers": TIERS[::-1]}),
        ("tiers", {"tiers": (TIERS[0], TIERS[0])}),
        ("tiers.input_price", {"tiers": (Tier(from_tokens=1, input_micro=10**18, output_micro=0),)}),
    ],
)
def test_a_price_that_is_none_names_its_field(db: str, field: str, terms: dict[str, object]) -> None:
    with pytest.raises(BadInput) as caught:
        put(**terms)  # type: ignore[arg-type]
    assert caught.value.field == field
    with unit_of_work() as uow:
        assert prices.current(uow, ["tent-helper"]) == {}
