"""Look-ups, holds and settlements of the calls that come in together, each for all of them at once.

While one round is under way the next gathers: a hundred calls cost little more than one.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import psycopg
from sqlalchemy.orm import Session

from engine.accounts import keys
from engine.accounts import service as accounts
from engine.accounts.plans import Plan
from engine.accounts.schemas import Caller
from engine.analytics import service as analytics
from engine.analytics.schemas import UsageEvent
from engine.billing import holds, prices
from engine.billing.schemas import HoldRequest, HoldView, Price, Receipt, Settlement
from engine.flows import people, route_call
from engine.flows.call_allowances import allowances
from engine.flows.call_ticket import Credentials, Offer, Ticket, Trial
from engine.inference.schemas import Usage
from engine.kit import metrics
from engine.kit.clock import now
from engine.kit.database import swift, unit_of_work
from engine.kit.errors import EngineError, NotReady
from engine.kit.gathering import Gathering, each
from engine.kit.logs import logger
from engine.market import service as market
from engine.market.schemas import ExpertView
from engine.serving import rollouts

log = logger(__name__)

Wanted = tuple[Credentials, str]
"""Who calls, and the public model id."""

LISTED_SECONDS = 1.0
USUAL_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A published expert, its price, and two versions in traffic where there are; `at` is monotonic."""

    at: float
    expert: ExpertView
    price: Price
    trial: Trial | None


class Listings:
    """What is on the market and at what price, as it was at most a second ago."""

    def __init__(self) -> None:
        self._known: dict[str, Listed] = {}
        self._usual: dict[str, tuple[float, int | None]] = {}
        self._volumes: dict[tuple[str, str, str], int] = {}

    def usual_output(self, expert_id: str) -> int | None:
        """Return how many tokens nearly all answers of an expert stay below, or None while few are known."""
        at = time.monotonic()
        if expert_id not in self._usual or self._usual[expert_id][0] < at - USUAL_SECONDS:
            with unit_of_work() as uow:
                self._usual[expert_id] = at, analytics.usual_output(uow, expert_id)
        return self._usual[expert_id][1]

    def used_last_month(self, tenant_id: str, model: str) -> int:
        """Return the tokens of a model that a tenant used in the calendar month before this one.

        A month that has ended does not change any more.
        """
        month = now().strftime("%Y-%m")
        key = (tenant_id, model, month)
        if key not in self._volumes:
            self._volumes = {known: n for known, n in self._volumes.items() if known[2] == month}
            with unit_of_work() as uow:
                self._volumes[key] = analytics.used_last_month(uow, tenant_id, model, now())
        return self._volumes[key]

    def find(self, names: Collection[str]) -> dict[str, Listed]:
        """Return the experts with these names and their prices; those that are none are left out."""
        oldest, known = time.monotonic() - LISTED_SECONDS, self._known
        if any(name not in known or known[name].at < oldest for name in names):
            known = self._read(names)
        return {name: known[name] for name in names if name in known}

    def forget(self) -> None:
        """Know nothing, after a change made by this process."""
        self._known = {}

    def _read(self, names: Collection[str]) -> dict[str, Listed]:
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
            trials = _trials(uow, experts)
        read = {
            name: Listed(at=at, expert=expert, price=known[name], trial=trials.get(name))
            for name, expert in experts.items()
        }
        self._known = {name: one for name, one in self._known.items() if name not in names} | read
        return read


def _trials(uow: Session, experts: Mapping[str, ExpertView]) -> dict[str, Trial]:
    """Return the rollouts that run, each with both of its versions as they are now."""
    running = rollouts.running(uow, experts)
    candidates = market.by_ids(uow, [one.candidate_id for one in running.values()])
    return {
        name: Trial(rollout=one, stable=experts[name], candidate=candidate)
        for name, one in running.items()
        if (candidate := candidates.get(one.candidate_id)) is not None
        and candidate.state == "approved"
        and experts[name].id == one.stable_id
    }


listings = Listings()


def _look_up(asked: Sequence[Wanted]) -> list[Offer | Exception]:
    found = listings.find({model for _, model in asked})
    callers = _callers({who.secret for who, _ in asked if who.person is None})
    plans = _plans({who.person.tenant_id for who, _ in asked if who.person})

    def offer(one: Wanted) -> Offer:
        who, model = one
        if who.person:
            caller: Caller | EngineError = Caller(person=who.person, plan=plans[who.person.tenant_id].name)
        else:
            caller = callers[who.secret]
        if isinstance(caller, EngineError):
            raise caller
        if who.tenant is not None or who.project is not None:
            with unit_of_work() as uow:
                caller = people.on_behalf(uow, caller, tenant=who.tenant, project=who.project)
        keys.check(caller, scope="chat", ip=who.ip, model=model)
        if model not in found:
            _say_what_there_is(model)
        listed = found[model]
        tiers = listed.price.tiers
        return Offer(
            caller=caller,
            expert=listed.expert,
            price=listed.price,
            used_before=listings.used_last_month(caller.person.tenant_id, model) if tiers else 0,
            usual_output=listings.usual_output(listed.expert.id),
            trial=listed.trial,
        )

    return allowances.give(each(offer, asked))


