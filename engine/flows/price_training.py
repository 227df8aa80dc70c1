"""What a training will cost in credits, said and asked for before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from engine.billing import meters
from engine.billing import service as billing
from engine.datasets.schemas import DatasetView
from engine.flows import meter_training
from engine.flows.estimate_training import estimate
from engine.flows.sample_rows import sample
from engine.kit.database import unit_of_work
from engine.training.estimate import Estimate, processors
from engine.training.recipe import LoraRecipe


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a training costs, in micro-credits, beside what the wallet has.

    `estimate_micro` is about what it costs, None where nothing tells how long it takes. `owed_micro` is what
    earlier trainings were not paid, `needed_micro` what the wallet must have to start: the estimate, or else
    five minutes, and what is owed. `free` is true where machine time costs nothing.
    """

    free: bool
    estimate_micro: int | None
    owed_micro: int
    needed_micro: int
    balance_micro: int
    missing_micro: int


def about(needs: Estimate) -> int | None:
    """Return about what an estimated training costs; None where nothing tells, or machine time is free."""
    if needs.seconds is None or meter_training.rates().free:
        return None
    used = 1 if needs.device else processors()
    return meter_training.cost_of(round(needs.seconds * 1000), device=needs.device, processors=used)


def of_training(
    dataset: DatasetView, base_ids: Sequence[str], recipe: LoraRecipe, *, passes: float | None = None
) -> int | None:
    """Return about what a training costs, by a sample of its rows; `passes` are those over all of them.

    None where nothing tells, or machine time is free.
    """
    if meter_training.rates().free:
        return None
    tokens = sample(dataset, base_ids, recipe, show=False).tokens
    return about(estimate(recipe, tokens if passes is None else round(tokens / recipe.epochs * passes)))


def quote(tenant_id: str, estimate_micro: int | None, *, device: bool) -> Price:
    """Return a price beside what the tenant's wallet has."""
    with unit_of_work() as uow:
        owed, balance = meters.unpaid(uow, tenant_id), billing.balance(uow, tenant_id)
    free = meter_training.rates().free
    needed = 0 if free else _first(estimate_micro, device) + owed
    return Price(
        free=free,
        estimate_micro=estimate_micro,
        owed_micro=owed,
        needed_micro=needed,
        balance_micro=balance,
        missing_micro=max(0, needed - balance),
    )


def require(uow: Session, tenant_id: str, estimate_micro: int | None, *, device: bool) -> None:
    """Take what earlier trainings were not paid, and see that the wallet covers one more.

    Raises InsufficientCredit saying what is needed, there and missing. Nothing is set aside: what is spent
    until then may lack in the end, and then the training is paused.
    """
    key = "machine.too_little_to_begin" if estimate_micro is None else "machine.too_little_to_start"
    needed = _first(estimate_micro, device)
    meter_training.settle_first(uow, tenant_id, lambda: meter_training.lacking(uow, tenant_id, needed, key))


def _first(estimate_micro: int | None, device: bool) -> int:
    if estimate_micro is not None:
        return estimate_micro
    return meter_training.cost_of(meter_training.AHEAD, device=device)
