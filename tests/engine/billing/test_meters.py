"""Machine time on the ledger: exactly what was measured is charged, as far as the wallet has it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.billing import meters
from engine.billing import reconciliation as books
from engine.billing import service as billing
from engine.billing.schemas import MeterView, Rates
from engine.kit.clock import now
from engine.kit.database import unit_of_work

TEN = "ten_a"
HOUR = 3_600_000
RATES = Rates(cpu_hour_micro=200_000, gpu_hour_micro=4_000_000)


def fill(amount: int, key: str = "top") -> None:
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=TEN, amount_micro=amount, key=key, by="p")


def set_up(key: str = "job_1:1", rates: Rates = RATES, work_id: str = "job_1") -> None:
    with unit_of_work() as uow:
        subject = {"job_id": work_id, "job_kind": "training.sft", "title": "Shop"}
        meters.start(uow, key=key, tenant_id=TEN, work_id=work_id, subject=subject, rates=rates)


def charge(cpu_ms: int, gpu_ms: int = 0, *, key: str = "job_1:1", last: bool = False) -> MeterView:
    with unit_of_work() as uow:
        meter = meters.charge(uow, key, cpu_ms=cpu_ms, gpu_ms=gpu_ms, last=last)
    assert meter is not None
    return meter


def free() -> int:
    with unit_of_work() as uow:
        return billing.balance(uow, TEN)


@given(st.integers(0, 10**12), st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_cost_is_exact_and_a_started_micro_credit_counts_as_one(a: int, b: int, c: int, d: int) -> None:
    cost = Rates(cpu_hour_micro=c, gpu_hour_micro=d).cost(a, b)
    assert cost * HOUR >= a * c + b * d > (cost - 1) * HOUR


def test_a_charge_moves_credits_from_the_wallet_to_the_platform(db: str) -> None:
    fill(1_000_000)
    set_up()
    assert charge(HOUR).charged_micro == 200_000
    assert charge(HOUR, HOUR // 10, last=True).charged_micro == 600_000
    with unit_of_work() as uow:
        newest, older, _ = billing.entries(uow, TEN)
        assert billing.ledger_sum(uow) == 0
        assert meters.charged(uow, TEN, "job_1") == (600_000, 0)
        assert meters.charged(uow, "ten_b", "job_1") == (0, 0)
        assert meters.running(uow) == []
    assert (newest.kind, newest.amount_micro, older.amount_micro) == ("training", -400_000, -200_000)
    expected = {"job_id": "job_1", "title": "Shop", "cpu_ms": HOUR, "gpu_hour_micro": 4_000_000}
    assert expected.items() <= newest.meta.items()
    assert free() == 400_000


def test_a_repeated_or_late_charge_books_nothing_twice(db: str) -> None:
    fill(1_000_000)
    set_up()
    for measured in (HOUR, HOUR, HOUR // 2, 0):
        assert charge(measured).charged_micro == 200_000
    set_up()  # the same attempt again: it goes on counting
    assert charge(HOUR + 1, last=True).charged_micro == 200_001
    # A worker that counts a little more after the end is believed.
    assert (charge(2 * HOUR).charged_micro, charge(HOUR).state) == (400_000, "closed")
    assert free() == 600_000


def test_the_wallet_pays_what_it_has_beside_its_holds_and_the_rest_is_paid_later(db: str) -> None:
    fill(150_000)
    set_up()
    with unit_of_work() as uow:
        expires = now() + timedelta(minutes=5)
        billing.hold(uow, tenant_id=TEN, amount_micro=50_000, key="call", subject={}, expires_at=expires)
    short = charge(HOUR)
    assert (short.charged_micro, short.unpaid_micro, free()) == (100_000, 100_000, 0)
    assert charge(HOUR, last=True) == short.model_copy(update={"state": "closed"})
    fill(30_000, "more")
    with unit_of_work() as uow:
        assert meters.unpaid(uow, TEN) == 100_000
        assert meters.collect(uow, TEN) == 70_000
    fill(100_000, "enough")
    with unit_of_work() as uow:
        assert meters.collect(uow, TEN) == 0 and meters.collect(uow, "ten_b") == 0
        assert meters.charged(uow, TEN, "job_1") == (200_000, 0)
    assert free() == 30_000


def test_where_machine_time_is_free_nothing_moves(db: str) -> None:
    set_up(rates=Rates(0, 0))
    assert charge(HOUR, HOUR, last=True).charged_micro == 0
    with unit_of_work() as uow:
        assert billing.entries(uow, TEN) == [] and meters.charge(uow, "none", cpu_ms=1, gpu_ms=1) is None


def test_two_workers_that_charge_at_once_book_each_second_once(db: str) -> None:
    fill(1_000_000)
    set_up()
    measured = [step * HOUR // 40 for step in range(1, 41)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(charge, measured * 2))
    assert charge(0).charged_micro == 200_000 and free() == 800_000
    with unit_of_work() as uow:
        assert sum(entry.amount_micro for entry in billing.entries(uow, TEN, 200)) == 800_000


class Metering(RuleBasedStateMachine):
    """Attempts that measure, are charged, die between, and wallets that run dry and are filled."""

    @initialize()
    def begin(self) -> None:
        self.attempts = 0
        self.measured: dict[str, tuple[int, int]] = {}
        self.rates: dict[str, Rates] = {}
        self.filled = 0

    @rule(cpu=st.integers(0, 10**6), gpu=st.integers(0, 10**6))
    def attempt(self, cpu: int, gpu: int) -> None:
        self.attempts += 1
        key = f"{TEN}{id(self)}:{self.attempts}"
        self.rates[key] = Rates(cpu, gpu)
        self.measured[key] = (0, 0)
        set_up(key, self.rates[key], work_id=f"job_{id(self)}")

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), cpu=st.integers(0, 10**7), gpu=st.integers(0, 10**7))
    def measure(self, data: Any, cpu: int, gpu: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.measured)))
        before = self.measured[key]
        self.measured[key] = (before[0] + cpu, before[1] + gpu)

    @precondition(lambda self: self.attempts)
    @rule(data=st.data(), last=st.booleans())
    def charge(self, data: Any, last: bool) -> None:
        key = data.draw(st.sampled_from(sorted(self.measured)))
        found = charge(*self.measured[key], key=key, last=last)
        assert found.charged_micro + found.unpaid_micro == self.rates[key].cost(*self.measured[key])
        assert not found.unpaid_micro or free() == 0

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def die_while_charging(self, data: Any) -> None:
        key = data.draw(st.sampled_from(sorted(self.measured)))
        cpu_ms, gpu_ms = self.measured[key]
        with pytest.raises(InterruptedError), unit_of_work() as uow:
            meters.charge(uow, key, cpu_ms=cpu_ms, gpu_ms=gpu_ms, last=True)
            raise InterruptedError

    @rule(amount=st.integers(1, 10**6))
    def fill(self, amount: int) -> None:
        self.filled += amount
        fill(amount, f"top {id(self)} {self.filled}")
        with unit_of_work() as uow:
            meters.collect(uow, TEN)

    @invariant()
    def the_books_agree(self) -> None:
        with unit_of_work() as uow:
            assert billing.balance(uow, TEN) >= 0
            assert billing.ledger_sum(uow) == 0
            _, wrong = books.check_wallets(uow, None, now())
            assert wrong == []

    def teardown(self) -> None:
        """In the end exactly what was measured is paid."""
        fill(10**10, f"enough {id(self)}")
        for key, measured in getattr(self, "measured", {}).items():
            found = charge(*measured, key=key, last=True)
            assert (found.charged_micro, found.unpaid_micro) == (self.rates[key].cost(*measured), 0)
        with unit_of_work() as uow:
            meters.collect(uow, TEN)
            spent = sum(self.rates[key].cost(*each) for key, each in self.measured.items())
            assert meters.charged(uow, TEN, f"job_{id(self)}") == (spent, 0)


def test_whatever_happens_between_exactly_what_was_measured_is_charged(db: str) -> None:
    limits = settings(
        max_examples=25,
        stateful_step_count=20,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    run_state_machine_as_test(Metering, settings=limits)  # type: ignore[no-untyped-call]
