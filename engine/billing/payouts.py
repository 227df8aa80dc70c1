"""Earnings that are paid out: asked for by a developer, decided by an operator.

The credits leave `earnings` with the request and lie in `payouts_pending` until they are paid, and so leave
the platform, or go back. Each step happens once; who did it, when and why stays with the payout.
"""

from sqlalchemy.orm import Session

from engine.billing import repository, repository_cash
from engine.billing.booking import PLATFORM, Movement, book
from engine.billing.holds import check_key
from engine.billing.models import PayoutRow
from engine.billing.repository import AccountKey
from engine.billing.schemas import Payout, PayoutState, digest_of
from engine.billing.top_ups import check_reason
from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict, InsufficientCredit, NotFound
from engine.kit.ids import new_id
from engine.kit.money import LARGEST, format_credits

LONGEST = 200
OPEN: tuple[PayoutState, ...] = ("requested", "approved")
STEPS: dict[PayoutState, tuple[PayoutState, ...]] = {
    "approved": ("requested",),
    "paid": ("approved",),
    "rejected": ("requested", "approved"),
    "cancelled": ("requested",),
}
"""Each state, and those that it can follow."""


def request(
    uow: Session,
    *,
    tenant_id: str,
    person_id: str,
    amount_micro: int,
    minimum_micro: int,
    destination: str,
    key: str,
) -> Payout:
    """Ask for earnings, once per `key` of this tenant; they are set aside at once.

    Two requests at the same moment queue at the tenant's wallet: the second sees what the first left.
    Raises BadInput naming `amount` below the minimum or `destination` without words, InsufficientCredit
    beyond what was earned, Conflict for a key that was used for something else.
    """
    check_key(key)
    destination = " ".join(destination.split())
    if not 1 <= len(destination) <= LONGEST:
        raise BadInput("cash.destination", field="destination", most=LONGEST)
    if not max(1, minimum_micro) <= amount_micro <= LARGEST:
        raise BadInput("cash.payout_minimum", field="amount", least=format_credits(minimum_micro))
    scoped, digest = f"payout:{tenant_id}:{key}", digest_of(amount_micro, person_id, destination)
    repository.lock_wallets(uow, [tenant_id])
    if (known := repository_cash.payout_by_key(uow, scoped)) is not None:
        if known.digest != digest:
            raise Conflict("billing.key_reused")
        return Payout.model_validate(known)
    earned = repository.balance(uow, tenant_id, "earnings")
    if earned < amount_micro:
        left = format_credits(max(0, earned))
        raise InsufficientCredit("cash.payout_too_much", field="amount", left=left)
    at = now()
    row = PayoutRow(
        id=new_id("pay"),
        tenant_id=tenant_id,
        person_id=person_id,
        key=scoped,
        digest=digest,
        amount_micro=amount_micro,
        destination=destination,
        state="requested",
        history=[{"state": "requested", "at": at.isoformat(), "by": person_id, "note": ""}],
        created_at=at,
    )
    repository_cash.add(uow, row)
    _move(uow, row, "requested", (tenant_id, "earnings"), (tenant_id, "payouts_pending"), person_id)
    return Payout.model_validate(row)


def cancel(uow: Session, payout_id: str, *, tenant_id: str, by_id: str) -> Payout:
    """Take a request of the tenant's own back before it is approved. Raises NotFound, Conflict."""
    row = _locked(uow, payout_id, tenant_id)
    return _give_back(uow, row, "cancelled", by_id, "")


def approve(uow: Session, payout_id: str, *, by_id: str) -> Payout:
    """Say that a request will be paid. Raises NotFound, Conflict."""
    row = _locked(uow, payout_id)
    return _step(uow, row, "approved", by_id, "") if row.state != "approved" else Payout.model_validate(row)


def reject(uow: Session, payout_id: str, *, by_id: str, reason: str) -> Payout:
    """Give a request's credits back to the earnings. Raises NotFound, Conflict, BadInput for no reason."""
    reason = check_reason(reason)
    return _give_back(uow, _locked(uow, payout_id), "rejected", by_id, reason)


def pay(uow: Session, payout_id: str, *, by_id: str, reference: str) -> Payout:
    """Note that an approved payout was paid, under the transfer's own reference.

    Noting it again with the same reference changes nothing. Raises NotFound, Conflict, BadInput naming
    `reference`.
    """
    reference = " ".join(reference.split())
    if not 1 <= len(reference) <= LONGEST:
        raise BadInput("cash.reference", field="reference", most=LONGEST)
    row = _locked(uow, payout_id)
    if (row.state, row.reference) == ("paid", reference):
        return Payout.model_validate(row)
    row.reference = reference if row.state == "approved" else row.reference
    paid = _step(uow, row, "paid", by_id, reference)
    _move(uow, row, "paid", (row.tenant_id, "payouts_pending"), (PLATFORM, "paid_out"), by_id)
    return paid


def listing(uow: Session, tenant_id: str, limit: int = 50) -> list[Payout]:
    """Return a tenant's payouts, newest first."""
    found = repository_cash.payouts(uow, limit, tenant_id=tenant_id)
    return [Payout.model_validate(row) for row in found]


def of_all(uow: Session, *, open_only: bool, limit: int = 200) -> list[Payout]:
    """Return payouts of all tenants, newest first; only those that wait for somebody if so asked."""
    states = OPEN if open_only else ()
    return [Payout.model_validate(row) for row in repository_cash.payouts(uow, limit, states=states)]


def pending(uow: Session, tenant_id: str) -> int:
    """Return what a tenant asked for and was not paid yet."""
    return repository.balance(uow, tenant_id, "payouts_pending")


def paid_out(uow: Session, tenant_id: str) -> int:
    """Return what a tenant was paid in all."""
    return repository_cash.paid_out(uow, tenant_id)


def _locked(uow: Session, payout_id: str, tenant_id: str | None = None) -> PayoutRow:
    row = repository_cash.lock_payout(uow, payout_id, tenant_id) if payout_id.isprintable() else None
    if row is None:
        raise NotFound("cash.no_payout", id=payout_id[:40])
    return row


def _step(uow: Session, row: PayoutRow, state: PayoutState, by_id: str, note: str) -> Payout:
    if row.state not in STEPS[state]:
        raise Conflict(f"cash.payout_is_{row.state}")
    row.state = state
    row.history = [*row.history, {"state": state, "at": now().isoformat(), "by": by_id, "note": note}]
    repository_cash.add(uow, row)
    return Payout.model_validate(row)


def _give_back(uow: Session, row: PayoutRow, state: PayoutState, by_id: str, note: str) -> Payout:
    if row.state == state:
        return Payout.model_validate(row)
    ended = _step(uow, row, state, by_id, note)
    _move(uow, row, state, (row.tenant_id, "payouts_pending"), (row.tenant_id, "earnings"), by_id)
    return ended


def _move(
    uow: Session, row: PayoutRow, step: str, source: AccountKey, target: AccountKey, by_id: str
) -> None:
    move = Movement(
        tenant_id=row.tenant_id,
        key=f"payout:{row.id}:{step}",
        digest=digest_of(row.id, step),
        kind="payout",
        legs=((source, -row.amount_micro), (target, row.amount_micro)),
        meta={"payout_id": row.id, "step": step, "by": by_id, "reference": row.reference},
    )
    book(uow, [move], at=now())
