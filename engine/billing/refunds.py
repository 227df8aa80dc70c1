"""Giving back what a call cost, in full or in part."""

from datetime import datetime

from sqlalchemy.orm import Session

from engine.billing import repository, repository_cash
from engine.billing.booking import PLATFORM, Movement, book, booked_before
from engine.billing.holds import check_key
from engine.billing.models import ReceiptRow, RefundRow
from engine.billing.schemas import Receipt, Refund, digest_of
from engine.kit.clock import now
from engine.kit.errors import BadInput, NotFound
from engine.kit.ids import new_id
from engine.kit.money import format_credits, split

LONGEST_REASON = 500


def refund(
    uow: Session, *, receipt_id: str, amount_micro: int | None, key: str, by_id: str, reason: str
) -> Refund:
    """Give credits back on a receipt, once per `key`; None means all that was not given back before.

    Developer and platform give back what they got: of all refunds on a receipt together the developer gives
    80%, rounded down, so that a full refund mirrors the charge to the micro-credit. The developer's earnings
    may go below zero when they were paid out meanwhile. Raises NotFound for an unknown receipt,
    BadInput naming `amount` beyond what is left or `reason` without words, Conflict for a key that was used
    for something else.
    """
    check_key(key)
    reason = " ".join(reason.split())
    if not 1 <= len(reason) <= LONGEST_REASON:
        raise BadInput("billing.refund_reason", field="reason", most=LONGEST_REASON)
    found = _found(uow, receipt_id)
    # The hold's row is the lock of everything that happens to a call.
    repository.lock_holds(uow, [found.hold_id])
    scoped, digest = f"refund:{found.id}:{key}", digest_of(amount_micro, by_id, reason)
    earlier = repository.refunds(uow, [found.id])
    if (movement_id := booked_before(uow, scoped, digest)) is not None:
        return next(Refund.model_validate(row) for row in earlier if row.transaction_id == movement_id)
    given = sum(row.amount_micro for row in earlier)
    left = found.charged_micro - given
    amount = left if amount_micro is None else amount_micro
    if not 0 < amount <= left:
        raise BadInput("billing.refund_amount", field="amount", left=format_credits(left))
    developer = split(given + amount)[0] - sum(row.developer_micro for row in earlier)
    repository.lock_wallets(uow, [found.tenant_id])
    legs = (
        ((found.tenant_id, "wallet"), amount),
        ((found.developer_tenant_id or PLATFORM, "earnings"), -developer),
        ((PLATFORM, "revenue"), developer - amount),
    )
    meta = {"receipt_id": found.id, "hold_id": found.hold_id, "by": by_id, "reason": reason}
    at = now()
    [movement_id] = book(
        uow,
        [Movement(tenant_id=found.tenant_id, key=scoped, digest=digest, kind="refund", legs=legs, meta=meta)],
        at=at,
    )
    row = RefundRow(
        id=new_id("rfd"),
        receipt_id=found.id,
        transaction_id=movement_id,
        tenant_id=found.tenant_id,
        amount_micro=amount,
        developer_micro=developer,
        platform_micro=amount - developer,
        reason=reason,
        by_id=by_id,
        created_at=at,
    )
    repository.add_refund(uow, row)
    return Refund.model_validate(row)


def find(uow: Session, receipt_id: str) -> Receipt:
    """Return a receipt of any tenant, by its own id or its hold's. Raises NotFound."""
    return Receipt.model_validate(_found(uow, receipt_id))


def _found(uow: Session, receipt_id: str) -> ReceiptRow:
    row = repository.receipt(uow, receipt_id) if receipt_id.isprintable() else None
    if row is None:
        raise NotFound("billing.unknown_receipt", field="receipt", id=receipt_id[:40])
    return row


def refunds(uow: Session, receipt_ids: list[str]) -> list[Refund]:
    """Return the refunds on receipts, oldest first."""
    return [Refund.model_validate(row) for row in repository.refunds(uow, receipt_ids)]


def of_tenant(
    uow: Session, tenant_id: str, since: datetime, limit: int = 200
) -> list[tuple[Refund, Receipt]]:
    """Return a tenant's refunds since a moment, each with its receipt, newest first."""
    return [
        (Refund.model_validate(refund), Receipt.model_validate(receipt))
        for refund, receipt in repository_cash.refunds_of(uow, tenant_id, since, limit)
    ]
