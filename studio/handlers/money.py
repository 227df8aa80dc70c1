"""The operators' page of money: whether the books agree, payouts, credits, codes and refunds."""

from dataclasses import dataclass

from engine.accounts.schemas import Person
from engine.billing.schemas import Payout
from engine.flows import fill_wallet, give_back, pay_out, reconcile, schedule_jobs
from engine.kit.errors import BadInput
from engine.kit.messages import t
from engine.kit.money import format_credits
from studio.views import money as views


def books(person: Person, language: str) -> str:
    """Return whether usage, receipts and ledger agreed last. Raises Forbidden for others than operators."""
    return views.books(reconcile.latest(person), language)


def compare(person: Person, language: str) -> str:
    """Compare everything now and return what was found."""
    return views.books(reconcile.check(person), language)


@dataclass(frozen=True)
class Payouts:
    """The payouts that wait for somebody, the last ones, and what can be chosen: (words, id)."""

    table: str
    choices: list[tuple[str, str]]


def payouts(person: Person, language: str) -> Payouts:
    """Return payouts of all tenants. Raises Forbidden for others than operators."""
    found = pay_out.of_all(person, open_only=False)
    waiting = [each for each in found if each[0].state in ("requested", "approved")]
    return Payouts(
        table=views.payouts(found, language),
        choices=[(views.payout_words(payout, name, language), payout.id) for payout, name, _ in waiting],
    )


def decide(person: Person, decision: str, payout_id: str | None, note: str, language: str) -> str:
    """Approve, pay or reject a payout and say so; `note` is the reference or the reason.

    Raises BadInput naming `payout` or `note`, NotFound, Conflict.
    """
    if not payout_id:
        raise BadInput("cash.choose_payout", field="payout")
    try:
        done = _decided(person, decision, payout_id, note or "")
    except BadInput as error:
        raise BadInput(error.key, field="note", **error.facts) from error
    amount = format_credits(done.amount_micro)
    return t(f"cash.payout_{done.state}_done", language, amount=amount)


def _decided(person: Person, decision: str, payout_id: str, note: str) -> Payout:
    if decision == "approve":
        return pay_out.approve(person, payout_id)
    if decision == "pay":
        return pay_out.pay(person, payout_id, note)
    return pay_out.reject(person, payout_id, note)


def tenants(person: Person) -> list[tuple[str, str]]:
    """Return the tenants that can be chosen: (name, id)."""
    return [(tenant.name, tenant.id) for tenant, _ in schedule_jobs.tenants(person)]


def top_up(person: Person, tenant_id: str | None, amount: str, reason: str, key: str, language: str) -> str:
    """Add credits to a tenant's wallet and say so. Raises BadInput naming the field."""
    if not tenant_id:
        raise BadInput("studio.choose_tenant", field="tenant")
    added = fill_wallet.top_up_tenant(person, tenant_id, amount or "", reason or "", key)
    return t("marketplace.added", language, amount=format_credits(added.amount_micro))


def make_codes(person: Person, count: float | None, amount: str, days: float | None) -> list[str]:
    """Make codes. Raises BadInput naming the field."""
    return fill_wallet.make_codes(person, int(count or 0), amount or "", int(days or 0))


def codes(person: Person, language: str) -> str:
    """Return what was made of codes."""
    return views.codes(fill_wallet.code_batches(person), language)


@dataclass(frozen=True)
class Receipt:
    """A receipt and its refunds; `left` is what can still be given back, as words."""

    html: str
    left: str


def receipt(person: Person, receipt_id: str, language: str) -> Receipt:
    """Return a receipt of any tenant. Raises NotFound naming `receipt`, BadInput for no number."""
    if not (receipt_id or "").strip():
        raise BadInput("cash.choose_receipt", field="receipt")
    found = give_back.find(person, receipt_id)
    return Receipt(
        html=views.receipt(found, language),
        left=format_credits(found.left_micro) if found.left_micro else "",
    )


def refund(person: Person, receipt_id: str, amount: str, reason: str, key: str, language: str) -> str:
    """Give credits back on a receipt and say so. Raises BadInput naming `amount` or `reason`."""
    done = give_back.refund(person, receipt_id, amount or "", reason or "", key)
    return t("cash.refund_done", language, amount=format_credits(done.amount_micro))
