"""A paid call from its admission to its settlement.

Who calls and what at which price is looked up, credits are held and calls are settled in rounds, for all that
come in together (`call_rounds.py`). A key that was changed is known as changed at once, an expert or a price
after a second.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import anyio

from engine.accounts.plans import PLANS
from engine.accounts.schemas import Caller
from engine.billing.allowances import PackageUsedUp
from engine.billing.schemas import HoldRequest, HoldView, Receipt
from engine.flows import call_rounds, route_call, watch_calls
from engine.flows.call_ticket import Credentials, Offer, Ticket
from engine.kit import metrics
from engine.kit.clock import now
from engine.kit.errors import EngineError
from engine.kit.ids import new_id
from engine.kit.logs import current_trace
from engine.kit.settings import settings
from engine.serving.limits import Kind, Limit, limiter


async def look_up(who: Credentials, model: str) -> Offer:
    """Return who calls, what, and at what price.

    Raises NotSignedIn for a key that lets nobody in, Forbidden for one that may not call this, NotFound for
    an unknown expert.
    """
    return await call_rounds.offers.ask((who, model))


@asynccontextmanager
async def paid(
    offer: Offer, *, input_tokens: int, most_output: int, choices: int, started: float
) -> AsyncIterator[Ticket]:
    """Hold what a call may cost at most, let it happen, and settle what was delivered, however it ends.

    Raises TooMany when a limit is reached and InsufficientCredit, both before anything happens. The receipt
    stands on the ticket afterwards.
    """
    with watch_calls.Step(offer):
        granted = await limiter().enter(limits_of(offer.caller), input_tokens + most_output * choices)
    ticket = Ticket(
        offer=offer,
        input_tokens=input_tokens,
        trace_id=current_trace(),
        started=started,
        headers=granted.headers() | offer.headers(),
    )
    metrics.running.inc()
    try:
        with watch_calls.Step(offer, metrics.hold_seconds):
            worst = offer.worst(input_tokens, most_output, choices)
            await _hold_for(ticket, worst, input_tokens + most_output * choices)
        async with _settled(ticket):
            yield ticket
    finally:
        metrics.running.dec()
        await limiter().leave(granted, ticket.counted.total_tokens if ticket.receipt else 0)


KINDS: tuple[Kind, ...] = ("requests_per_minute", "tokens_per_minute", "parallel")


def limits_of(caller: Caller) -> list[Limit]:
    """Return the limits that a call of somebody counts against: of the plan, the project and the key."""
    tenant, project, key = caller.person.tenant_id, caller.project, caller.key
    limits = [Limit(scope="tenant", subject=tenant, kind="parallel", most=PLANS[caller.plan].queries)]
    if key is not None:
        limits += [
            Limit(scope="key", subject=key.id, kind=kind, most=most)
            for kind in KINDS
            if (most := getattr(key, kind)) is not None
        ]
    if project is not None:
        limits += [
            Limit(scope="project", subject=project.id, kind=kind, most=most)
            for kind in (*KINDS, "requests_per_day")
            if (most := getattr(project, kind)) is not None
        ]
    return limits


@asynccontextmanager
async def _settled(ticket: Ticket) -> AsyncIterator[None]:
    try:
        yield
        ticket.finish_reason = ticket.finish_reason or "stop"
    except EngineError as error:
        ticket.finish_reason, ticket.blamed = "failed", route_call.blamed(error)
        raise
    finally:
        wait = watch_calls.Step(ticket.offer, metrics.settle_seconds)
        with anyio.CancelScope(shield=True), wait:
            await _settle_surely(ticket)


async def _settle_surely(ticket: Ticket) -> None:
    """Settle, and go on with it when the caller is cancelled meanwhile: what is charged is also told."""
    settling = call_rounds.settled.ask(ticket)
    try:
        receipt = await asyncio.shield(settling)
    except asyncio.CancelledError:
        receipt = await settling
        raise
    finally:
        if settling.done() and not settling.cancelled() and settling.exception() is None:
            ticket.receipt = receipt
            watch_calls.ended(ticket, receipt)


async def _hold_for(ticket: Ticket, amount_micro: int, tokens: int) -> None:
    """Have the package pay, where the whole call fits into what is left of it, or else credits."""
    caller = ticket.offer.caller
    request = HoldRequest(
        tenant_id=caller.person.tenant_id,
        amount_micro=amount_micro,
        key=ticket.offer.call_key or new_id("call"),
        subject={
            "model": ticket.offer.expert.name,
            "person_id": caller.person.id,
            "key_id": caller.key.id if caller.key else None,
            "project_id": caller.project.id if caller.project else None,
            "trace_id": ticket.trace_id,
        },
        expires_at=now() + timedelta(seconds=settings().hold_timeout),
        budget_id=caller.key.budget_id if caller.key else None,
    )
    allowance = ticket.offer.allowance
    # What is held of it may be free again by now; what was used is not.
    if allowance is not None and tokens <= allowance.unused:
        # A budget counts credits, and this takes none.
        packed = replace(request, amount_micro=0, budget_id=None, allowance_id=allowance.id, tokens=tokens)
        try:
            return await _place(ticket, packed)
        except PackageUsedUp:
            pass
    await _place(ticket, request)


async def _place(ticket: Ticket, request: HoldRequest) -> None:
    """Place the hold; when the caller leaves meanwhile, it is given back as soon as it stands."""
    placing = call_rounds.held.ask(request)
    try:
        held = await asyncio.shield(placing)
        ticket.hold_id, ticket.from_package = held.id, held.allowance_id is not None
    except asyncio.CancelledError:
        placing.add_done_callback(lambda placed: _give_back(ticket, placed))
        raise


def _give_back(ticket: Ticket, placed: "asyncio.Future[HoldView]") -> None:
    if not placed.cancelled() and placed.exception() is None:
        ticket.hold_id = placed.result().id
        leaving = call_rounds.settled.ask(ticket)
        _leaving.add(leaving)
        leaving.add_done_callback(_leaving.discard)


_leaving: set["asyncio.Future[Receipt]"] = set()
"""Endings that nobody waits for; the loop itself keeps no hold of them."""
