"""Money in, and where it went: the wallet of the person's tenant."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.billing import refunds as given_back
from engine.billing import service as billing
from engine.billing import top_ups
from engine.billing.schemas import Receipt, Refund
from engine.kit.database import unit_of_work
from engine.kit.errors import Forbidden
from engine.kit.money import parse_credits
from engine.kit.settings import settings


@dataclass(frozen=True, kw_only=True)
class Wallet:
    """What a tenant can spend, what open calls hold, and what it owes, in micro-credits."""

    balance_micro: int
    held_micro: int
    owed_micro: int


def top_up(person: Person, amount: str, key: str) -> Wallet:
    """Add play credits to the wallet; `key` makes a repeated click count once.

    This exists only while no payment provider is connected and `MBE_PLAY_CREDITS` allows it. Raises
    Forbidden otherwise, and BadInput for zero or an amount that is none.
    """
    if not settings().free_credits:
        raise Forbidden("billing.no_play_credits")
    amount_micro = parse_credits(amount)
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=person.tenant_id, amount_micro=amount_micro, key=key, by=person.id)
    return wallet(person)


def wallet(person: Person) -> Wallet:
    """Return balance and holds of the person's tenant."""
    with unit_of_work() as uow:
        return Wallet(
            balance_micro=billing.balance(uow, person.tenant_id),
            held_micro=billing.held(uow, person.tenant_id),
            owed_micro=top_ups.owed(uow, person.tenant_id),
        )


def receipts(person: Person, limit: int = 50) -> list[Receipt]:
    """Return the tenant's receipts, newest first."""
    with unit_of_work() as uow:
        return billing.receipts(uow, person.tenant_id, limit)


def receipt(person: Person, receipt_id: str) -> Receipt:
    """Return one receipt of the tenant. Raises NotFound."""
    with unit_of_work() as uow:
        return billing.receipt(uow, receipt_id, person.tenant_id)


def refunds(person: Person, receipts: Sequence[Receipt]) -> dict[str, list[Refund]]:
    """Return what was given back on receipts of the tenant, by receipt, oldest first."""
    mine = [one.id for one in receipts if one.tenant_id == person.tenant_id]
    found: defaultdict[str, list[Refund]] = defaultdict(list)
    with unit_of_work() as uow:
        for refund in given_back.refunds(uow, mine):
            found[refund.receipt_id].append(refund)
    return dict(found)


def refunds_since(person: Person, since: datetime) -> list[tuple[Refund, Receipt]]:
    """Return what the tenant was given back since a moment, each with its receipt, newest first."""
    with unit_of_work() as uow:
        return given_back.of_tenant(uow, person.tenant_id, since)


def ledger_sum(person: Person) -> int:
    """Return the sum over the whole ledger, which is zero unless something is badly wrong."""
    require(person, "stakeholder", "operator", "developer", "consumer")
    with unit_of_work() as uow:
        return billing.ledger_sum(uow)
