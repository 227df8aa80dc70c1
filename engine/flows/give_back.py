"""Refunds: an operator finds a receipt and gives credits back on it, in part or whole."""

from dataclasses import dataclass

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.billing import refunds
from engine.billing.schemas import Receipt, Refund
from engine.kit.database import unit_of_work
from engine.kit.money import parse_credits


@dataclass(frozen=True, kw_only=True)
class Found:
    """A receipt of any tenant, whose it is, and what was given back on it, oldest first."""

    receipt: Receipt
    tenant: str
    refunds: list[Refund]

    @property
    def left_micro(self) -> int:
        """What can still be given back."""
        return self.receipt.charged_micro - sum(refund.amount_micro for refund in self.refunds)


def find(person: Person, receipt_id: str) -> Found:
    """Return a receipt of any tenant by its id or its hold's, for operators. Raises NotFound."""
    require(person, "operator")
    with unit_of_work() as uow:
        receipt = refunds.find(uow, receipt_id.strip())
        tenants = {tenant.id: tenant.name for tenant in accounts.tenants(uow)}
        return Found(
            receipt=receipt,
            tenant=tenants.get(receipt.tenant_id, ""),
            refunds=refunds.refunds(uow, [receipt.id]),
        )


def refund(person: Person, receipt_id: str, amount: str, reason: str, key: str) -> Refund:
    """Give credits back on a receipt, for operators; no amount means all that is left.

    `key` makes a repeated click count once. Raises NotFound, BadInput naming `amount` or `reason`.
    """
    require(person, "operator")
    amount_micro = parse_credits(amount) if amount.strip() else None
    with unit_of_work() as uow:
        return refunds.refund(
            uow,
            receipt_id=receipt_id.strip(),
            amount_micro=amount_micro,
            key=key,
            by_id=person.id,
            reason=reason,
        )
