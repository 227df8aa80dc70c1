"""Bradley-Terry ratings from pairwise judgements. Pure: values in, values out.

Conventions of lmarena/arena-rank and FastChat: odds of ten to one are 400 points, the unweighted mean of a
connected group is 1000, a tie or "both bad" is half a win for each side.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from arena.schemas import Judgement, Rating

SCALE = 400 / np.log(10)
MEAN = 1000.0
NORMAL_95 = 1.959963984540054
LEFT_SHARE = {"left": 1.0, "right": 0.0, "tie": 0.5, "both_bad": 0.5}

# A prior this weak moves a settled rating by less than a thousandth of a point, and keeps the rating of a
# model that only ever won (whose likelihood has no maximum) finite. It is the same for all votes: a
# strictly concave objective is what guarantees that one more win never lowers the winner.
PRIOR = 1e-4

Matrix = NDArray[np.float64]


def count_wins(judgements: Iterable[Judgement]) -> tuple[list[str], Matrix, Matrix]:
    """Return the models sorted by id, their wins (n, n) and, for the variance, their ties (n, n).

    `wins[i, j]` counts how often i beat j, half for a tie; `ties[i, j]` counts the ties alone.
    """
    rows = list(judgements)
    models = sorted({model for row in rows for model in (row.left, row.right)})
    place = {model: n for n, model in enumerate(models)}
    wins = np.zeros((len(models), len(models)))
    ties = np.zeros_like(wins)
    for row in rows:
        left, right = place[row.left], place[row.right]
        share = LEFT_SHARE[row.verdict]
        wins[left, right] += share
        wins[right, left] += 1 - share
        if share == 0.5:
            ties[left, right] += 1
            ties[right, left] += 1
    return models, wins, ties


def fit(judgements: Iterable[Judgement]) -> list[Rating]:
    """Return the rating of every model that was judged, best first, the largest group first.

    The 95% intervals come from the sandwich variance inv(H) G inv(H), with H the sum of p(1-p)xx' and G the
    sum of (y-p)^2 xx' over the judgements. Where a group is not settled (see `Rating`) the residuals are
    almost zero and the sandwich would claim certainty, so there the interval comes from inv(H + prior).
    """
    models, wins, ties = count_wins(judgements)
    if not models:
        return []
    counts = wins + wins.T
    ratings: list[Rating] = []
    groups = _groups(counts)
    for number, members in enumerate(groups, 1):
        cut = np.ix_(members, members)
        strengths = _maximise(wins[cut])
        # Every model of a group can be reached from every other by "beat": the maximum is finite.
        settled = connected_components(wins[cut] > 0, connection="strong")[0] == 1
        spread = SCALE * NORMAL_95 * np.sqrt(_variance(strengths, wins[cut], ties[cut], settled))
        points = MEAN + SCALE * (strengths - strengths.mean())
        low, high = points - spread, points + spread
        for n in np.argsort(-points, kind="stable"):
            model = models[members[n]]
            ratings.append(
                Rating(
                    model=model,
                    name=model,
                    rating=float(points[n]),
                    low=float(low[n]),
                    high=float(high[n]),
                    battles=round(counts[members[n]].sum()),
                    rank=1 + int((low > high[n]).sum()),
                    group=number,
                    several_groups=len(groups) > 1,
                    settled=bool(settled),
                )
            )
    return ratings


def _groups(counts: Matrix) -> list[list[int]]:
    """Return the connected groups of models, the largest first."""
    total, labels = connected_components(counts > 0, directed=False)
    groups = [np.flatnonzero(labels == label).tolist() for label in range(total)]
    return sorted(groups, key=lambda members: (-len(members), members[0]))


def _maximise(wins: Matrix) -> Matrix:
    """Return natural-log strengths (n,) of one group, by Newton's method with step halving.

    The best strengths sum to zero. The likelihood is flat along that direction, so `lift` keeps rounding
    errors from being blown up there by the weak prior.
    """
    size = len(wins)
    lift = np.full((size, size), 1 / size)
    counts = wins + wins.T
    strengths = np.zeros(size)
    value = _objective(strengths, wins)
    for _ in range(200):
        chances = expit(strengths[:, None] - strengths[None, :])
        gradient = (wins - counts * chances).sum(axis=1) - PRIOR * strengths
        hessian = _hessian(counts, chances) + PRIOR * np.eye(size) + lift
        step = solve(hessian, gradient, assume_a="pos")
        moved = _objective(strengths + step, wins)
        while moved < value - 1e-12 * abs(value):
            step = step / 2
            moved = _objective(strengths + step, wins)
        strengths, value = strengths + step, moved
        if np.abs(step).max() < 1e-10:
            break
    return strengths


def _objective(strengths: Matrix, wins: Matrix) -> float:
    gaps = strengths[:, None] - strengths[None, :]
    return float(-(wins * np.logaddexp(0, -gaps)).sum() - PRIOR / 2 * (strengths**2).sum())


def _hessian(counts: Matrix, chances: Matrix) -> Matrix:
    return _laplacian(counts * chances * (1 - chances))


def _laplacian(weights: Matrix) -> Matrix:
    """Return the sum of w xx' over pairs, x being +1 at one model and -1 at the other."""
    return np.asarray(np.diag(weights.sum(axis=1)) - weights, dtype=np.float64)


def _variance(strengths: Matrix, wins: Matrix, ties: Matrix, settled: bool) -> Matrix:
    """Return the variance (n,) of each strength of one group, relative to the group's mean."""
    counts = wins + wins.T
    chances = expit(strengths[:, None] - strengths[None, :])
    hessian = _hessian(counts, chances)
    size = len(strengths)
    if not settled:
        centre = np.eye(size) - 1 / size
        inverse = centre @ np.linalg.inv(hessian + PRIOR * np.eye(size)) @ centre
        return np.diag(inverse).copy()
    # Each pair stands in both halves of the matrices: wins of i over j here, wins of j over i there.
    decided = wins - ties / 2
    residuals = decided * (1 - chances) ** 2 + decided.T * chances**2 + ties * (0.5 - chances) ** 2
    bread = np.linalg.pinv(hessian, hermitian=True)
    return np.diag(bread @ _laplacian(residuals) @ bread).copy()
