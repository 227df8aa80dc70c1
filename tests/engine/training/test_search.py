"""What a search may choose, what it proposes next, and which trials it gives up."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kit.errors import BadInput
from engine.training.optimiser import hopeless, propose
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Trial
from engine.training.search import Choice, SearchSpace, best, with_choice

RECIPE = LoraRecipe(rank=16, alpha=32, learning_rate=2e-4, epochs=2)
SPACE = SearchSpace(rank=(8, 16, 32), learning_rate=(1e-4, 1e-3), epochs=(1, 4), trials=8)


def trial(number: int, choice: Choice, ended: Any = "done", losses: tuple[float, ...] = (2.0,)) -> Trial:
    return Trial(
        run_id=f"run_{number}",
        number=number,
        **choice._asdict(),
        ended=ended,
        eval_loss=losses[-1] if losses else None,
        held_out=list(enumerate(losses, 1)),
    )


def searched(space: SearchSpace, loss: Callable[[Choice], float], count: int) -> list[Trial]:
    """Make trials whose loss is a function of their values."""
    trials: list[Trial] = []
    while len(trials) < count:
        choice = propose(space, RECIPE, trials)
        trials.append(trial(len(trials) + 1, choice, losses=(loss(choice),)))
    return trials


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({"rank": ()}, "rank", "at least one"),
        ({"rank": 8}, "rank", "at least one"),
        ({"rank": (0, 8)}, "rank", "from 1 to 512"),
        ({"rank": (8.5,)}, "rank", "whole number"),
        ({"learning_rate": (1e-4, 1.0)}, "learning_rate", "to 0.05"),
        ({"learning_rate": (1e-3, 1e-4)}, "learning_rate", "smaller value first"),
        ({"learning_rate": 1e-3}, "learning_rate", "must be a range"),
        ({"learning_rate": "ab"}, "learning_rate", "must be a range"),
        ({"epochs": (0, 2)}, "epochs", "from 1 to 200"),
        ({"epochs": (1, 2.5)}, "epochs", "whole number"),
        ({"trials": 1}, "trials", "from 2 to 30"),
        ({"trials": 31}, "trials", "from 2 to 30"),
        ({"trials": float("nan")}, "trials", "from 2 to 30"),
        ({"seed": -1}, "seed", "from 0"),
        ({"rank": (8,), "learning_rate": (1e-4, 1e-4), "epochs": (1, 2)}, "trials", "only 2 different"),
        ({"alpha": 3}, "alpha", "no field"),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_by_name(
    changes: dict[str, Any], field: str, said: str
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        SPACE.changed(changes)
    assert caught.value.field == field


def test_a_space_comes_back_from_what_is_stored_of_it() -> None:
    assert SearchSpace.from_dict(SPACE.to_dict()) == SPACE
    assert SPACE.to_dict()["rank"] == [8, 16, 32]


def test_the_usual_space_lies_around_the_recipe_and_within_what_can_be_served() -> None:
    space = SearchSpace.around(RECIPE, most_rank=64)
    assert (space.rank, space.epochs) == ((8, 16, 32), (1, 4))
    assert space.learning_rate == (6.7e-5, 6e-4)
    edge = LoraRecipe(rank=64, learning_rate=0.05, epochs=200)
    assert SearchSpace.around(edge, most_rank=32).rank == (16, 32)
    assert SearchSpace.around(edge, most_rank=32).learning_rate[1] == 0.05
    assert SearchSpace.around(edge, most_rank=32).epochs == (100, 200)
    assert SearchSpace.around(edge.changed({"rank": 1, "epochs": 1}), most_rank=1).rank == (1,)


def test_a_rank_keeps_the_scale_of_its_adapter() -> None:
    found = with_choice(RECIPE, Choice(8, 1e-3, 3))
    assert (found.rank, found.alpha, found.learning_rate, found.epochs) == (8, 16, 1e-3, 3)
    assert SPACE.largest(RECIPE).rank == 32


def test_the_first_trial_is_the_recipe_itself_or_what_is_nearest_to_it() -> None:
    assert propose(SPACE, RECIPE, []) == Choice(16, 2e-4, 2)
    assert propose(SPACE, RECIPE.changed({"rank": 60, "learning_rate": 0.01, "epochs": 9}), []) == Choice(
        32, 1e-3, 4
    )


histories = st.lists(
    st.tuples(
        st.sampled_from(SPACE.rank),
        st.floats(*SPACE.learning_rate),
        st.integers(*SPACE.epochs),
        st.sampled_from(["done", "pruned", "failed"]),
        st.lists(st.floats(0.01, 100), max_size=4),
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(histories)
def test_whatever_has_happened_the_same_trials_lead_to_the_same_next_one(history: list[Any]) -> None:
    trials = [
        trial(n, Choice(*values), ended, tuple(losses) or ((1.0,) if ended == "done" else ()))
        for n, (*values, ended, losses) in enumerate(history, 1)
    ]
    choice = propose(SPACE, RECIPE, trials)
    again = [Trial.model_validate_json(each.model_dump_json()) for each in trials]
    assert propose(SPACE, RECIPE, again) == choice
    assert choice not in {Choice(each.rank, each.learning_rate, each.epochs) for each in trials}
    with_choice(RECIPE, choice)
    assert choice.rank in SPACE.rank
    assert SPACE.learning_rate[0] <= choice.learning_rate <= SPACE.learning_rate[1]
    assert SPACE.epochs[0] <= choice.epochs <= SPACE.epochs[1]


def test_another_seed_makes_another_search() -> None:
    first, second = (searched(SPACE.changed({"seed": seed}), lambda _: 1.0, 4) for seed in (1, 2))
    assert first != second


def test_few_values_are_tried_once_each() -> None:
    space = SPACE.changed({"learning_rate": (2e-4, 2e-4), "epochs": (1, 2), "trials": 6})
    trials = searched(space, lambda choice: choice.rank, 6)
    assert len({(each.rank, each.epochs) for each in trials}) == 6


def test_it_comes_nearer_to_good_values_than_chance() -> None:
    import math

    space = SPACE.changed({"learning_rate": (1e-5, 1e-2), "trials": 30})
    trials = searched(space, lambda choice: abs(math.log10(choice.learning_rate / 3e-4)), 30)
    early, late = (sum(each.eval_loss or 0 for each in part) for part in (trials[:10], trials[-10:]))
    assert late < early * 0.7


def test_a_rate_that_diverged_is_kept_away_from() -> None:
    space = SPACE.changed({"learning_rate": (1e-5, 1e-2), "trials": 30})
    trials: list[Trial] = []
    while len(trials) < 30:
        choice = propose(space, RECIPE, trials)
        failed = choice.learning_rate > 1e-3
        trials.append(
            trial(len(trials) + 1, choice, "failed" if failed else "done", () if failed else (1.0,))
        )
    assert sum(each.ended == "failed" for each in trials[-10:]) <= 2


CHOICE = Choice(16, 2e-4, 4)
ENDED = [trial(n, CHOICE, losses=(4.0, 3.0, 2.0, 1.0)) for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("ended", "losses", "given_up"),
    [
        (ENDED, (4.1,), True),
        (ENDED, (3.9,), False),
        (ENDED, (3.9, 3.5), True),
        # Its best epoch counts, not its newest.
        (ENDED, (2.9, 3.5), False),
        # Too few have come to their end, or to this epoch.
        (ENDED[:2], (9.0,), False),
        ([*ENDED[:2], trial(3, CHOICE, "pruned", (4.0,))], (9.0,), False),
        ([*ENDED[:2], trial(3, CHOICE, "failed", ())], (9.0,), False),
        ([*ENDED[:2], trial(3, CHOICE, losses=(4.0,))], (4.1, 9.0), False),
    ],
)
def test_a_trial_is_given_up_when_it_is_worse_than_half_of_the_others(
    ended: list[Trial], losses: tuple[float, ...], given_up: bool
) -> None:
    assert hopeless(SPACE, ended, trial(9, CHOICE, None, losses)) is given_up


def test_long_trainings_are_not_given_up_in_their_first_third() -> None:
    space = SPACE.changed({"epochs": (9, 30)})
    ended = [trial(n, Choice(16, 2e-4, 9), losses=(1.0,) * 9) for n in (1, 2, 3)]
    running = Choice(16, 2e-4, 20)
    assert [hopeless(space, ended, trial(4, running, None, (9.0,) * n)) for n in (1, 2, 3)] == [
        False,
        False,
        True,
    ]


def test_the_best_is_the_lowest_of_those_that_were_trained_to_their_end() -> None:
    trials = [
        trial(1, CHOICE, losses=(3.0,)),
        trial(2, CHOICE, "pruned", (1.0,)),
        trial(3, CHOICE, losses=(1.0, 2.0)),
        trial(4, CHOICE, losses=(2.0,)),
        trial(5, CHOICE, "failed", ()),
    ]
    found = best(trials)
    assert found is not None and found.number == 3
    assert best(trials[1:2]) is None
