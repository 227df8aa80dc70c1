"""What operators see of paid calls: each is counted once, however it ends, and logged once it is settled."""

import asyncio
import time

from engine.billing.schemas import Receipt
from engine.flows.call_ticket import Offer, Ticket
from engine.kit import metrics
from engine.kit.errors import EngineError
from engine.kit.logs import logger
from engine.kit.metrics import Histogram
from engine.serving.limits import BeyondLimit, LimitReached

log = logger(__name__)


class Step:
    """A step before or after the answer that a call may end with: refused, failed, or left by its caller.

    `waits` is told how long it took. A class, because a generator takes several times as long.
    """

    __slots__ = ("_began", "_offer", "_waits")

    def __init__(self, offer: Offer, waits: Histogram | None = None) -> None:
        self._offer, self._waits, self._began = offer, waits, time.monotonic()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._waits is not None:
            self._waits.observe(time.monotonic() - self._began)
        if error is None:
            return
        if isinstance(error, LimitReached | BeyondLimit):
            metrics.limit_refusal(str(error.facts["limit"]))
        outcome = "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"
        if isinstance(error, EngineError) and error.status < 500:
            outcome = "refused"
        model, tenant = self._offer.expert.name, self._offer.caller.person.tenant_id
        metrics.turned_away(model=model, tenant=tenant, outcome=outcome)


def ended(ticket: Ticket, receipt: Receipt) -> None:
    """Count and log a call that was settled or given back."""
    seconds = time.monotonic() - ticket.started
    model, tenant = ticket.offer.expert.name, ticket.offer.caller.person.tenant_id
    read, written = 0, 0
    if receipt.state == "settled":
        used = ticket.counted
        read, written = used.prompt_tokens, used.completion_tokens
    first = token = None
    # The words of an answer in one piece come all at once: when its first came is not known.
    if ticket.streamed and ticket.first_word is not None and ticket.last_word is not None:
        first = ticket.first_word - ticket.started
        if written > 1 and ticket.last_word > ticket.first_word:
            token = (ticket.last_word - ticket.first_word) / (written - 1)
    metrics.answered(
        model=model,
        tenant=tenant,
        outcome=ticket.outcome,
        seconds=seconds,
        first_seconds=first,
        token_seconds=token,
        input_tokens=read,
        output_tokens=written,
        charged_micro=receipt.charged_micro,
    )
    log.info(
        "answered",
        trace_id=ticket.trace_id,
        tenant_id=tenant,
        model=model,
        outcome=ticket.outcome,
        input_tokens=read,
        output_tokens=written,
        charged_micro=receipt.charged_micro,
        latency_ms=round(seconds * 1000),
        first_token_ms=None if first is None else round(first * 1000),
    )
