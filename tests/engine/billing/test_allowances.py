"""Calls that a package pays for: tokens set aside, counted and freed, and no credits."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from engine.billing import holds, service, subscriptions
from engine.billing.allowances import PackageUsedUp
from engine.billing.schemas import Allowance, HoldRequest, HoldView, Receipt, Settlement, Subscription
from engine.kit.clock import now
from engine.kit.database import swift, unit_of_work
from engine.kit.errors import EngineError
from engine.kit.money import CREDIT
from tests.engine.billing.test_packages import MAKER, offer
from tests.engine.billing.test_subscriptions import BUYER, buy, fill, together

USAGE = {"model": "tent-helper", "input_tokens": 30, "output_tokens": 12}


@pytest.fixture
def bought(db: str) -> Subscription:
    """A running package of 10,000 tokens, and five credits more."""
    fill(10 * CREDIT)
    return buy(offer(), at=now())


def asking(bought: Subscription, tokens: int, key: str = "call", **changes: Any) -> HoldRequest:
    wanted = {
        "tenant_id": BUYER,
        "amount_micro": 0,
        "key": key,
        "subject": {"model": "tent-helper"},
        "expires_at": now() + timedelta(minutes=10),
        "allowance_id": bought.allowance.id,
        "tokens": tokens,
    }
    return HoldRequest(**(wanted | changes))


def hold_all(*asked: HoldRequest) -> list[HoldView | EngineError]:
    with unit_of_work() as uow:
        return holds.hold_many(uow, asked)


def held(bought: Subscription, tokens: int, key: str = "call", **changes: Any) -> HoldView:
    [verdict] = hold_all(asking(bought, tokens, key, **changes))
    assert isinstance(verdict, HoldView)
    return verdict


def settling(hold: HoldView, tokens: int, micro: int = 0) -> Settlement:
    return Settlement(
        hold_id=hold.id, amount_micro=micro, developer_tenant_id=MAKER, usage=USAGE, tokens=tokens
    )


def settle(hold: HoldView, tokens: int, micro: int = 0) -> Receipt:
    with unit_of_work() as uow:
        [verdict] = holds.settle_many(uow, [settling(hold, tokens, micro)])
    assert isinstance(verdict, Receipt)
    return verdict


def left(bought: Subscription) -> tuple[int, int]:
    """Tokens used and held."""
    with unit_of_work() as uow:
        found: Allowance = subscriptions.get(uow, bought.id, BUYER).allowance
        assert service.ledger_sum(uow) == 0
        assert (service.balance(uow, BUYER), service.held(uow, BUYER)) == (5 * CREDIT, 0)
        assert service.earnings(uow, MAKER) == 4 * CREDIT
    return found.used_tokens, found.held_tokens


def test_tokens_are_held_then_counted_and_the_rest_is_free(bought: Subscription) -> None:
    hold = held(bought, 4_000)
    assert (hold.amount_micro, hold.allowance_id, hold.held_tokens) == (0, bought.allowance.id, 4_000)
    assert left(bought) == (0, 4_000)
    receipt = settle(hold, 42)
    assert left(bought) == (42, 0)
    assert (receipt.charged_micro, receipt.held_micro, receipt.developer_micro) == (0, 0, 0)
    assert receipt.usage == USAGE | {"package_tokens": 42, "allowance_id": bought.allowance.id}
    assert receipt.paid and receipt.package_tokens == 42
    assert settle(hold, 42) == receipt and left(bought) == (42, 0)


def test_a_call_that_is_not_paid_for_frees_its_tokens(bought: Subscription) -> None:
    hold = held(bought, 4_000)
    with unit_of_work() as uow:
        receipt = service.release(uow, hold.id, "cancelled")
    assert not receipt.paid and left(bought) == (0, 0)
    assert settle(hold, 42) == receipt and left(bought) == (0, 0)


def test_an_expired_hold_frees_its_tokens(bought: Subscription) -> None:
    held(bought, 4_000, expires_at=now() - timedelta(seconds=1))
    for swept in (1, 0):
        with unit_of_work() as uow:
            assert service.sweep(uow, now()) == swept
        assert left(bought) == (0, 0)


def test_the_last_tokens_can_be_held_and_not_one_more(bought: Subscription) -> None:
    first, second, third = hold_all(
        asking(bought, 6_000, "a"), asking(bought, 4_001, "b"), asking(bought, 4_000, "c")
    )
    assert isinstance(second, PackageUsedUp)
    assert isinstance(first, HoldView) and isinstance(third, HoldView)
    assert left(bought) == (0, 10_000)


def test_what_was_used_beyond_the_hold_counts_as_far_as_there_is_any(bought: Subscription) -> None:
    one, other = held(bought, 100, "a"), held(bought, 9_000, "b")
    receipt = settle(one, 2_000)
    assert receipt.usage["package_tokens"] == 1_000 and receipt.usage["uncovered_tokens"] == 1_000
    assert left(bought) == (1_000, 9_000)
    assert "uncovered_tokens" not in settle(other, 9_000).usage
    assert left(bought) == (10_000, 0)


def test_a_retry_gets_the_same_hold(bought: Subscription) -> None:
    assert held(bought, 10_000) == held(bought, 10_000)
    assert left(bought) == (0, 10_000)


@pytest.mark.parametrize(
    "change",
    [
        {"tenant_id": "ten_other"},
        {"subject": {"model": "other"}},
        {"allowance_id": "alw_none"},
        {"tokens": 0},
        {"tokens": -5},
    ],
)
def test_nobody_uses_another_package_than_their_own_for_its_expert(
    bought: Subscription, change: dict[str, object]
) -> None:
    [verdict] = hold_all(asking(bought, **({"tokens": 10} | change)))  # type: ignore[arg-type]
    assert isinstance(verdict, PackageUsedUp) and left(bought) == (0, 0)


def test_a_package_that_is_over_pays_no_call_but_those_that_began(db: str) -> None:
    fill(10 * CREDIT)
    start = now() - timedelta(days=32)
    over = buy(offer(), at=start)
    [verdict] = hold_all(asking(over, 10))
    assert isinstance(verdict, PackageUsedUp)


def test_the_ordinary_ways_leave_it_alone(bought: Subscription) -> None:
    with swift() as connection:
        assert holds.hold_ordinary(connection, [asking(bought, 10)]) == [None]
    hold = held(bought, 10)
    for micro in (0, 1, CREDIT):
        with swift() as connection:
            assert holds.settle_ordinary(connection, [settling(hold, 5, micro)]) == [None]
    assert left(bought) == (0, 10)
    assert settle(hold, 5, CREDIT).charged_micro == 0


def test_a_credit_hold_beside_it_is_settled_as_ever(bought: Subscription) -> None:
    packed, plain = hold_all(
        asking(bought, 10, "a"),
        asking(bought, 0, "b", allowance_id=None, amount_micro=CREDIT),
    )
    assert isinstance(packed, HoldView) and isinstance(plain, HoldView)
    with swift() as connection:
        nothing, receipt = holds.settle_ordinary(
            connection, [settling(packed, 5, 10), settling(plain, 5, 10)]
        )
    assert nothing is None and receipt is not None and receipt.charged_micro == 10


def test_calls_at_once_never_promise_a_token_twice(bought: Subscription) -> None:
    def call(number: int) -> int:
        made = 0
        for turn in range(4):
            [verdict] = hold_all(asking(bought, 700, f"{number} {turn}"))
            if isinstance(verdict, HoldView):
                settle(verdict, 300)
                made += 1
            else:
                assert isinstance(verdict, PackageUsedUp)
        return made

    made = sum(together(*[lambda n=n: call(n) for n in range(8)]))
    assert left(bought) == (300 * made, 0) and made > 14


def test_a_hold_ends_once_when_settled_released_and_swept_together(bought: Subscription) -> None:
    hold = held(bought, 1_000, expires_at=datetime(2026, 1, 1, tzinfo=now().tzinfo))

    def release() -> None:
        with unit_of_work() as uow:
            service.release(uow, hold.id, "cancelled")

    def sweep() -> None:
        with unit_of_work() as uow:
            service.sweep(uow, now())

    together(*[lambda: settle(hold, 10), release, sweep] * 3)
    used, still = left(bought)
    assert still == 0 and used in (0, 10)
