"""A paid call that may be sent again: the same idempotency key gets the same answer and is charged once.

The key's row and the call's hold name each other, so that what became of a call is never guessed. One that
ended without being charged frees its key, also when its process died: then as soon as its hold is released.
One that was charged never runs again, not even when its answer was lost with the process.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from sqlalchemy.orm import Session

from engine.billing import service as billing
from engine.billing.schemas import Receipt
from engine.flows.charge_call import Offer
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.settings import settings
from engine.serving import replies
from engine.serving.schemas import Reply

TRIES = 3


def begin(offer: Offer, *, key: str, digest: str) -> Offer | Reply:
    """Return the offer for a call that is to run now, or the answer that it was given before.

    Raises as `replies.take` does, also StillRunning while a silent call's credits are held.
    """
    tenant = offer.caller.person.tenant_id
    for _ in range(TRIES):
        until = now() + timedelta(seconds=settings().hold_timeout)
        with unit_of_work() as uow:
            found = replies.take(uow, tenant_id=tenant, key=key, digest=digest, expires_at=until)
            if found is None:
                continue
            if found.reply is not None:
                return found.reply
            if not found.silent:
                return replace(offer, call_key=found.id)
            if not _ended(uow, tenant, found.id, lambda _: None):
                break
    raise replies.running()


def keep(offer: Offer, reply: Reply) -> None:
    """Keep the answer of a call that `begin` let run."""
    with unit_of_work() as uow:
        replies.keep(uow, offer.call_key, reply)


def leave(offer: Offer, sent: Callable[[Receipt], Reply | None]) -> None:
    """End a call that `begin` let run and that broke off: what was `sent` is kept if it was charged for."""
    with unit_of_work() as uow:
        _ended(uow, offer.caller.person.tenant_id, offer.call_key, sent)


def _ended(uow: Session, tenant: str, reply_id: str, sent: Callable[[Receipt], Reply | None]) -> bool:
    """Free a key or keep its answer, by how the call's hold ended; say whether it has."""
    hold = billing.hold_of(uow, tenant, reply_id)
    if hold is not None and hold.state == "open":
        return False
    receipt = billing.receipt(uow, hold.id, tenant) if hold else None
    if receipt is None or not receipt.paid:
        replies.free(uow, reply_id)
    else:
        replies.keep(uow, reply_id, sent(receipt))
    return True
