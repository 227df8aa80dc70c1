"""A paid call from its admission to its settlement.

Who calls, what is called and its price are read, credits are held and calls are settled for all that come
in together: while one transaction runs, the next gathers. So a hundred calls at once cost little more than
one, and none sees a price or a key that was changed before it began.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import anyio

from engine.accounts import keys
from engine.accounts import service as accounts
from engine.accounts.plans import PLANS
from engine.accounts.schemas import Caller, Person
from engine.analytics import service as analytics
from engine.analytics.schemas import UsageEvent
from engine.billing import holds, prices
from engine.billing.schemas import HoldRequest, HoldView, Price, Receipt, Settlement
from engine.flows import people
from engine.inference import tokens
from engine.inference.schemas import Completion, Delta, Usage
from engine.kit.clock import now
from engine.kit.database import single_statements, unit_of_work
from engine.kit.errors import EngineError, NotReady
from engine.kit.gathering import Gathering, each
from engine.kit.ids import new_id
from engine.kit.logs import current_trace, logger
from engine.kit.settings import settings
from engine.market import service as market
from engine.market.schemas import ExpertView
from engine.serving.limits import Kind, Limit, limiter

log = logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Who calls: a person that is known already, or the secret of an API key; where from and what for.

    `project` is the id or name of one, `tenant` the id of the caller's own, if they say so.
    """

    person: Person | None = None
    secret: str = ""
    ip: str | None = None
    tenant: str | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Who calls, the expert that answers, and the price that counts from here on.

    `call_key` names the call's hold, for one who has to find it again; else it gets a name of its own.
    """

    caller: Caller
    expert: ExpertView
    price: Price
    call_key: str = ""


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
    headers: dict[str, str] = field(default_factory=dict)

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

LISTED_SECONDS = 1.0


class Listings:
    """What is on the market and at what price, as it was at most a second ago."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, ExpertView, Price]] = {}

    def find(self, names: Collection[str]) -> dict[str, tuple[ExpertView, Price]]:
        """Return the experts with these names and their prices; those that are none are left out."""
        oldest = time.monotonic() - LISTED_SECONDS
        if any(name not in self._known or self._known[name][0] < oldest for name in names):
            self._read(names)
        return {name: self._known[name][1:] for name in names if name in self._known}

    def forget(self) -> None:
        """Know nothing, after a change made by this process."""
        self._known.clear()

    def _read(self, names: Collection[str]) -> None:
        at = time.monotonic()
        with unit_of_work() as uow:
            experts = market.by_names(uow, names)
            known = prices.current(uow, experts)
            for name, expert in experts.items():
                if name not in known:
                    known[name] = prices.first(
                        uow,
                        subject=name,
                        input_micro=expert.input_price_micro,
                        output_micro=expert.output_price_micro,
                        by_id=expert.owner_id,
                    )
        self._known = {name: one for name, one in self._known.items() if name not in names}
        self._known |= {name: (at, expert, known[name]) for name, expert in experts.items()}


listings = Listings()


def _look_up(asked: Sequence[Wanted]) -> list[Offer | Exception]:
    found = listings.find({model for _, model in asked})
    with single_statements() as uow:
        secrets = {who.secret for who, _ in asked if who.person is None}
        callers = keys.callers(uow, secrets) if secrets else {}
        tenants = {who.person.tenant_id for who, _ in asked if who.person}
        plans = accounts.plans(uow, tenants) if tenants else {}

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
            caller = people.on_behalf(uow, caller, tenant=who.tenant, project=who.project)
            keys.check(caller, scope="chat", ip=who.ip, model=model)
            if model not in found:
                market.by_name(uow, model)  # which says what there is instead
                listings.forget()
                raise NotReady("market.just_published", retry_after=1)
            expert, price = found[model]
            return Offer(caller=caller, expert=expert, price=price)

        return each(offer, asked)


def _hold(asked: Sequence[HoldRequest]) -> list[HoldView | EngineError]:
    with single_statements() as uow:
        held = holds.hold_ordinary(uow, asked)
    others = [one for one, hold in zip(asked, held, strict=True) if hold is None]
    if not others:
        return [hold for hold in held if hold is not None]
    with unit_of_work() as uow:
        verdicts = iter(holds.hold_many(uow, others))
    return [hold or next(verdicts) for hold in held]


def _settle(tickets: Sequence[Ticket]) -> list[Receipt | EngineError]:
    """End calls: those that delivered are charged, the others get their holds back."""
    paid = [_settlement(one) for one in tickets if one.paid_for]
    unpaid = {one.hold_id: one.outcome for one in tickets if not one.paid_for}
    ended: dict[str, Receipt | EngineError] = {}
    with unit_of_work() as uow:
        for one, receipt in zip(paid, holds.settle_ordinary(uow, paid), strict=True):
            if receipt is not None:
                ended[one.hold_id] = receipt
        if others := [one for one in paid if one.hold_id not in ended]:
            verdicts = holds.settle_many(uow, others)
            ended |= zip((one.hold_id for one in others), verdicts, strict=True)
        if unpaid:
            ended |= zip(unpaid, holds.release_many(uow, unpaid), strict=True)
        done = ((one, ended[one.hold_id]) for one in tickets)
        analytics.record(uow, [_event(one, end) for one, end in done if isinstance(end, Receipt)])
    return [ended[one.hold_id] for one in tickets]


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

    Raises TooMany when a limit is reached and InsufficientCredit, both before anything happens. The receipt
    stands on the ticket afterwards.
    """
    granted = await limiter().enter(limits_of(offer.caller), input_tokens + most_output)
    ticket = Ticket(
        offer=offer,
        input_tokens=input_tokens,
        trace_id=current_trace(),
        started=started,
        headers=granted.headers(),
    )
    try:
        await _hold_for(ticket, prices.cost(offer.price, input_tokens, most_output))
        async with _settled(ticket):
            yield ticket
    finally:
        await limiter().leave(granted, _total(ticket.counted) if ticket.receipt else 0)


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
    except EngineError:
        ticket.finish_reason = "failed"
        raise
    finally:
        with anyio.CancelScope(shield=True):
            ticket.receipt = receipt = await _settlements.ask(ticket)
        log.info(
            "answered",
            model=ticket.offer.expert.name,
            outcome=ticket.outcome,
            charged_micro=receipt.charged_micro,
        )


async def _hold_for(ticket: Ticket, amount_micro: int) -> None:
    """Place the hold; when the caller leaves meanwhile, it is given back as soon as it stands."""
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
