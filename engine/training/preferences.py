"""TRL's trainers of preferences, set up like the one that learns answers."""

from typing import Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer

from engine.training.recipe import LoraRecipe

OFTEN = 4
"""Passes from which on the base model's own likelihoods are cheaper reckoned once, before the first."""

Trainer = DPOTrainer | KTOTrainer


def preference_trainer(recipe: LoraRecipe, config: dict[str, Any], **parts: Any) -> Trainer:
    """Return the trainer of `recipe.method`; `config` are fields that it shares with the other methods.

    Dropout is off, as in both papers: the trained model and the base model read the same.
    """
    own: dict[str, Any] = {"beta": recipe.beta, "precompute_ref_log_probs": recipe.epochs >= OFTEN}
    if recipe.method == "dpo":
        return DPOTrainer(args=DPOConfig(**config, **own), **parts)
    good, bad = weights(parts["train_dataset"])
    return KTOTrainer(args=KTOConfig(**config, **own, desirable_weight=good, undesirable_weight=bad), **parts)


def weights(rows: Dataset) -> tuple[float, float]:
    """Return how much good and bad examples count, so that both come to the same (KTO, equation 8)."""
    good = sum(rows["label"])
    bad = len(rows) - good
    if not good or not bad:
        return 1.0, 1.0
    return (bad / good, 1.0) if good < bad else (1.0, good / bad)
