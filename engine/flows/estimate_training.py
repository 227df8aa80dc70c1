"""What a training will need, beside what the machines have."""

import psutil

from engine.inference.base_model import parameter_count, resolve
from engine.jobs import machines
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput
from engine.kit.settings import settings
from engine.training import estimate as estimates
from engine.training import service as training
from engine.training.estimate import Estimate, Shape
from engine.training.recipe import LoraRecipe

REMEMBERED = 86_400.0
"""Seconds for which a silent machine's devices still count: it may only be starting anew."""
WEIGHT = 4
"""Bytes of one where there is no GPU."""
LARGEST_SHARE = 0.9
"""Part of a machine's memory that a training on its processor may take."""


def has_device() -> bool:
    """Return whether trainings run on a GPU here."""
    with unit_of_work() as uow:
        return any(machine.devices for machine in machines.listing(uow, REMEMBERED))


def estimate(recipe: LoraRecipe, tokens: int = 0) -> Estimate:
    """Return what a recipe needs for so many tokens, and what the machines have.

    With GPUs in the pool the largest counts, else the memory of this machine.
    """
    base = settings().base_model
    shape = Shape.of(resolve(base), parameter_count(base))
    with unit_of_work() as uow:
        found = machines.listing(uow, REMEMBERED)
        usual = training.usual_speed(uow, base, recipe.method)
    largest = max((device.memory for machine in found for device in machine.devices), default=0)
    limit = largest or round(LARGEST_SHARE * psutil.virtual_memory().total)
    needed = estimates.memory(shape, recipe, device=bool(largest))
    speed = usual or (None if largest else estimates.processor_speed(shape, recipe.method))
    return Estimate(
        memory=needed,
        limit=limit,
        device=bool(largest),
        seconds=tokens / speed if speed and tokens else None,
        measured=usual is not None,
        fitting=None if needed <= limit else estimates.fitting(shape, recipe, limit, device=bool(largest)),
    )


def fitted(recipe: LoraRecipe) -> LoraRecipe:
    """Return the recipe, or the nearest one that the machines have the memory for, if one does."""
    return estimate(recipe).fitting or recipe


def require_fit(recipe: LoraRecipe) -> Estimate:
    """Return the estimate. Raises BadInput, with what would fit, when there is not enough memory."""
    found = estimate(recipe)
    if found.fits:
        return found
    facts = {"memory": gigabytes(found.memory), "limit": gigabytes(found.limit)}
    if found.fitting is None:
        raise BadInput("training.never_fits", field="max_length", **facts)
    key = "training.fits_shorter" if found.fitting.max_length < recipe.max_length else "training.fits_smaller"
    raise BadInput(
        key,
        field="batch_size",
        **facts,
        batch_size=found.fitting.batch_size,
        accumulation=found.fitting.accumulation,
        max_length=found.fitting.max_length,
    )


def require_room() -> None:
    """Raise BadInput when the base model's weights alone do not fit beside a processor."""
    needed = WEIGHT * parameter_count(settings().base_model)
    limit = round(LARGEST_SHARE * psutil.virtual_memory().total)
    if needed > limit:
        raise BadInput(
            "training.never_fits", field="template", memory=gigabytes(needed), limit=gigabytes(limit)
        )


def gigabytes(count: int) -> str:
    """Return a number of bytes in GB."""
    return f"{count / 2**30:.1f} GB"
