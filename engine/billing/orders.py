"""Orders of credits, and what becomes of them when the payment provider tells of payments."""

from sqlalchemy.orm import Session

from engine.billing import repository, repository_cash, top_ups
from engine.billing.holds import check_key
from engine.billing.models import OrderRow, PaymentEventRow
from engine.billing.payments import Checkout
from engine.billing.schemas import Order, PaymentEvent
from engine.kit.clock import now
from engine.kit.errors import Conflict, NotFound
from engine.kit.ids import new_id
from engine.kit.money import CREDIT


def place(
    uow: Session,
    *,
    tenant_id: str,
    person_id: str,
    amount_micro: int,
    minor_per_credit: int,
    currency: str,
    key: str,
) -> Order:
    """Order credits, once per `key` of this tenant. A started smallest unit of the currency is a whole one.

    Raises BadInput naming `amount`, Conflict for a key that was used for another amount.
    """
    check_key(key)
    top_ups.check_amount(amount_micro)
    scoped = f"order:{tenant_id}:{key}"
    repository.lock_wallets(uow, [tenant_id])
    row = repository_cash.order_by_key(uow, scoped)
    if row is None:
        row = OrderRow(
            id=new_id("ord"),
            tenant_id=tenant_id,
            person_id=person_id,
            key=scoped,
            amount_micro=amount_micro,
            amount_minor=-(-amount_micro * minor_per_credit // CREDIT),
            currency=currency,
            reversed_minor=0,
            state="open",
            created_at=now(),
        )
        repository_cash.add(uow, row)
    if (row.amount_micro, row.person_id) != (amount_micro, person_id):
        raise Conflict("billing.key_reused")
    return Order.model_validate(row)


def started(uow: Session, order_id: str, checkout: Checkout) -> Order:
    """Note where an order is paid. Raises Conflict when the provider calls it by another name than before."""
    row = repository_cash.lock_order(uow, order_id)
    if row is None:
        raise NotFound("cash.no_order", id=order_id[:40])
    if row.reference not in (None, checkout.reference):
        raise Conflict("cash.other_payment", id=row.id)
    row.reference, row.url = checkout.reference, checkout.url
    repository_cash.add(uow, row)
    return Order.model_validate(row)


def listing(uow: Session, tenant_id: str, limit: int = 20) -> list[Order]:
    """Return a tenant's orders, newest first."""
    return [Order.model_validate(row) for row in repository_cash.orders(uow, tenant_id, limit)]


def receive(uow: Session, event: PaymentEvent) -> Order:
    """Do what a provider's event asks for, once, and return its order.

    A payment fills the wallet with what was ordered. A reversal takes its share back, and what the wallet
    lacks is owed. Raises NotFound for an unknown order, Conflict for an amount, currency or reference that is
    not the order's, for a reversal beyond what was paid or before it, and for an id that told something else.
    """
    row = repository_cash.lock_order(uow, event.order_id)
    if row is None:
        raise NotFound("cash.no_order", id=event.order_id[:40])
    if (seen := repository_cash.payment_event(uow, event.id)) is not None:
        if seen.digest != event.digest:
            raise Conflict("billing.key_reused")
        return Order.model_validate(row)
    if event.currency != row.currency or row.reference not in (None, event.reference):
        raise Conflict("cash.other_payment", id=row.id)
    moved = _paid(uow, row, event) if event.kind == "paid" else _reversed(uow, row, event)
    note = PaymentEventRow(
        id=event.id, order_id=row.id, kind=event.kind, digest=event.digest, transaction_id=moved, at=now()
    )
    repository_cash.add(uow, note)
    return Order.model_validate(row)


def _paid(uow: Session, row: OrderRow, event: PaymentEvent) -> str | None:
    if event.amount_minor != row.amount_minor:
        raise Conflict("cash.other_payment", id=row.id)
    if row.state != "open":
        return None  # told before, under another id
    entry = top_ups.add(
        uow,
        tenant_id=row.tenant_id,
        amount_micro=row.amount_micro,
        key=f"payment:{event.id}",
        digest=event.digest,
        meta=_meta(row, event),
    )
    row.state, row.paid_at, row.reference = "paid", now(), event.reference
    return entry.transaction_id


def _reversed(uow: Session, row: OrderRow, event: PaymentEvent) -> str | None:
    if row.state == "open":
        raise Conflict("cash.not_paid", id=row.id)
    total = row.reversed_minor + event.amount_minor
    if total > row.amount_minor:
        raise Conflict("cash.other_payment", id=row.id)
    # Worked out from the sums, so that parts that make the whole take back the whole.
    before, after = (row.amount_micro * minor // row.amount_minor for minor in (row.reversed_minor, total))
    moved = None
    if after > before:
        moved = top_ups.take_back(
            uow,
            tenant_id=row.tenant_id,
            amount_micro=after - before,
            key=f"payment:{event.id}",
            digest=event.digest,
            meta=_meta(row, event),
        )
    row.reversed_minor = total
    if total == row.amount_minor:
        row.state = "reversed"
    return moved


def _meta(row: OrderRow, event: PaymentEvent) -> dict[str, str]:
    return {
        "source": "payment",
        "by": row.person_id,
        "order_id": row.id,
        "event_id": event.id,
        "reference": event.reference,
    }
