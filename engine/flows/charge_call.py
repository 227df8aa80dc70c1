"""A paid call from its admission to its settlement.

Who calls, what is called and its price are read, credits are held and calls are settled for all that come
in together: while one transaction runs, the next gathers. So a hundred calls at once cost little more than
one, and none sees a price or a key that was changed before it began.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import anyio

from engine.accounts import keys
from engine.accounts import service as accounts
from engine.accounts.schemas import Caller, Person
from engine.analytics import service as analytics
from engine.analytics.schemas import UsageEvent
from engine.billing import holds, prices
from engine.billing.schemas import HoldRequest, HoldView, Price, Receipt, Settlement
from engine.inference import tokens
from engine.inference.schemas import Completion, Delta, Usage
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import EngineError
from engine.kit.gathering import Gathering, each
from engine.kit.ids import new_id
from engine.kit.logs import current_trace, logger
from engine.kit.settings import settings
from engine.market import service as market
from engine.market.schemas import ExpertView

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who calls: a person that is known already, or the secret of an API key."""

    person: Person | None = None
    secret: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Who calls, the expert that answers, and the price that counts from here on."""

    caller: Caller
    expert: ExpertView
    price: Price


@dataclass(kw_only=True)
class Ticket:
    """A call under way: what was agreed, and what was delivered so far."""

    offer: Offer
    input_tokens: int
    trace_id: str | None
    started: float
    hold_id: str = ""
    first_word: float | None = None
    delivered: list[str] = field(default_factory=list)
    usage: Usage | None = None
    finish_reason: str | None = None
    receipt: Receipt | None = None

    def take(self, said: Delta | Completion) -> None:
        """Note what the model said and what its server counted."""
        self.usage = said.usage or self.usage
        self.finish_reason = said.finish_reason or self.finish_reason
        if said.text:
            self.first_word = self.first_word or time.monotonic()
            self.delivered.append(said.text)

    @property
    def outcome(self) -> str:
        """How it ended, in a word."""
        return self.finish_reason or "cancelled"

    @property
    def paid_for(self) -> bool:
        """Whether there is anything to pay: not for a call that failed or was left without a word."""
        return bool(self.delivered) or self.outcome not in ("failed", "cancelled")

    @property
    def counted(self) -> Usage:
        """Tokens as the server counted them, or as they are counted here where it did not."""
        return self.usage or Usage(
            prompt_tokens=self.input_tokens, completion_tokens=tokens.of_text("".join(self.delivered))
        )


Wanted = tuple[Credentials, str]
"""Who calls, and the public model id."""


def _look_up(asked: Sequence[Wanted]) -> list[Offer | Exception]:
    with unit_of_work() as uow:
        callers = keys.callers(uow, {who.secret for who, _ in asked if who.person is None})
        plans = accounts.plans(uow, {who.person.tenant_id for who, _ in asked if who.person})
        experts = market.by_names(uow, {model for _, model in asked})
        current = prices.current(uow, experts)

        def offer(one: Wanted) -> Offer:
            who, model = one
            if who.person:
                caller: Caller | EngineError = Caller(
                    person=who.person, plan=plans[who.person.tenant_id].name
                )
            else:
                caller = callers[who.secret]
            if isinstance(caller, EngineError):
                raise caller
            expert = experts.get(model) or market.by_name(uow, model)
            price = current.get(expert.name) or prices.first(
                uow,
                subject=expert.name,
                input_micro=expert.input_price_micro,
                output_micro=expert.output_price_micro,
                by_id=expert.owner_id,
            )
            return Offer(caller=caller, expert=expert, price=price)

        return each(offer, asked)


def _hold(asked: Sequence[HoldRequest]) -> list[HoldView | EngineError]:
    with unit_of_work() as uow:
        return holds.hold_many(uow, asked)


def _settle(tickets: Sequence[Ticket]) -> list[Receipt | Exception]:
    """End calls: those that delivered are charged, the others get their holds back."""
    paid = [one for one in tickets if one.paid_for]
    with unit_of_work() as uow:
        charged = holds.settle_many(uow, [_settlement(one) for one in paid])
        unpaid = {one.hold_id: one.outcome for one in tickets if not one.paid_for}
        released = holds.release_many(uow, unpaid)
        verdicts = dict(zip([one.hold_id for one in paid], charged, strict=True))
        verdicts |= dict(zip(unpaid, released, strict=True))
        ended = [(one, end) for one in tickets if isinstance(end := verdicts[one.hold_id], Receipt)]
        analytics.record(uow, [_event(one, receipt) for one, receipt in ended])
        uses: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for one, receipt in ended:
            if receipt.state == "settled":
                calls, used = uses[one.offer.expert.id]
                uses[one.offer.expert.id] = calls + 1, used + _total(one.counted)
        market.count_uses(uow, uses)
    return [verdicts[one.hold_id] for one in tickets]


def _total(usage: Usage) -> int:
    return usage.prompt_tokens + usage.completion_tokens


def _settlement(ticket: Ticket) -> Settlement:
    used, price, expert = ticket.counted, ticket.offer.price, ticket.offer.expert
    input_micro, output_micro = prices.rate(price, 0)
    return Settlement(
        hold_id=ticket.hold_id,
        amount_micro=prices.cost(price, used.prompt_tokens, used.completion_tokens),
        developer_tenant_id=expert.tenant_id,
        usage={
            "model": expert.name,
            "version": expert.version,
            "input_tokens": used.prompt_tokens,
            "output_tokens": used.completion_tokens,
            "price_id": price.id,
            "price_number": price.number,
            "input_price_micro": input_micro,
            "output_price_micro": output_micro,
            "call_price_micro": price.call_micro,
            "minimum_micro": price.minimum_micro,
            "finish": ticket.outcome,
        },
    )


def _event(ticket: Ticket, receipt: Receipt) -> UsageEvent:
    used = ticket.counted if receipt.state == "settled" else Usage(prompt_tokens=0, completion_tokens=0)
    first, person, expert = ticket.first_word, ticket.offer.caller.person, ticket.offer.expert
    return UsageEvent(
        at=now(),
        tenant_id=person.tenant_id,
        person_id=person.id,
        expert_id=expert.id,
        expert_name=expert.name,
        developer_tenant_id=expert.tenant_id,
        input_tokens=used.prompt_tokens,
        output_tokens=used.completion_tokens,
        charged_micro=receipt.charged_micro,
        developer_micro=receipt.developer_micro,
        platform_micro=receipt.platform_micro,
        latency_ms=round((time.monotonic() - ticket.started) * 1000),
        first_token_ms=round((first - ticket.started) * 1000) if first else None,
        outcome=ticket.outcome,
        call_id=ticket.hold_id,
    )


_offers: Gathering[Wanted, Offer] = Gathering(_look_up)
_holds: Gathering[HoldRequest, HoldView] = Gathering(_hold)
_settlements: Gathering[Ticket, Receipt] = Gathering(_settle)


async def look_up(who: Credentials, model: str) -> Offer:
    """Return who calls, what, and at what price.

    Raises NotSignedIn for a key that lets nobody in, NotFound for an unknown expert.
    """
    return await _offers.ask((who, model))


@asynccontextmanager
async def paid(offer: Offer, *, input_tokens: int, most_output: int, started: float) -> AsyncIterator[Ticket]:
    """Hold what a call may cost at most, let it happen, and settle what was delivered, however it ends.

    Raises InsufficientCredit before anything happens. The receipt stands on the ticket afterwards.
    """
    ticket = Ticket(offer=offer, input_tokens=input_tokens, trace_id=current_trace(), started=started)
    await _hold_for(ticket, prices.cost(offer.price, input_tokens, most_output))
    try:
        yield ticket
        ticket.finish_reason = ticket.finish_reason or "stop"
    except EngineError:
        ticket.finish_reason = "failed"
        raise
    finally:
        with anyio.CancelScope(shield=True):
            ticket.receipt = receipt = await _settlements.ask(ticket)
        log.info(
            "answered",
            model=offer.expert.name,
            outcome=ticket.outcome,
            charged_micro=receipt.charged_micro,
        )


async def _hold_for(ticket: Ticket, amount_micro: int) -> None:
    """Place the hold; when the caller leaves meanwhile, it is given back as soon as it stands."""
    caller = ticket.offer.caller
    request = HoldRequest(
        tenant_id=caller.person.tenant_id,
        amount_micro=amount_micro,
        key=new_id("call"),
        subject={
            "model": ticket.offer.expert.name,
            "person_id": caller.person.id,
            "key_id": caller.key.id if caller.key else None,
            "trace_id": ticket.trace_id,
        },
        expires_at=now() + timedelta(seconds=settings().hold_timeout),
    )
    placing = asyncio.ensure_future(_holds.ask(request))
    try:
        ticket.hold_id = (await asyncio.shield(placing)).id
    except asyncio.CancelledError:
        placing.add_done_callback(lambda placed: _give_back(ticket, placed))
        raise


def _give_back(ticket: Ticket, placed: "asyncio.Future[HoldView]") -> None:
    if not placed.cancelled() and placed.exception() is None:
        ticket.hold_id = placed.result().id
        leaving = asyncio.ensure_future(_settlements.ask(ticket))
        _leaving.add(leaving)
        leaving.add_done_callback(_leaving.discard)


_leaving: set["asyncio.Future[Receipt]"] = set()
"""Endings that nobody waits for; the loop itself keeps no hold of them."""
