"""Calls on packages: what they ask the database, and that a call that fails gives its tokens back."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import event

from engine.accounts.schemas import Caller, Person
from engine.billing import prices, subscriptions
from engine.billing import service as billing
from engine.billing.schemas import Allowance, Subscription
from engine.flows import buy_packages, sell_packages
from engine.flows.call_allowances import Allowances, allowances
from engine.flows.call_ticket import Offer
from engine.inference.schemas import Delta, Usage
from engine.kit.database import engine, unit_of_work
from engine.kit.errors import NotFound, UpstreamFailed
from engine.kit.money import CREDIT
from engine.market.schemas import ExpertView
from tests.engine.flows.test_answer_request import collected, fake_model, money, says

__all__ = ["fake_model"]
HOURS = 3600.0


@pytest.fixture(autouse=True)
def fresh(db: str) -> Iterator[None]:
    allowances.forget()
    yield
    allowances.forget()


@pytest.fixture
def bought(developer: Person, consumer: Person, published: ExpertView) -> Subscription:
    """A package of 100,000 tokens that took the last credit."""
    package = sell_packages.offer(developer, published.name, title="P", tokens=100_000, price="5")
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=consumer.tenant_id, amount_micro=5 * CREDIT, key="k", by=consumer.id)
    return buy_packages.buy(consumer, package.id, "k")


def left(bought: Subscription) -> Allowance:
    with unit_of_work() as uow:
        return subscriptions.get(uow, bought.id, bought.tenant_id).allowance


@contextmanager
def statements() -> Iterator[list[str]]:
    """Collect what is sent to the database."""
    sent: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(engine(), "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine(), "before_cursor_execute", note)


def offer(person: Person, expert: ExpertView) -> Offer:
    with unit_of_work() as uow:
        price = prices.first(uow, subject=expert.name, input_micro=1, output_micro=1, by_id=expert.owner_id)
    return Offer(caller=Caller(person=person, plan="pro"), expert=expert, price=price)


def test_nobody_is_looked_up_while_nobody_has_a_package(
    consumer: Person, developer: Person, published: ExpertView
) -> None:
    known, refusal = Allowances(HOURS), NotFound("market.unknown_name", name="x")
    asked = [offer(consumer, published), refusal, offer(developer, published)]
    with statements() as sent:
        assert known.give(asked) == asked
        assert len(sent) == 1
        assert known.give(asked) == asked
        assert len(sent) == 1


def test_all_callers_of_a_round_are_looked_up_together_and_remembered(
    consumer: Person, developer: Person, published: ExpertView, bought: Subscription
) -> None:
    known = Allowances(HOURS)
    asked = [offer(consumer, published), offer(developer, published)]
    with statements() as sent:
        found = known.give(asked)
        assert len(sent) == 2
        known.give(asked)
        assert len(sent) == 2
        known.forget()
        known.give(asked)
        assert len(sent) == 4
    assert [isinstance(one, Offer) and one.allowance for one in found] == [bought.allowance, None]


def test_a_call_is_paid_from_the_package_when_the_wallet_is_empty(
    consumer: Person, bought: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = Usage(prompt_tokens=7, completion_tokens=2)
    says(monkeypatch, Delta(text="45 days."), Delta(finish_reason="stop", usage=usage))
    receipt = asyncio.run(collected(consumer))[-1].receipt
    assert receipt is not None and receipt.package_tokens == 9
    assert (left(bought).used_tokens, left(bought).held_tokens) == (9, 0)
    assert money(consumer) == (0, 0, 0)


def test_a_model_that_says_nothing_takes_no_tokens(
    consumer: Person, bought: Subscription, monkeypatch: pytest.MonkeyPatch
) -> None:
    says(monkeypatch, UpstreamFailed("arena.side_failed"))
    with pytest.raises(UpstreamFailed):
        asyncio.run(collected(consumer))
    assert (left(bought).used_tokens, left(bought).held_tokens) == (0, 0)
    assert money(consumer) == (0, 0, 0)
