"""Earnings on their way to whoever earned them: asked for by a developer, decided by an operator."""

from dataclasses import dataclass

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.billing import payouts
from engine.billing import service as billing
from engine.billing.schemas import Payout
from engine.kit.database import unit_of_work
from engine.kit.money import parse_credits
from engine.kit.settings import settings


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a tenant's earnings are now: to be asked for, asked for, and paid, in micro-credits."""

    available_micro: int
    pending_micro: int
    paid_micro: int
    minimum_micro: int
    payouts: list[Payout]


def standing(person: Person) -> Standing:
    """Return what can be paid out to the developer's tenant, and its payouts, newest first."""
    require(person, "developer")
    with unit_of_work() as uow:
        return Standing(
            available_micro=billing.earnings(uow, person.tenant_id),
            pending_micro=payouts.pending(uow, person.tenant_id),
            paid_micro=payouts.paid_out(uow, person.tenant_id),
            minimum_micro=settings().payout_minimum,
            payouts=payouts.listing(uow, person.tenant_id),
        )


def request(person: Person, amount: str, destination: str, key: str) -> Payout:
    """Ask for earnings; `key` makes a repeated click count once. Raises what `payouts.request` raises."""
    require(person, "developer")
    amount_micro = parse_credits(amount)
    with unit_of_work() as uow:
        return payouts.request(
            uow,
            tenant_id=person.tenant_id,
            person_id=person.id,
            amount_micro=amount_micro,
            minimum_micro=settings().payout_minimum,
            destination=destination,
            key=key,
        )


def cancel(person: Person, payout_id: str) -> Payout:
    """Take a request back before it is approved. Raises NotFound for another tenant's, Conflict."""
    require(person, "developer")
    with unit_of_work() as uow:
        return payouts.cancel(uow, payout_id, tenant_id=person.tenant_id, by_id=person.id)


def of_all(person: Person, open_only: bool = True) -> list[tuple[Payout, str, str]]:
    """Return payouts with the names of tenant and person, newest first, for operators."""
    require(person, "operator")
    with unit_of_work() as uow:
        found = payouts.of_all(uow, open_only=open_only)
        tenants = {tenant.id: tenant.name for tenant in accounts.tenants(uow)}
        names = accounts.names(uow, {payout.person_id for payout in found})
    return [(payout, tenants.get(payout.tenant_id, ""), names.get(payout.person_id, "")) for payout in found]


def approve(person: Person, payout_id: str) -> Payout:
    """Say that a request will be paid, for operators. Raises NotFound, Conflict."""
    require(person, "operator")
    with unit_of_work() as uow:
        return payouts.approve(uow, payout_id, by_id=person.id)


def reject(person: Person, payout_id: str, reason: str) -> Payout:
    """Give a request's credits back to the earnings, for operators. Raises NotFound, Conflict, BadInput."""
    require(person, "operator")
    with unit_of_work() as uow:
        return payouts.reject(uow, payout_id, by_id=person.id, reason=reason)


def pay(person: Person, payout_id: str, reference: str) -> Payout:
    """Note that an approved payout was paid, for operators. Raises NotFound, Conflict, BadInput."""
    require(person, "operator")
    with unit_of_work() as uow:
        return payouts.pay(uow, payout_id, by_id=person.id, reference=reference)
