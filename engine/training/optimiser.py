"""The door to Optuna: which values the next trial of a search gets, and whether a running one is hopeless.

Nothing is kept here. Every answer is worked out from the trials so far and from a seed of its own, so a
search that was killed goes on as one that never was.
"""

import hashlib
import math
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from engine.training.recipe import LoraRecipe
from engine.training.schemas import Trial
from engine.training.search import Choice, SearchSpace

ATTEMPTS = 20
"""How often Optuna is asked for values that no trial has had yet."""
TRIALS_AT_FIRST = 3
"""So many are spread over the space before any of them is learnt from; searches are short."""
OTHERS_BEFORE_PRUNING = 3
"""No trial is given up at an epoch that fewer others, all trained to their end, have come to."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


def propose(space: SearchSpace, recipe: LoraRecipe, trials: Sequence[Trial]) -> Choice:
    """Return the values of the trial behind `trials`, all of which have ended.

    The first one is what is nearest to `recipe`, the next few are drawn at random, the others come from a
    tree-structured Parzen estimator (Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization").
    """
    if not trials:
        return space.nearest(recipe)
    tried = {Choice(trial.rank, trial.learning_rate, trial.epochs) for trial in trials}
    for attempt in range(ATTEMPTS):
        choice = _asked(space, trials, attempt)
        if choice not in tried:
            return choice
    if space.learning_rate[0] == space.learning_rate[1]:
        return next((one for one in space.combinations() if one not in tried), choice)
    return choice


def hopeless(space: SearchSpace, trials: Sequence[Trial], running: Trial) -> bool:
    """Return whether to give up `running` at its newest epoch.

    It is when its best held-out loss so far is above the median of the others' at that epoch (Golovin et al.
    2017, "Google Vizier"), once enough have ended, and not in the first third of the shortest training.
    """
    study = _study(space, trials)
    study.add_trial(_frozen(space, running))
    return bool(study.pruner.prune(study, study.get_trials(deepcopy=False)[-1]))


def _asked(space: SearchSpace, trials: Sequence[Trial], attempt: int) -> Choice:
    found = _study(space, trials, attempt).ask(_distributions(space)).params
    low, high = space.learning_rate
    # Rates that a person can read; a rounded one may lie beside the range.
    rate = min(high, max(low, float(f"{found['learning_rate']:.3g}")))
    return Choice(space.rank[found["rank"]], rate, found["epochs"])


def _study(space: SearchSpace, trials: Sequence[Trial], attempt: int = 0) -> optuna.Study:
    text = f"{space.seed}:{len(trials)}:{attempt}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    study = optuna.create_study(
        sampler=TPESampler(seed=seed, n_startup_trials=TRIALS_AT_FIRST),
        pruner=MedianPruner(
            n_startup_trials=OTHERS_BEFORE_PRUNING,
            n_warmup_steps=max(1, math.ceil(space.epochs[0] / 3)),
            n_min_trials=OTHERS_BEFORE_PRUNING,
        ),
    )
    study.add_trials([_frozen(space, trial) for trial in trials])
    return study


def _distributions(space: SearchSpace) -> dict[str, BaseDistribution]:
    """Ranks go by their place in the list: they have an order, and steps of their own."""
    return {
        "rank": IntDistribution(0, len(space.rank) - 1),
        "learning_rate": FloatDistribution(*space.learning_rate, log=True),
        "epochs": IntDistribution(*space.epochs),
    }


def _frozen(space: SearchSpace, trial: Trial) -> FrozenTrial:
    """Return a trial as Optuna knows it.

    One that failed counts as given up before its first epoch, which is as bad as can be: Optuna learns
    nothing from its own state of failure, and would propose such a rate again.
    """
    states = {"done": TrialState.COMPLETE, None: TrialState.RUNNING}
    state = states.get(trial.ended, TrialState.PRUNED)
    return optuna.trial.create_trial(
        state=state,
        value=trial.eval_loss if state == TrialState.COMPLETE else None,
        params={
            "rank": space.rank.index(trial.rank),
            "learning_rate": trial.learning_rate,
            "epochs": trial.epochs,
        },
        distributions=_distributions(space),
        intermediate_values={} if trial.ended == "failed" else dict(trial.held_out),
    )
