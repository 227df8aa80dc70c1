"""The table of allowed moves, read as a person would."""

import pytest

from engine.kit.errors import BadInput, Conflict, Forbidden
from engine.kit.messages import catalog
from engine.market import states
from engine.market.schemas import CATEGORIES, SYSTEM, Actor

OWNER = Actor("per_owner", "ten_a", frozenset({"developer"}))
OWNER_REVIEWER = Actor("per_owner", "ten_a", frozenset({"developer", "reviewer"}))
REVIEWER = Actor("per_reviewer", "ten_p", frozenset({"reviewer"}))
DEVELOPER = Actor("per_else", "ten_b", frozenset({"developer"}))
CONSUMER_OWNER = Actor("per_owner", "ten_a", frozenset({"consumer"}))


def may(person: Actor, from_state: str, to: str) -> bool:
    try:
        states.check_move(from_state, to, person, OWNER.id)
    except Forbidden:
        return False
    return True


ROAD = [
    (OWNER, "trained", "testing"),
    (SYSTEM, "testing", "tested"),
    (SYSTEM, "testing", "rejected"),
    (OWNER, "rejected", "testing"),
    (OWNER, "tested", "pending_review"),
    (OWNER, "pending_review", "tested"),
    (REVIEWER, "pending_review", "approved"),
    (REVIEWER, "pending_review", "rejected"),
    (OWNER, "approved", "published"),
    (REVIEWER, "published", "suspended"),
    (REVIEWER, "suspended", "published"),
    (OWNER, "published", "retired"),
]


@pytest.mark.parametrize(("person", "from_state", "to"), ROAD)
def test_each_step_belongs_to_one_part(person: Actor, from_state: str, to: str) -> None:
    assert may(person, from_state, to)
    for other in {OWNER, REVIEWER} - {person}:
        assert not may(other, from_state, to)
    assert not may(DEVELOPER, from_state, to)
    assert not may(CONSUMER_OWNER, from_state, to)


@pytest.mark.parametrize("to", ["approved", "rejected"])
def test_an_owner_who_is_a_reviewer_too_cannot_decide_on_their_own(to: str) -> None:
    with pytest.raises(Forbidden) as caught:
        states.check_move("pending_review", to, OWNER_REVIEWER, OWNER.id)
    assert caught.value.key == "market.own_review"
    assert not may(OWNER_REVIEWER, "published", "suspended")
    assert not may(OWNER_REVIEWER, "suspended", "published")


@pytest.mark.parametrize(
    ("from_state", "to"),
    [("trained", "published"), ("tested", "approved"), ("published", "trained"), ("suspended", "retired")],
)
def test_a_move_outside_the_table_is_a_conflict_for_everyone(from_state: str, to: str) -> None:
    for person in (OWNER, REVIEWER, SYSTEM):
        with pytest.raises(Conflict):
            states.check_move(from_state, to, person, OWNER.id)


def test_every_move_is_open_to_its_parts_and_nobody_else() -> None:
    everything = Actor("per_owner", "ten_a", frozenset({"developer", "reviewer", "operator", "checker"}))
    for (from_state, to), parts in states.MOVES.items():
        assert may(everything, from_state, to) == (states.OWNER in parts)
        assert may(REVIEWER, from_state, to) == (states.REVIEWER in parts)
        assert may(SYSTEM, from_state, to) == (states.SYSTEM_ROLE in parts)
        assert not may(DEVELOPER, from_state, to)


def reachable(without: tuple[str, str]) -> set[str]:
    seen, open_ends = {"trained"}, ["trained"]
    while open_ends:
        here = open_ends.pop()
        for move in states.MOVES:
            if move[0] == here and move != without and move[1] not in seen:
                seen.add(move[1])
                open_ends.append(move[1])
    return seen


@pytest.mark.parametrize("gate", [("testing", "tested"), ("pending_review", "approved")])
def test_the_only_ways_to_the_market_lead_through_test_and_approval(gate: tuple[str, str]) -> None:
    assert "published" not in reachable(without=gate)
    assert "published" in reachable(without=("", ""))


def test_an_unknown_state_is_bad_input() -> None:
    with pytest.raises(BadInput):
        states.check_move("trained", "famous", OWNER, OWNER.id)


def test_every_state_and_category_has_its_words() -> None:
    texts = catalog()
    for state in states.STATES:
        assert {"en", "zh"} <= set(texts[f"market.state_{state}"])
        assert {"en", "zh"} <= set(texts[f"market.cannot_be_{state}"])
    for category in CATEGORIES:
        assert {"en", "zh"} <= set(texts[f"market.category_{category}"])
