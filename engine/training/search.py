"""Where a search for good values looks, and the trials that it has made."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from engine.kit.errors import BadInput
from engine.training.recipe import RANGES, LoraRecipe, checked_number
from engine.training.schemas import Trial

FEWEST_TRIALS, MOST_TRIALS = 2, 30
MOST_RANKS = 10
FIELDS = ("rank", "learning_rate", "epochs", "trials", "seed")


class Choice(NamedTuple):
    """The three values that one trial is made with."""

    rank: int
    learning_rate: float
    epochs: int


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """What a search may choose, and how many trials it makes.

    `rank` are the ranks to choose from; `learning_rate` and `epochs` lie between their two values, rates
    evenly by their logarithm. The same `seed` and the same losses lead to the same trials.

    A value that cannot be used raises BadInput naming the field, the value and the range.
    """

    rank: tuple[int, ...]
    learning_rate: tuple[float, float]
    epochs: tuple[int, int]
    trials: int = 12
    seed: int = 17

    def __post_init__(self) -> None:
        ranks = _several("rank", self.rank, most=MOST_RANKS)
        whole = {int(checked_number("rank", rank, whole=True)) for rank in ranks}
        low, high = _pair("learning_rate", self.learning_rate, whole=False)
        fewest, most = _pair("epochs", self.epochs, whole=True)
        object.__setattr__(self, "rank", tuple(sorted(whole)))
        object.__setattr__(self, "learning_rate", (low, high))
        object.__setattr__(self, "epochs", (int(fewest), int(most)))
        object.__setattr__(self, "seed", int(checked_number("seed", self.seed, whole=True)))
        object.__setattr__(self, "trials", _trials(self.trials))
        if low == high and self.trials > (count := len(self.combinations())):
            raise BadInput("search.too_few_values", field="trials", value=self.trials, count=count)

    @classmethod
    def around(cls, recipe: LoraRecipe, most_rank: int) -> "SearchSpace":
        """Return a space around a recipe: half to twice its rank and epochs, a third to three times its rate.

        No rank is above `most_rank`, which is the largest that can be served.
        """
        middle = min(recipe.rank, most_rank)
        lowest, highest = RANGES["learning_rate"]
        return cls(
            rank=(max(1, middle // 2), middle, min(most_rank, 2 * middle)),
            learning_rate=(
                max(lowest, float(f"{recipe.learning_rate / 3:.2g}")),
                min(highest, float(f"{recipe.learning_rate * 3:.2g}")),
            ),
            epochs=(max(1, recipe.epochs // 2), min(int(RANGES["epochs"][1]), 2 * recipe.epochs)),
        )

    def changed(self, changes: Mapping[str, Any]) -> "SearchSpace":
        """Return this space with some fields replaced, checked like a new one."""
        unknown = sorted(set(changes) - set(FIELDS))
        if unknown:
            raise BadInput("search.unknown_field", field=unknown[0][:40], name=unknown[0][:40])
        return SearchSpace(**{**asdict(self), **changes})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "SearchSpace":
        """Return the space that `to_dict` wrote."""
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    def combinations(self) -> list[Choice]:
        """Return all ranks with all epochs at the lowest rate."""
        fewest, most = self.epochs
        return [
            Choice(rank, self.learning_rate[0], epochs)
            for rank in self.rank
            for epochs in range(fewest, most + 1)
        ]

    def nearest(self, recipe: LoraRecipe) -> Choice:
        """Return what of the space is nearest to a recipe: the first trial, which the others have to beat."""
        low, high = self.learning_rate
        return Choice(
            rank=min(self.rank, key=lambda rank: abs(rank - recipe.rank)),
            learning_rate=min(high, max(low, recipe.learning_rate)),
            epochs=min(self.epochs[1], max(self.epochs[0], recipe.epochs)),
        )

    def largest(self, recipe: LoraRecipe) -> LoraRecipe:
        """Return the recipe of the space that needs the most memory."""
        return with_choice(recipe, self.nearest(recipe)._replace(rank=self.rank[-1]))


def with_choice(recipe: LoraRecipe, choice: Choice) -> LoraRecipe:
    """Return a recipe with the values of a trial.

    `alpha / rank` stays what it is: another scale would be another learning rate in disguise.
    """
    least, most = RANGES["alpha"]
    alpha = min(most, max(least, round(recipe.alpha * choice.rank / recipe.rank)))
    return recipe.changed({**choice._asdict(), "alpha": alpha})


def best(trials: Sequence[Trial]) -> Trial | None:
    """Return the trial with the lowest held-out loss of those trained to their end, the first of equals."""
    done = [trial for trial in trials if trial.ended == "done" and trial.eval_loss is not None]
    return min(done, key=lambda trial: (trial.eval_loss, trial.number), default=None)


def _trials(value: Any) -> int:
    usable = isinstance(value, int | float) and not isinstance(value, bool)
    if usable and FEWEST_TRIALS <= value <= MOST_TRIALS and value == int(value):
        return int(value)
    raise BadInput(
        "search.bad_trials", field="trials", value=str(value)[:40], low=FEWEST_TRIALS, high=MOST_TRIALS
    )


def _several(name: str, values: Any, *, most: int) -> Sequence[Any]:
    if isinstance(values, Sequence) and not isinstance(values, str) and 1 <= len(values) <= most:
        return values
    raise BadInput("search.bad_ranks", field=name, most=most)


def _pair(name: str, values: Any, *, whole: bool) -> tuple[float, float]:
    """Return a checked range. Raises BadInput."""
    if not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 2:
        raise BadInput("search.no_range", field=name, name=name)
    low, high = (checked_number(name, value, whole=whole) for value in values)
    if low > high:
        raise BadInput("search.turned_range", field=name, name=name, low=f"{low:.15g}", high=f"{high:.15g}")
    return low, high
