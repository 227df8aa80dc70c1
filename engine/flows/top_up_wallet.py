"""Money in, and where it went: the wallet of the person's tenant."""

from dataclasses import dataclass

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.billing import service as billing
from engine.billing.schemas import Receipt
from engine.kit.database import unit_of_work
from engine.kit.errors import Forbidden
from engine.kit.money import parse_credits
from engine.kit.settings import settings


@dataclass(frozen=True, kw_only=True)
class Wallet:
    """What a tenant can spend and what open calls hold, in micro-credits."""

    balance_micro: int
    held_micro: int


def top_up(person: Person, amount: str, key: str) -> Wallet:
    """Add play credits to the wallet; `key` makes a repeated click count once.

    No payment provider is connected, so this exists only while `MBE_PLAY_CREDITS` allows it. Raises
    Forbidden otherwise, and BadInput for zero or an amount that is none.
    """
    if not settings().play_credits:
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
        )


def receipts(person: Person, limit: int = 50) -> list[Receipt]:
    """Return the tenant's receipts, newest first."""
    with unit_of_work() as uow:
        return billing.receipts(uow, person.tenant_id, limit)


def receipt(person: Person, receipt_id: str) -> Receipt:
    """Return one receipt of the tenant. Raises NotFound."""
    with unit_of_work() as uow:
        return billing.receipt(uow, receipt_id, person.tenant_id)


def ledger_sum(person: Person) -> int:
    """Return the sum over the whole ledger, which is zero unless something is badly wrong."""
    require(person, "stakeholder", "operator", "developer", "consumer")
    with unit_of_work() as uow:
        return billing.ledger_sum(uow)
