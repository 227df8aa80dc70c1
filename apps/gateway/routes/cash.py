"""Money that comes in and goes out: codes, orders and payouts of one's own; what operators do for all."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from apps.gateway.identity import Caller
from apps.gateway.replies import HeaderKey, either
from engine.billing.reconciliation import Reconciliation
from engine.billing.schemas import EntryView, Order, Payout, Receipt, Refund
from engine.flows import fill_wallet, give_back, pay_out, reconcile

router = APIRouter(prefix="/api", tags=["money"])

Key = Field(
    None,
    min_length=1,
    max_length=100,
    description="Repeating it does nothing again; the header Idempotency-Key may stand in its place.",
)


class Code(BaseModel):
    """A code as it was given out; case, blanks and dashes do not matter."""

    code: str = Field(max_length=100)


class Purchase(BaseModel):
    """How many credits to buy."""

    amount: str
    key: str | None = Key


class PayoutRequest(BaseModel):
    """How many credits of the earnings to pay out, and where to."""

    amount: str
    destination: str
    key: str | None = Key


class Because(BaseModel):
    """Why an operator does something."""

    reason: str


class Reference(BaseModel):
    """What a transfer is called where it was made."""

    reference: str


class TenantTopUp(BaseModel):
    """Credits for a tenant, and why."""

    tenant_id: str
    amount: str
    reason: str
    key: str | None = Key


class Codes(BaseModel):
    """How many codes of what amount, and for how many days."""

    count: int
    amount: str
    days: int


class GiveBack(BaseModel):
    """How many credits to give back on a receipt, all that is left without an amount; and why."""

    amount: str = ""
    reason: str
    key: str | None = Key


@router.post("/wallet/redeem")
def redeem(given: Code, caller: Caller) -> EntryView:
    """Add a code's credits to the wallet."""
    return fill_wallet.redeem(caller, given.code)


@router.post("/wallet/orders")
def buy(given: Purchase, caller: Caller, header: HeaderKey) -> Order:
    """Order credits; the order's `url` is where they are paid."""
    return fill_wallet.buy(caller, given.amount, either(given.key, header))


@router.get("/wallet/orders")
def orders(caller: Caller) -> list[Order]:
    """List orders, newest first."""
    return fill_wallet.my_orders(caller)


@router.get("/payouts")
def payouts(caller: Caller) -> dict[str, object]:
    """Return what can be paid out, what is on its way, and the payouts, newest first."""
    now = pay_out.standing(caller)
    return {
        "available_micro": now.available_micro,
        "pending_micro": now.pending_micro,
        "paid_micro": now.paid_micro,
        "minimum_micro": now.minimum_micro,
        "payouts": now.payouts,
    }


@router.post("/payouts")
def request_payout(given: PayoutRequest, caller: Caller, header: HeaderKey) -> Payout:
    """Ask for earnings to be paid out."""
    return pay_out.request(caller, given.amount, given.destination, either(given.key, header))


@router.post("/payouts/{payout_id}/cancel")
def cancel_payout(payout_id: str, caller: Caller) -> Payout:
    """Take a request back before it is approved."""
    return pay_out.cancel(caller, payout_id)


@router.post("/operator/top-up")
def top_up_tenant(given: TenantTopUp, caller: Caller, header: HeaderKey) -> EntryView:
    """Add credits to any tenant's wallet."""
    return fill_wallet.top_up_tenant(
        caller, given.tenant_id, given.amount, given.reason, either(given.key, header)
    )


@router.post("/operator/codes")
def make_codes(given: Codes, caller: Caller) -> dict[str, list[str]]:
    """Make codes; they are shown this once."""
    return {"codes": fill_wallet.make_codes(caller, given.count, given.amount, given.days)}


@router.get("/operator/codes")
def code_batches(caller: Caller) -> list[dict[str, object]]:
    """List what was made of codes, and how many were redeemed."""
    return [batch._asdict() for batch in fill_wallet.code_batches(caller)]


@router.get("/operator/payouts")
def all_payouts(caller: Caller, open_only: bool = True) -> list[dict[str, object]]:
    """List the payouts of all tenants, newest first."""
    return [
        {**payout.model_dump(), "tenant": tenant, "person": name}
        for payout, tenant, name in pay_out.of_all(caller, open_only)
    ]


@router.post("/operator/payouts/{payout_id}/approve")
def approve_payout(payout_id: str, caller: Caller) -> Payout:
    """Say that a request will be paid."""
    return pay_out.approve(caller, payout_id)


@router.post("/operator/payouts/{payout_id}/reject")
def reject_payout(payout_id: str, given: Because, caller: Caller) -> Payout:
    """Give a request's credits back to the earnings."""
    return pay_out.reject(caller, payout_id, given.reason)


@router.post("/operator/payouts/{payout_id}/pay")
def pay_payout(payout_id: str, given: Reference, caller: Caller) -> Payout:
    """Note that an approved payout was paid."""
    return pay_out.pay(caller, payout_id, given.reference)


class FoundReceipt(BaseModel):
    """A receipt of any tenant, and what can still be given back on it."""

    receipt: Receipt
    tenant: str
    refunds: list[Refund]
    left_micro: int


@router.get("/operator/receipts/{receipt_id}")
def find_receipt(receipt_id: str, caller: Caller) -> FoundReceipt:
    """Return a receipt of any tenant, by its id or its hold's."""
    found = give_back.find(caller, receipt_id)
    return FoundReceipt(
        receipt=found.receipt, tenant=found.tenant, refunds=found.refunds, left_micro=found.left_micro
    )


@router.post("/operator/receipts/{receipt_id}/refunds")
def refund(receipt_id: str, given: GiveBack, caller: Caller, header: HeaderKey) -> Refund:
    """Give credits back on a receipt, in part or whole."""
    return give_back.refund(caller, receipt_id, given.amount, given.reason, either(given.key, header))


@router.get("/operator/reconciliation")
def reconciliation(caller: Caller) -> Reconciliation | None:
    """Return the newest comparison of usage, receipts and ledger; nothing before the first."""
    return reconcile.latest(caller)


@router.post("/operator/reconciliation")
def reconcile_now(caller: Caller) -> Reconciliation:
    """Compare everything now."""
    return reconcile.check(caller)
