"""Packages that are bought: one movement a month, however often and by however many it is asked for."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import text

from engine.billing import packages, service, subscriptions
from engine.billing.schemas import Package, Subscription
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, InsufficientCredit, NotFound
from engine.kit.money import CREDIT
from tests.engine.billing.test_packages import MAKER, offer

BUYER = "ten_buyer"
START = datetime(2026, 1, 31, 12, tzinfo=UTC)
MARCH = datetime(2026, 2, 28, 12, tzinfo=UTC)


def fill(micro: int, key: str = "top", tenant: str = BUYER) -> None:
    with unit_of_work() as uow:
        service.top_up(uow, tenant_id=tenant, amount_micro=micro, key=key, by="per_buyer")


def buy(package: Package, key: str = "k", **changes: Any) -> Subscription:
    wanted = {"package_id": package.id, "tenant_id": BUYER, "person_id": "per_buyer", "at": START}
    with unit_of_work() as uow:
        return subscriptions.buy(uow, key=key, **(wanted | changes))


def renew(one: Subscription, at: datetime, *, sold: bool = True) -> str | None:
    with unit_of_work() as uow:
        return subscriptions.renew(uow, one.id, at, sold=sold)


def current(one: Subscription) -> Subscription:
    with unit_of_work() as uow:
        return subscriptions.get(uow, one.id, BUYER)


def money() -> tuple[int, int]:
    """The buyer's balance and the maker's earnings."""
    with unit_of_work() as uow:
        assert service.ledger_sum(uow) == 0
        return service.balance(uow, BUYER), service.earnings(uow, MAKER)


def test_a_month_is_one_movement_and_its_tokens(db: str) -> None:
    fill(12 * CREDIT)
    package = offer(price=5 * CREDIT + 1)
    bought = buy(package)
    assert (bought.state, bought.renewal, bought.package) == ("active", "renews", package)
    assert (bought.allowance.tokens, bought.allowance.unused) == (10_000, 10_000)
    assert (bought.allowance.starts_at, bought.allowance.ends_at) == (START, MARCH)
    assert bought.ends_at == bought.due_at == MARCH
    assert money() == (7 * CREDIT - 1, 4 * CREDIT)
    with unit_of_work() as uow:
        [_, spent] = service.entries(uow, BUYER)
        assert (spent.kind, spent.meta["model"]) == ("package", "tent-helper")
        assert service.earnings_by_expert(uow, MAKER) == [("tent-helper", 0, 0, 4 * CREDIT)]
        assert packages.of_owner(uow, "tent-helper", MAKER) == [(package, 1)]


def test_buying_again_under_the_same_key_changes_nothing(db: str) -> None:
    fill(20 * CREDIT)
    package, other = offer(), offer("Other")
    assert buy(package) == buy(package)
    assert money()[0] == 15 * CREDIT
    with pytest.raises(Conflict, match="request key"):
        buy(other)
    with pytest.raises(BadInput):
        buy(other, key="")


def test_one_package_for_each_expert_at_a_time(db: str) -> None:
    fill(20 * CREDIT)
    package, other = offer(), offer("Other", subject="other")
    buy(package)
    with pytest.raises(Conflict, match="2026-02-28"):
        buy(package, "second")
    buy(other, "third")
    assert money()[0] == 10 * CREDIT
    with unit_of_work() as uow:
        assert [one.subject for one in subscriptions.mine(uow, BUYER)] == ["other", "tent-helper"]
        assert subscriptions.mine(uow, "ten_other") == []


def test_the_last_credit_buys_and_one_less_does_not(db: str) -> None:
    fill(5 * CREDIT - 1)
    package = offer()
    with pytest.raises(InsufficientCredit) as refused:
        buy(package)
    assert refused.value.facts == {"balance": "4.999999", "needed": "5.00", "missing": "0.000001"}
    assert money() == (5 * CREDIT - 1, 0)
    fill(1, "more")
    buy(package)
    assert money() == (0, 4 * CREDIT)


def test_what_calls_hold_buys_no_package(db: str) -> None:
    fill(5 * CREDIT)
    with unit_of_work() as uow:
        service.hold(
            uow,
            tenant_id=BUYER,
            amount_micro=1,
            key="call",
            subject={},
            expires_at=now() + timedelta(hours=1),
        )
    with pytest.raises(InsufficientCredit):
        buy(offer())


def test_unknown_and_withdrawn_packages_are_not_sold(db: str) -> None:
    fill(20 * CREDIT)
    package = offer()
    with unit_of_work() as uow:
        packages.withdraw(uow, package.id, subject=package.subject, tenant_id=MAKER)
    with pytest.raises(Conflict, match="not sold any more"):
        buy(package)
    for package_id in ("pkg_none", "\x00"):
        with pytest.raises(NotFound):
            buy(package, package_id=package_id)
    assert money() == (20 * CREDIT, 0)


def test_a_month_follows_the_other_on_the_day_of_the_first(db: str) -> None:
    fill(50 * CREDIT)
    bought = buy(offer())
    assert renew(bought, MARCH - timedelta(seconds=1)) is None
    assert renew(bought, MARCH + timedelta(minutes=1)) == "active"
    assert renew(bought, MARCH + timedelta(minutes=1)) is None
    found = current(bought)
    assert (found.allowance.starts_at, found.ends_at) == (MARCH, datetime(2026, 3, 31, 12, tzinfo=UTC))
    assert money()[0] == 40 * CREDIT


def test_tokens_lapse_with_their_month(db: str) -> None:
    fill(50 * CREDIT)
    bought = buy(offer())
    renew(bought, MARCH)
    assert current(bought).allowance.unused == 10_000


def test_months_that_nobody_looked_at_are_not_charged_later(db: str) -> None:
    fill(50 * CREDIT)
    bought = buy(offer())
    renew(bought, datetime(2026, 6, 3, tzinfo=UTC))
    assert current(bought).allowance.starts_at == datetime(2026, 5, 31, 12, tzinfo=UTC)
    assert money()[0] == 40 * CREDIT


def test_a_cancelled_one_lasts_to_the_end_of_its_month(db: str) -> None:
    fill(20 * CREDIT)
    bought = buy(offer())
    for _ in range(2):
        with unit_of_work() as uow:
            left = subscriptions.cancel(uow, bought.id, tenant_id=BUYER)
        assert (left.state, left.renewal, left.ends_at) == ("ending", "ends", MARCH)
    assert money()[0] == 15 * CREDIT
    assert renew(bought, MARCH) == "ended"
    found = current(bought)
    assert (found.state, found.reason, money()[0]) == ("ended", "cancelled", 15 * CREDIT)
    with unit_of_work() as uow:
        assert subscriptions.cancel(uow, bought.id, tenant_id=BUYER) == found


def test_nobody_cancels_what_is_not_theirs(db: str) -> None:
    fill(20 * CREDIT)
    bought = buy(offer())
    for one, tenant in ((bought.id, MAKER), ("sub_none", BUYER), ("\x00", BUYER)):
        with pytest.raises(NotFound), unit_of_work() as uow:
            subscriptions.cancel(uow, one, tenant_id=tenant)
    assert current(bought).state == "active"


def test_a_withdrawn_package_is_kept_to_the_end_of_the_month_and_not_renewed(db: str) -> None:
    fill(20 * CREDIT)
    package = offer()
    bought = buy(package)
    with unit_of_work() as uow:
        packages.withdraw(uow, package.id, subject=package.subject, tenant_id=MAKER)
    found = current(bought)
    assert (found.state, found.renewal) == ("active", "withdrawn")
    assert renew(bought, MARCH) == "ended"
    assert (current(bought).reason, money()[0]) == ("withdrawn", 15 * CREDIT)


def test_an_expert_that_left_the_market_is_not_renewed(db: str) -> None:
    fill(20 * CREDIT)
    bought = buy(offer())
    assert renew(bought, MARCH, sold=False) == "ended"
    assert (current(bought).reason, money()[0]) == ("off_market", 15 * CREDIT)


def test_what_cannot_be_paid_is_tried_hourly_for_three_days(db: str) -> None:
    fill(6 * CREDIT)
    bought = buy(offer())
    assert renew(bought, MARCH) == "unpaid"
    assert current(bought).due_at == MARCH + timedelta(hours=1)
    assert renew(bought, MARCH + timedelta(minutes=59)) is None
    assert renew(bought, MARCH + timedelta(hours=1)) == "unpaid"
    with unit_of_work() as uow:
        assert uow.scalar(text("SELECT count(*) FROM billing_allowances")) == 1
    assert renew(bought, MARCH + timedelta(days=3)) == "ended"
    assert (current(bought).reason, money()[0]) == ("unpaid", CREDIT)


def test_credits_that_come_in_time_renew_it(db: str) -> None:
    fill(6 * CREDIT)
    bought = buy(offer())
    renew(bought, MARCH)
    fill(4 * CREDIT, "late")
    assert renew(bought, MARCH + timedelta(hours=30)) == "active"
    found = current(bought)
    assert (found.state, found.allowance.starts_at, money()[0]) == ("active", MARCH, 0)


def test_an_unpaid_one_gives_way_to_another_and_can_be_cancelled(db: str) -> None:
    fill(6 * CREDIT)
    package, cheap = offer(), offer("Cheap", price=CREDIT)
    bought = buy(package)
    renew(bought, MARCH)
    again = buy(cheap, "cheap", at=MARCH + timedelta(hours=2))
    assert current(bought).reason == "replaced" and again.state == "active"
    renew(again, again.ends_at)
    with unit_of_work() as uow:
        assert subscriptions.cancel(uow, again.id, tenant_id=BUYER).reason == "cancelled"


def test_a_step_that_is_undone_is_done_whole_at_the_next_turn(db: str) -> None:
    """As when the process dies between the movement and its end: the same key again, once."""
    fill(20 * CREDIT)
    package = offer()
    with pytest.raises(KeyboardInterrupt), unit_of_work() as uow:
        subscriptions.buy(
            uow, package_id=package.id, tenant_id=BUYER, person_id="per_buyer", key="k", at=START
        )
        raise KeyboardInterrupt
    assert money()[0] == 20 * CREDIT
    bought = buy(package)
    with pytest.raises(KeyboardInterrupt), unit_of_work() as uow:
        subscriptions.renew(uow, bought.id, MARCH, sold=True)
        raise KeyboardInterrupt
    assert renew(bought, MARCH) == "active"
    assert money() == (10 * CREDIT, 8 * CREDIT)


def together(*actions: Any) -> list[Any]:
    barrier = Barrier(len(actions))

    def run(action: Any) -> Any:
        barrier.wait(timeout=30)
        try:
            return action()
        except (Conflict, InsufficientCredit) as refusal:
            return type(refusal)

    with ThreadPoolExecutor(len(actions)) as pool:
        return list(pool.map(run, actions))


def test_two_buyers_at_once_and_the_credit_for_one(db: str) -> None:
    fill(8 * CREDIT)
    package, other = offer(), offer("Other", subject="other")
    ended = together(lambda: buy(package, "one"), lambda: buy(other, "two"))
    assert sorted(type(one) is type for one in ended) == [False, True]
    assert InsufficientCredit in ended and money() == (3 * CREDIT, 4 * CREDIT)


def test_two_clicks_at_once_buy_once(db: str) -> None:
    fill(50 * CREDIT)
    package = offer()
    assert len({one.id for one in together(*[lambda: buy(package)] * 6)}) == 1
    other = offer("Other", subject="other")
    ended = together(*[lambda n=n: buy(other, f"key {n}") for n in range(6)])
    assert ended.count(Conflict) == 5
    assert money()[0] == 40 * CREDIT


def test_tenants_buy_the_same_package_side_by_side(db: str) -> None:
    package = offer()
    tenants = [f"ten_{number}" for number in range(6)]
    for tenant in tenants:
        fill(5 * CREDIT, tenant=tenant)
    together(*[lambda t=t: buy(package, tenant_id=t) for t in tenants])
    with unit_of_work() as uow:
        assert packages.of_owner(uow, package.subject, MAKER)[0].subscribers == 6
        assert service.earnings(uow, MAKER) == 24 * CREDIT


def test_workers_at_once_renew_once(db: str) -> None:
    fill(50 * CREDIT)
    bought = buy(offer())
    ended = together(*[lambda: renew(bought, MARCH)] * 6)
    assert sorted(map(str, ended)) == ["None"] * 5 + ["active"]
    assert money() == (40 * CREDIT, 8 * CREDIT)
