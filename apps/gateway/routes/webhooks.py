"""What other services tell by themselves. They sign what they say; nobody is signed in."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from engine.flows import fill_wallet
from engine.kit.errors import TooLarge

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

MOST_BYTES = 65_536
"""Anybody can send something here, so no more than this is read of it."""


@router.post("/payments")
async def payments(request: Request) -> dict[str, str]:
    """Take an event of the payment provider, once; `engine/billing/payments.py` says what it looks like."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise TooLarge("cash.event_size", most=f"{MOST_BYTES:,}")
    order = await run_in_threadpool(fill_wallet.receive_payment, dict(request.headers), body)
    return {"order": order.state} if order else {"order": "passed over"}