def _callers(secrets: set[str]) -> dict[str, Caller | EngineError]:
    if not secrets:
        return {}
    with _or_the_careful_way():
        with swift(durable=False) as connection:
            callers = keys.callers_swiftly(connection, secrets)
        if due := keys.due(callers):
            with unit_of_work() as uow:
                keys.touch(uow, due)
        return callers
    with unit_of_work() as uow:
        return keys.callers(uow, secrets)


def _plans(tenants: set[str]) -> dict[str, Plan]:
    if not tenants:
        return {}
    with unit_of_work() as uow:
        return accounts.plans(uow, tenants)


def _say_what_there_is(model: str) -> NoReturn:
    with unit_of_work() as uow:
        market.by_name(uow, model)
    listings.forget()
    raise NotReady("market.just_published", retry_after=1)


def _hold(asked: Sequence[HoldRequest]) -> list[HoldView | EngineError]:
    held: list[HoldView | None] = [None] * len(asked)
    with _or_the_careful_way(), swift() as connection:
        held = holds.hold_ordinary(connection, asked)
    others = [one for one, hold in zip(asked, held, strict=True) if hold is None]
    if not others:
        return [hold for hold in held if hold is not None]
    with unit_of_work() as uow:
        verdicts = iter(holds.hold_many(uow, others))
    return [hold or next(verdicts) for hold in held]


@contextmanager
def _or_the_careful_way() -> Iterator[None]:
    """What a bare connection could not do is done with a session, which tells what is wrong or tries again.

    Both ways ask for the same keys, so nothing is done twice.
    """
    try:
        yield
    except psycopg.Error as error:
        log.warning("the swift way failed", reason=str(error)[:300])


def _settle(tickets: Sequence[Ticket]) -> list[Receipt | Exception]:
    """End calls: those that delivered are charged, the others get their holds back."""
    ended: dict[str, Receipt | Exception] = {}
    paid = [one for one in tickets if one.paid_for]
    if paid:
        with _or_the_careful_way():
            ended |= _settle_ordinary(paid)
    if rest := [one for one in tickets if one.hold_id not in ended]:
        try:
            ended |= _settle_carefully(rest)
        except Exception:
            # Those that are settled stay so; of the rest nobody fails for another's fault.
            log.warning("a round of settlements failed", calls=len(rest), exc_info=True)
            for one in rest:
                try:
                    ended |= _settle_carefully([one])
                except Exception as error:
                    ended[one.hold_id] = error
    return [ended[one.hold_id] for one in tickets]


def _settle_ordinary(tickets: Sequence[Ticket]) -> dict[str, Receipt]:
    with swift() as connection, connection.pipeline(), connection.transaction():
        receipts = holds.settle_ordinary(connection, [_settlement(one) for one in tickets])
        done = [(one, end) for one, end in zip(tickets, receipts, strict=True) if end is not None]
        analytics.record_swiftly(connection, [_event(one, end) for one, end in done])
        rollouts.record_swiftly(connection, [made for one, _ in done for made in route_call.outcomes(one)])
    return {one.hold_id: end for one, end in done}


def _settle_carefully(tickets: Sequence[Ticket]) -> dict[str, Receipt | EngineError]:
    paid = [_settlement(one) for one in tickets if one.paid_for]
    unpaid = {one.hold_id: one.outcome for one in tickets if not one.paid_for}
    with unit_of_work() as uow:
        ended: dict[str, Receipt | EngineError] = dict(
            zip([one.hold_id for one in paid], holds.settle_many(uow, paid) if paid else [], strict=True)
        )
        if unpaid:
            ended |= zip(unpaid, holds.release_many(uow, unpaid), strict=True)
        # A round that is done again after its connection broke must not be recorded again.
        known = {event.call_id for event in analytics.of_calls(uow, [one.hold_id for one in tickets])}
        new = [(one, ended[one.hold_id]) for one in tickets if one.hold_id not in known]
        done = [(one, end) for one, end in new if isinstance(end, Receipt)]
        analytics.record(uow, [_event(one, end) for one, end in done])
        rollouts.record(uow, [made for one, _ in done for made in route_call.outcomes(one)])
    return ended


def _settlement(ticket: Ticket) -> Settlement:
    used, price, expert = ticket.counted, ticket.offer.price, ticket.offer.expert
    before = ticket.offer.used_before
    input_micro, output_micro = prices.rate(price, before)
    return Settlement(
        hold_id=ticket.hold_id,
        amount_micro=(
            0
            if ticket.from_package
            else prices.cost(price, used.prompt_tokens, used.completion_tokens, before)
        ),
        tokens=used.total_tokens,
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


offers: Gathering[tuple[Credentials, str], Offer] = Gathering(_look_up, seen=metrics.rounds("look_up"))
held: Gathering[HoldRequest, HoldView] = Gathering(_hold, seen=metrics.rounds("hold"))
settled: Gathering[Ticket, Receipt] = Gathering(_settle, seen=metrics.rounds("settle"))
