"""Credits that come into a wallet from outside, and credits that go back out of it."""

from typing import Any

from sqlalchemy.orm import Session

from engine.billing import repository
from engine.billing.booking import PLATFORM, Movement, book, booked_before
from engine.billing.holds import check_key
from engine.billing.schemas import EntryView, digest_of
from engine.kit.clock import now
from engine.kit.errors import BadInput
from engine.kit.money import CREDIT, format_credits

LIMIT = 10_000 * CREDIT
LONGEST_REASON = 500


def add(
    uow: Session, *, tenant_id: str, amount_micro: int, key: str, digest: str, meta: dict[str, Any]
) -> EntryView:
    """Add credits to a wallet once per `key`, among those of all tenants; return the wallet's entry.

    What the tenant owes is taken from them first; the entry is that of the debt if nothing is left. Raises
    BadInput naming `amount` for one that is not above zero or is over 10,000 credits, Conflict for a key
    that was used for something else.
    """
    check_amount(amount_micro)
    repository.lock_wallets(uow, [tenant_id])
    movement_id = booked_before(uow, key, digest)
    if movement_id is None:
        repaid = min(amount_micro, owed(uow, tenant_id))
        legs = (
            ((PLATFORM, "top_ups"), -amount_micro),
            ((tenant_id, "wallet"), amount_micro - repaid),
            ((tenant_id, "owed"), repaid),
        )
        move = Movement(tenant_id=tenant_id, key=key, digest=digest, kind="top_up", legs=legs, meta=meta)
        [movement_id] = book(uow, [move], at=now())
    entries = repository.entries(uow, tenant_id, limit=2, transaction_id=movement_id)
    return next((entry for entry in entries if entry.account == "wallet"), entries[0])


def check_amount(amount_micro: int) -> None:
    """Raise BadInput naming `amount` for what cannot be added at a time."""
    if amount_micro <= 0:
        raise BadInput("billing.top_up_zero", field="amount")
    if amount_micro > LIMIT:
        raise BadInput("billing.top_up_too_large", field="amount", most=format_credits(LIMIT, 0))


def check_reason(reason: str) -> str:
    """Return a reason without needless blanks. Raises BadInput naming `reason` for one without words."""
    clean = " ".join(reason.split())
    if not 1 <= len(clean) <= LONGEST_REASON:
        raise BadInput("cash.reason", field="reason", most=LONGEST_REASON)
    return clean


def by_operator(
    uow: Session, *, tenant_id: str, amount_micro: int, key: str, by_id: str, reason: str
) -> EntryView:
    """Add credits to any tenant's wallet, once per `key` of this tenant; who and why stand in the ledger."""
    check_key(key)
    reason = check_reason(reason)
    return add(
        uow,
        tenant_id=tenant_id,
        amount_micro=amount_micro,
        key=f"top_up:{tenant_id}:operator:{key}",
        digest=digest_of(amount_micro, by_id, reason),
        meta={"source": "operator", "by": by_id, "reason": reason},
    )


def owed(uow: Session, tenant_id: str) -> int:
    """Return what a tenant owes: what was to be taken back and was spent already."""
    return -repository.balance(uow, tenant_id, "owed")


def take_back(
    uow: Session, *, tenant_id: str, amount_micro: int, key: str, digest: str, meta: dict[str, Any]
) -> str:
    """Take credits out of a wallet again, as after a payment that was reversed; return the movement's id.

    What running calls hold stays; what the wallet lacks is owed, and taken from later top-ups.
    """
    wallet = repository.lock_wallets(uow, [tenant_id])[tenant_id]
    if (movement_id := booked_before(uow, key, digest)) is not None:
        return movement_id
    taken = min(amount_micro, max(0, wallet.balance - wallet.held))
    legs = (
        ((PLATFORM, "top_ups"), amount_micro),
        ((tenant_id, "wallet"), -taken),
        ((tenant_id, "owed"), taken - amount_micro),
    )
    move = Movement(tenant_id=tenant_id, key=key, digest=digest, kind="reversal", legs=legs, meta=meta)
    return book(uow, [move], at=now())[0]
