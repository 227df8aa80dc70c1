"""Machine time and its credits: each attempt at a job has a meter, charged while it runs and at its end.

What a meter costs is worked out from all that it has measured so far, and only what of that is not charged
yet is booked: whoever charges twice, or late, books nothing twice. The wallet pays as far as it goes, without
what its calls hold; the rest stands on the meter as unpaid.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from engine.billing import repository
from engine.billing import repository_meters as meters
from engine.billing.booking import PLATFORM, Movement, book
from engine.billing.models import Meter
from engine.billing.schemas import MeterView, Rates, digest_of
from engine.kit.clock import now


class Charged(NamedTuple):
    """What something cost in micro-credits: what was paid of it, and what was not."""

    paid: int
    unpaid: int


def start(
    uow: Session, *, key: str, tenant_id: str, work_id: str, subject: dict[str, Any], rates: Rates
) -> None:
    """Set up a meter at zero, once per `key`; what it measures costs `rates` for as long as it counts.

    `work_id` is what several meters have in common, such as the job of several attempts.
    """
    at = now()
    meters.add(
        uow,
        Meter(
            key=key,
            tenant_id=tenant_id,
            work_id=work_id,
            subject=subject,
            cpu_ms=0,
            gpu_ms=0,
            cpu_hour_micro=rates.cpu_hour_micro,
            gpu_hour_micro=rates.gpu_hour_micro,
            charged_micro=0,
            unpaid_micro=0,
            charges=0,
            state="running",
            created_at=at,
            updated_at=at,
        ),
    )


def charge(uow: Session, key: str, *, cpu_ms: int, gpu_ms: int, last: bool = False) -> MeterView | None:
    """Charge what was measured in all, in milliseconds, and return the meter; None for an unknown one.

    Less than was measured before changes nothing. With `last` the meter is closed; what comes even later is
    charged all the same.
    """
    row = next(iter(meters.locked(uow, [key])), None)
    if row is None:
        return None
    row.cpu_ms, row.gpu_ms = max(row.cpu_ms, cpu_ms), max(row.gpu_ms, gpu_ms)
    if last:
        row.state = "closed"
    _take(uow, row)
    return MeterView.model_validate(row)


def collect(uow: Session, tenant_id: str) -> int:
    """Charge what a tenant's meters were not paid, the oldest first; return what is still not paid."""
    owing = meters.locked_unpaid(uow, tenant_id)
    for row in owing:
        _take(uow, row)
    return sum(row.unpaid_micro for row in owing)


def unpaid(uow: Session, tenant_id: str) -> int:
    """Return what a tenant's meters were not paid."""
    return meters.unpaid(uow, tenant_id)


def charged(uow: Session, tenant_id: str, work_id: str) -> Charged:
    """Return what the meters of a tenant's work were charged."""
    return Charged(*meters.charged(uow, tenant_id, work_id))


def running(uow: Session) -> list[MeterView]:
    """Return the meters of all tenants that are not closed, the oldest first."""
    return [MeterView.model_validate(row) for row in meters.running(uow)]


def _take(uow: Session, row: Meter) -> None:
    """Book what a locked meter costs and was not charged yet, as far as the wallet has it."""
    at = now()
    due = row.rates.cost(row.cpu_ms, row.gpu_ms) - row.charged_micro
    paid = 0
    if due:
        wallet = repository.lock_wallets(uow, [row.tenant_id])[row.tenant_id]
        paid = min(due, max(0, wallet.balance - wallet.held))
    if paid:
        row.charges += 1
        book(uow, [_movement(row, paid)], at=at)
    row.charged_micro += paid
    row.unpaid_micro = due - paid
    row.updated_at = at
    uow.flush()


def _movement(row: Meter, paid: int) -> Movement:
    legs: Sequence[tuple[tuple[str, str], int]] = (
        ((row.tenant_id, "wallet"), -paid),
        ((PLATFORM, "revenue"), paid),
    )
    measured = {name: getattr(row, name) for name in ("cpu_ms", "gpu_ms", "cpu_hour_micro", "gpu_hour_micro")}
    return Movement(
        tenant_id=row.tenant_id,
        key=f"meter:{row.key}:{row.charges}",
        digest=digest_of(row.key, row.charges, paid, measured),
        kind="training",
        legs=legs,
        meta={**row.subject, "meter": row.key, **measured},
    )
