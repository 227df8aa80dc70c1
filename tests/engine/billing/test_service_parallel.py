"""Many at once: no overdraft, one effect per key, one end per hold."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.orm import Session

from engine.billing import holds, service
from engine.billing.schemas import HoldRequest
from engine.kit.clock import now
from engine.kit.database import swift, unit_of_work
from engine.kit.errors import InsufficientCredit

THREADS = 16
T = TypeVar("T")


def together(action: Callable[[int], T]) -> list[T]:
    """Run `action` with 0 to 15 in as many threads, started at the same moment."""
    barrier = Barrier(THREADS)

    def run(number: int) -> T:
        barrier.wait(timeout=30)
        return action(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(run, range(THREADS)))


def top_up(amount: int, key: str = "top") -> str:
    with unit_of_work() as uow:
        return service.top_up(uow, tenant_id="ten_a", amount_micro=amount, key=key, by="per_a").id


def hold(amount: int, key: str) -> str:
    with unit_of_work() as uow:
        return service.hold(
            uow,
            tenant_id="ten_a",
            amount_micro=amount,
            key=key,
            subject={},
            expires_at=now() + timedelta(minutes=1),
        ).id


def test_parallel_holds_never_overdraw(db: str) -> None:
    top_up(100)

    def spend(number: int) -> int:
        made = 0
        for call in range(3):
            try:
                hold(7, f"{number}-{call}")
                made += 1
            except InsufficientCredit:
                pass
        return made

    assert sum(together(spend)) == 14
    with unit_of_work() as uow:
        assert (service.balance(uow, "ten_a"), service.held(uow, "ten_a")) == (2, 98)
        assert service.ledger_sum(uow) == 0


def test_parallel_calls_from_hold_to_settlement_add_up(db: str) -> None:
    top_up(16_000)

    def call(number: int) -> int:
        charged = 0
        for turn in range(3):
            hold_id = hold(100, f"{number}-{turn}")
            with unit_of_work() as uow:
                receipt = service.settle(
                    uow,
                    hold_id=hold_id,
                    amount_micro=number + turn,
                    developer_tenant_id="ten_d",
                    usage={"model": "m"},
                )
            charged += receipt.charged_micro
        return charged

    charged = sum(together(call))
    with unit_of_work() as uow:
        assert service.balance(uow, "ten_a") == 16_000 - charged
        assert service.held(uow, "ten_a") == 0
        assert service.ledger_sum(uow) == 0


def test_parallel_retries_of_one_request_have_one_effect(db: str) -> None:
    assert len(set(together(lambda _: top_up(100)))) == 1
    assert len(set(together(lambda _: hold(60, "same")))) == 1
    with unit_of_work() as uow:
        assert (service.balance(uow, "ten_a"), service.held(uow, "ten_a")) == (40, 60)


def test_a_hold_ends_once_when_settled_released_and_swept_together(db: str) -> None:
    top_up(100)
    hold_id = hold(60, "call")

    def end(number: int) -> str | None:
        with unit_of_work() as uow:
            if number % 3 == 0:
                service.sweep(uow, now() + timedelta(hours=1))
                return None
            if number % 3 == 1:
                return service.release(uow, hold_id, "cancelled").id
            return service.settle(
                uow, hold_id=hold_id, amount_micro=10, developer_tenant_id="ten_d", usage={}
            ).id

    receipts = {receipt for receipt in together(end) if receipt}
    with unit_of_work() as uow:
        receipt = service.receipt(uow, hold_id, "ten_a")
        assert receipts == {receipt.id}
        assert service.held(uow, "ten_a") == 0
        assert service.balance(uow, "ten_a") == 100 - receipt.charged_micro
        assert service.ledger_sum(uow) == 0


def meanwhile(change: Callable[[Session], object]) -> str:
    """Hold 100 by the ordinary way while another transaction has changed the wallet and will commit."""
    request = HoldRequest(
        tenant_id="ten_a", amount_micro=100, key="late", subject={}, expires_at=now() + timedelta(minutes=1)
    )

    def ordinary() -> str:
        with swift() as connection:
            [held] = holds.hold_ordinary(connection, [request])
        return held.id if held else ""

    with ThreadPoolExecutor(1) as pool:
        with unit_of_work() as uow:
            change(uow)
            waiting = pool.submit(ordinary)
            while not waits_for_a_lock():
                time.sleep(0.01)
        return waiting.result(timeout=30)


def waits_for_a_lock() -> bool:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with unit_of_work() as uow:
        return bool(uow.scalar(query))


def test_a_hold_that_waited_for_a_top_up_is_counted_in_its_wallet(db: str) -> None:
    top_up(50)
    held_id = meanwhile(
        lambda uow: service.top_up(uow, tenant_id="ten_a", amount_micro=1000, key="second", by="per_a")
    )
    with unit_of_work() as uow:
        assert held_id and (service.balance(uow, "ten_a"), service.held(uow, "ten_a")) == (950, 100)


def test_a_hold_that_waited_for_a_release_is_counted_in_its_wallet(db: str) -> None:
    top_up(1000)
    first = hold(500, "first")
    hold(500, "second")
    held_id = meanwhile(lambda uow: service.release(uow, first, "cancelled"))
    with unit_of_work() as uow:
        assert held_id and (service.balance(uow, "ten_a"), service.held(uow, "ten_a")) == (400, 600)


def test_a_hold_that_waited_for_a_spender_is_refused_by_what_is_left(db: str) -> None:
    top_up(150)
    assert meanwhile(lambda uow: _hold_in(uow, 100, "quick")) == ""
    with unit_of_work() as uow:
        assert (service.balance(uow, "ten_a"), service.held(uow, "ten_a")) == (50, 100)


def _hold_in(uow: Session, amount: int, key: str) -> None:
    service.hold(
        uow,
        tenant_id="ten_a",
        amount_micro=amount,
        key=key,
        subject={},
        expires_at=now() + timedelta(minutes=1),
    )
