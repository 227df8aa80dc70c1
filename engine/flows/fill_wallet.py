"""Credits that cost something: from an operator, for a code, or paid for through the payment provider."""

from collections.abc import Mapping

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.billing import codes, orders, payments, top_ups
from engine.billing.schemas import CodeBatch, EntryView, Order
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, EngineError, NotFound
from engine.kit.logs import logger
from engine.kit.money import parse_credits
from engine.kit.settings import settings

log = logger(__name__)


def top_up_tenant(person: Person, tenant_id: str, amount: str, reason: str, key: str) -> EntryView:
    """Add credits to any tenant's wallet, for operators; who and why stand in the ledger.

    `key` makes a repeated click count once. Raises NotFound naming `tenant`, BadInput naming `amount` or
    `reason`.
    """
    require(person, "operator")
    amount_micro = parse_credits(amount)
    with unit_of_work() as uow:
        if tenant_id not in {tenant.id for tenant in accounts.tenants(uow)}:
            raise NotFound("accounts.no_tenant", field="tenant")
        return top_ups.by_operator(
            uow, tenant_id=tenant_id, amount_micro=amount_micro, key=key, by_id=person.id, reason=reason
        )


def make_codes(person: Person, count: int, amount: str, days: int) -> list[str]:
    """Make codes that can be redeemed for credits, for operators; they are returned this once.

    Raises BadInput naming `count`, `amount` or `days`.
    """
    require(person, "operator")
    amount_micro = parse_credits(amount)
    with unit_of_work() as uow:
        made = codes.make(uow, count=count, amount_micro=amount_micro, days=days, by_id=person.id)
    log.info("codes made", by=person.id, count=count, amount_micro=amount_micro)
    return made


def code_batches(person: Person) -> list[CodeBatch]:
    """Return what was made of codes, newest first, for operators."""
    require(person, "operator")
    with unit_of_work() as uow:
        return codes.batches(uow)


def redeem(person: Person, code: str) -> EntryView:
    """Add a code's credits to the wallet. Raises what `codes.redeem` names as refusals."""
    with unit_of_work() as uow:
        told = codes.redeem(uow, tenant_id=person.tenant_id, person_id=person.id, code=code)
    # Raised only now, when the wrong try is kept.
    if isinstance(told, EngineError):
        raise told
    return told


def buy(person: Person, amount: str, key: str) -> Order:
    """Order credits and begin their payment; `url` in the answer is where it goes on.

    `key` makes a repeated click one order, also after the provider has failed. Raises NotFound where no
    provider is connected, BadInput naming `amount`, UpstreamFailed when the provider does not answer.
    """
    provider = payments.provider()
    if provider is None:
        raise NotFound("cash.no_payments")
    amount_micro = parse_credits(amount)
    with unit_of_work() as uow:
        order = orders.place(
            uow,
            tenant_id=person.tenant_id,
            person_id=person.id,
            amount_micro=amount_micro,
            minor_per_credit=settings().payment_minor,
            currency=settings().payment_currency,
            key=key,
        )
    if order.url is not None or order.state != "open":
        return order
    checkout = provider.start(order, f"{settings().web_url}/market/wallet")
    with unit_of_work() as uow:
        return orders.started(uow, order.id, checkout)


def my_orders(person: Person) -> list[Order]:
    """Return the tenant's orders, newest first."""
    with unit_of_work() as uow:
        return orders.listing(uow, person.tenant_id)


def receive_payment(headers: Mapping[str, str], body: bytes) -> Order | None:
    """Do what the payment provider tells, once; None for what does not matter here.

    Nobody is signed in: the signature says who speaks. Raises NotFound where no provider is connected, and
    what `verify` and `orders.receive` raise.
    """
    provider = payments.provider()
    if provider is None:
        raise NotFound("cash.no_payments")
    event = provider.verify(headers, body, now())
    if event is None:
        return None
    if not event.id.isprintable():
        raise BadInput("cash.bad_event", field="id", why="not printable")
    try:
        with unit_of_work() as uow:
            order = orders.receive(uow, event)
    except EngineError as error:
        log.error("a payment event was refused", code=error.key, order=event.order_id, event_id=event.id)
        raise
    log.info("payment event", kind=event.kind, order=order.id, event_id=event.id, state=order.state)
    return order
