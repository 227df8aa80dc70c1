"""Wallet, receipts, earnings and the ledger's sum."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from apps.gateway.identity import Caller
from apps.gateway.replies import HeaderKey, either
from engine.billing.schemas import Receipt, Refund
from engine.flows import browse_market, top_up_wallet

router = APIRouter(prefix="/api", tags=["wallet"])


class TopUp(BaseModel):
    """How many credits to add; repeating a `key`, or the header Idempotency-Key, adds nothing."""

    amount: str
    key: str | None = Field(None, min_length=1, max_length=100)


class RefundedReceipt(Receipt):
    """A receipt, and what was given back on it, oldest first."""

    refunds: list[Refund]


def _shown(wallet: top_up_wallet.Wallet) -> dict[str, int]:
    return {
        "balance_micro": wallet.balance_micro,
        "held_micro": wallet.held_micro,
        "owed_micro": wallet.owed_micro,
    }


@router.get("/wallet")
def wallet(caller: Caller) -> dict[str, int]:
    """Return balance, holds and what is owed, in micro-credits."""
    return _shown(top_up_wallet.wallet(caller))


@router.post("/wallet/top-up")
def top_up(given: TopUp, caller: Caller, header: HeaderKey) -> dict[str, int]:
    """Add play credits."""
    return _shown(top_up_wallet.top_up(caller, given.amount, either(given.key, header)))


@router.get("/receipts")
def receipts(caller: Caller, limit: int = 50) -> list[Receipt]:
    """List receipts, newest first."""
    return top_up_wallet.receipts(caller, min(max(limit, 1), 500))


@router.get("/receipts/{receipt_id}")
def receipt(receipt_id: str, caller: Caller) -> RefundedReceipt:
    """Return one receipt, by its id or its hold's, with its refunds."""
    found = top_up_wallet.receipt(caller, receipt_id)
    refunds = top_up_wallet.refunds(caller, [found]).get(found.id, [])
    return RefundedReceipt(**found.model_dump(), refunds=refunds)


@router.get("/ledger/sum")
def ledger_sum(caller: Caller) -> dict[str, int]:
    """Return the sum over the whole ledger, in micro-credits."""
    return {"sum_micro": top_up_wallet.ledger_sum(caller)}


@router.get("/earnings")
def earnings(caller: Caller) -> dict[str, object]:
    """Return what my experts earned."""
    total, by_expert = browse_market.earnings(caller)
    return {"total_micro": total, "experts": [row._asdict() for row in by_expert]}
