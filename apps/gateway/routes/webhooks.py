"""What other services tell by themselves. They sign what they say; nobody is signed in."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from engine.flows import fill_wallet

router = APIRouter(prefix="/webhooks", tags=["webhooks"])


@router.post("/payments")
async def payments(request: Request) -> dict[str, str]:
    """Take an event of the payment provider, once; `engine/billing/payments.py` says what it looks like."""
    body = await request.body()
    order = await run_in_threadpool(fill_wallet.receive_payment, dict(request.headers), body)
    return {"order": order.state} if order else {"order": "passed over"}
