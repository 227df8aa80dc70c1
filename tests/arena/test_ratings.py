import csv
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.ratings import fit
from arena.schemas import Judgement, Rating

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"

models = st.sampled_from("abcdef")
judgements = st.lists(
    st.builds(
        lambda pair, verdict: Judgement(left=pair[0], right=pair[1], verdict=verdict),
        st.lists(models, min_size=2, max_size=2, unique=True),
        st.sampled_from(["left", "right", "tie", "both_bad"]),
    ),
    min_size=1,
    max_size=40,
)
careful = settings(max_examples=150, deadline=None)


def by_model(ratings: list[Rating]) -> dict[str, Rating]:
    return {rating.model: rating for rating in ratings}


def beat(winner: str, loser: str, times: int = 1) -> list[Judgement]:
    return [Judgement(left=winner, right=loser, verdict="left")] * times


@pytest.mark.skipif(not (DATA / "llmfao.csv").exists(), reason=f"needs the public votes in {DATA}")
def test_real_votes_match_the_published_scores() -> None:
    with (DATA / "llmfao.csv").open() as file:
        votes = [
            Judgement(left=r["left"], right=r["right"], verdict=r["winner"]) for r in csv.DictReader(file)
        ]
    with (DATA / "llmfao-golden.csv").open() as file:
        golden = {
            r["item"]: float(r["score"]) for r in csv.DictReader(file) if r["algorithm"] == "bradley_terry"
        }
    ratings = fit(votes)
    strengths = np.array([10 ** ((rating.rating - 1000) / 400) for rating in ratings])
    scores = strengths / strengths.sum()
    expected = np.array([golden[rating.model] for rating in ratings])
    assert len(votes) == 8931 and len(ratings) == len(golden) == 59
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    assert [rating.model for rating in ratings] == sorted(golden, key=lambda name: -golden[name])
    assert all(rating.settled and not rating.several_groups for rating in ratings)


def test_nothing_judged_gives_no_ratings() -> None:
    assert fit([]) == []


def test_odds_of_ten_to_one_are_400_points() -> None:
    found = by_model(fit(beat("a", "b", 100) + beat("b", "a", 10)))
    assert found["a"].rating - found["b"].rating == pytest.approx(400, abs=0.01)
    assert found["a"].rating + found["b"].rating == pytest.approx(2000)
    assert found["a"].battles == 110


def test_the_interval_is_the_sandwich_of_the_pair() -> None:
    # For two models the gap has variance G / H^2, and each of the two carries half of the gap.
    n, k = 50, 30
    p = k / n
    gap_variance = (k * (1 - p) ** 2 + (n - k) * p**2) / (n * p * (1 - p)) ** 2
    expected = 1.959964 * 400 / np.log(10) * np.sqrt(gap_variance) / 2
    found = by_model(fit(beat("a", "b", k) + beat("b", "a", n - k)))
    assert found["a"].high - found["a"].rating == pytest.approx(expected, rel=1e-3)
    assert found["a"].rating - found["a"].low == pytest.approx(expected, rel=1e-3)


def test_ties_and_both_bad_are_half_a_win_each() -> None:
    for verdict in ("tie", "both_bad"):
        found = by_model(fit([Judgement(left="a", right="b", verdict=verdict)] * 4 + beat("a", "b", 6)))
        assert found["a"].rating - found["b"].rating == pytest.approx(400 * np.log10(8 / 2), abs=0.05)


def test_rank_counts_the_models_that_are_surely_better() -> None:
    strong, weak = "a", "d"
    votes = beat(strong, "b", 90) + beat("b", strong, 10) + beat("b", weak, 90) + beat(weak, "b", 10)
    votes += beat("b", "c", 50) + beat("c", "b", 50)
    found = by_model(fit(votes))
    assert {name: rating.rank for name, rating in found.items()} == {"a": 1, "b": 2, "c": 2, "d": 4}


def test_models_that_no_vote_joins_are_separate_groups_and_say_so() -> None:
    ratings = fit(beat("a", "b", 2) + beat("b", "c") + beat("c", "a") + beat("x", "y", 3) + beat("y", "x"))
    found = by_model(ratings)
    assert all(rating.several_groups for rating in ratings)
    assert {rating.model for rating in ratings if rating.group == 1} == {"a", "b", "c"}
    assert found["x"].group == found["y"].group == 2 and found["x"].rank == 1
    for group in (1, 2):
        assert np.mean([r.rating for r in ratings if r.group == group]) == pytest.approx(1000)


def test_a_model_that_only_won_stays_finite_and_its_interval_admits_that_little_is_known() -> None:
    winner, loser = fit(beat("a", "b"))
    assert not winner.settled and not loser.settled
    assert winner.low < loser.rating < winner.rating < loser.high
    assert winner.rank == loser.rank == 1


def test_many_models_and_votes_are_rated_in_seconds() -> None:
    rng = np.random.default_rng(7)
    votes = [
        Judgement(left=f"m{a}", right=f"m{b}", verdict="left" if rng.random() < 0.7 else "right")
        for a, b in rng.integers(0, 100, (20_000, 2))
        if a != b
    ]
    began = time.perf_counter()
    assert len(fit(votes)) == 100
    assert time.perf_counter() - began < 10


@careful
@given(judgements, st.randoms(use_true_random=False))
def test_the_order_of_votes_does_not_matter(votes: list[Judgement], random: object) -> None:
    shuffled = list(votes)
    shuffle: Callable[[list[Judgement]], None] = random.shuffle  # type: ignore[attr-defined]
    shuffle(shuffled)
    assert fit(shuffled) == fit(votes)


@careful
@given(judgements)
def test_swapping_sides_does_not_matter(votes: list[Judgement]) -> None:
    other = {"left": "right", "right": "left", "tie": "tie", "both_bad": "both_bad"}
    swapped = [Judgement(left=v.right, right=v.left, verdict=other[v.verdict]) for v in votes]
    assert fit(swapped) == fit(votes)


@careful
@given(judgements, st.lists(models, min_size=2, max_size=2, unique=True))
def test_one_more_win_never_lowers_the_winner_against_the_loser(
    votes: list[Judgement], pair: list[str]
) -> None:
    winner, loser = pair

    def gap(found: dict[str, Rating]) -> float:
        return found[winner].rating - found[loser].rating

    before, after = by_model(fit(votes)), by_model(fit(votes + beat(winner, loser)))
    if winner in before and loser in before:
        assert gap(after) >= gap(before) - 1e-6
    else:
        assert gap(after) > gap(by_model(fit(votes + beat(loser, winner))))


@careful
@given(judgements)
def test_every_interval_holds_its_rating_and_every_group_has_mean_1000(votes: list[Judgement]) -> None:
    ratings = fit(votes)
    for rating in ratings:
        assert rating.low <= rating.rating <= rating.high
        assert 1 <= rating.rank <= len(ratings)
    for group in {rating.group for rating in ratings}:
        assert np.mean([r.rating for r in ratings if r.group == group]) == pytest.approx(1000, abs=1e-6)
