"""Any order of top-ups, holds, settlements, releases, sweeps and retries keeps the books right."""

import os
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from engine.billing import service
from engine.billing.schemas import Receipt
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, InsufficientCredit

AMOUNTS = st.one_of(st.integers(1, 12), st.integers(1, 3_000_000))
WHO = st.integers(0, 2)
PICK = st.integers(0, 10_000)
UNBALANCED = (
    "SELECT transaction_id FROM billing_entries GROUP BY transaction_id HAVING sum(amount_micro) <> 0"
)


@dataclass
class Call:
    """What the machine knows of one hold."""

    id: str
    tenant: str
    key: str
    amount: int
    minutes: int
    receipt: Receipt | None = None
    settled_with: tuple[int, str] | None = None


class Books(RuleBasedStateMachine):
    """Three tenants who are each other's developers, beside a plain account of what they should have."""

    def __init__(self) -> None:
        super().__init__()
        run = os.urandom(6).hex()
        self.tenants = [f"ten_{run}_{number}" for number in range(3)]
        self.start = now()
        self.wallet = dict.fromkeys(self.tenants, 0)
        self.earned = dict.fromkeys(self.tenants, 0)
        self.top_ups: list[tuple[str, int]] = []
        self.calls: list[Call] = []

    def keep(self, call: Call, receipt: Receipt) -> None:
        """Take in how a hold ended, or check that it ended only once."""
        if call.receipt is not None:
            assert receipt == call.receipt
            return
        call.receipt = receipt
        self.wallet[call.tenant] += receipt.returned_micro

    @initialize(amounts=st.tuples(AMOUNTS, AMOUNTS, AMOUNTS))
    def fill_the_wallets(self, amounts: tuple[int, int, int]) -> None:
        for who, amount in enumerate(amounts):
            self.top_up(who, amount)

    @rule(who=WHO, amount=AMOUNTS)
    def top_up(self, who: int, amount: int) -> None:
        tenant = self.tenants[who]
        with unit_of_work() as uow:
            service.top_up(uow, tenant_id=tenant, amount_micro=amount, key=str(len(self.top_ups)), by="p")
        self.top_ups.append((tenant, amount))
        self.wallet[tenant] += amount

    @precondition(lambda self: self.top_ups)
    @rule(pick=PICK, more=st.integers(0, 1))
    def top_up_again(self, pick: int, more: int) -> None:
        number = pick % len(self.top_ups)
        tenant, amount = self.top_ups[number]
        try:
            with unit_of_work() as uow:
                service.top_up(uow, tenant_id=tenant, amount_micro=amount + more, key=str(number), by="p")
            assert more == 0
        except Conflict:
            assert more == 1

    def _hold(self, tenant: str, key: str, amount: int, minutes: int) -> str:
        with unit_of_work() as uow:
            return service.hold(
                uow,
                tenant_id=tenant,
                amount_micro=amount,
                key=key,
                subject={"key": key},
                expires_at=self.start + timedelta(minutes=minutes),
            ).id

    @rule(who=WHO, percent=st.integers(1, 110), minutes=st.integers(1, 60))
    def hold(self, who: int, percent: int, minutes: int) -> None:
        tenant, key = self.tenants[who], f"call {len(self.calls)}"
        amount = max(1, self.wallet[tenant] * percent // 100)
        try:
            hold_id = self._hold(tenant, key, amount, minutes)
        except InsufficientCredit:
            assert self.wallet[tenant] < amount
            return
        self.wallet[tenant] -= amount
        self.calls.append(Call(hold_id, tenant, key, amount, minutes))

    @precondition(lambda self: self.calls)
    @rule(pick=PICK)
    def hold_again(self, pick: int) -> None:
        call = self.calls[pick % len(self.calls)]
        assert self._hold(call.tenant, call.key, call.amount, call.minutes) == call.id

    @precondition(lambda self: self.calls)
    @rule(pick=PICK, developer=WHO, amount=st.one_of(st.just(0), AMOUNTS))
    def settle(self, pick: int, developer: int, amount: int) -> None:
        call = self.calls[pick % len(self.calls)]
        body = (amount, self.tenants[developer])
        refused = call.settled_with not in (None, body)
        try:
            with unit_of_work() as uow:
                receipt = service.settle(
                    uow,
                    hold_id=call.id,
                    amount_micro=amount,
                    developer_tenant_id=body[1],
                    usage={"model": "m"},
                )
        except Conflict:
            assert refused
            return
        assert not refused
        if call.receipt is None:
            call.settled_with = body
            self.earned[body[1]] += min(amount, call.amount) * 8 // 10
        self.keep(call, receipt)

    @rule(who=WHO, percent=st.integers(1, 50), developer=WHO, charge=st.integers(0, 120))
    def call_an_expert(self, who: int, percent: int, developer: int, charge: int) -> None:
        made = len(self.calls)
        self.hold(who, percent, 30)
        if len(self.calls) > made:
            self.settle(made, developer, self.calls[made].amount * charge // 100)

    @precondition(lambda self: self.calls)
    @rule(pick=PICK)
    def release(self, pick: int) -> None:
        call = self.calls[pick % len(self.calls)]
        with unit_of_work() as uow:
            self.keep(call, service.release(uow, call.id, "cancelled"))

    @rule(minutes=st.integers(0, 20))
    def sweep(self, minutes: int) -> None:
        expired = [call for call in self.calls if call.receipt is None and call.minutes <= minutes]
        with unit_of_work() as uow:
            assert service.sweep(uow, self.start + timedelta(minutes=minutes)) == len(expired)
            for call in expired:
                self.keep(call, service.receipt(uow, call.id, call.tenant))

    @invariant()
    def the_books_are_right(self) -> None:
        with unit_of_work() as uow:
            assert service.ledger_sum(uow) == 0
            assert not uow.execute(text(UNBALANCED)).all()
            for tenant in self.tenants:
                running = [
                    call.amount for call in self.calls if call.tenant == tenant and call.receipt is None
                ]
                assert service.balance(uow, tenant) == self.wallet[tenant] >= 0
                assert service.held(uow, tenant) == sum(running)
                assert service.earnings(uow, tenant) == self.earned[tenant]
                for receipt in service.receipts(uow, tenant, 1000):
                    parts = receipt.developer_micro + receipt.platform_micro + receipt.returned_micro
                    assert parts == receipt.held_micro

    def teardown(self) -> None:
        with unit_of_work() as uow:
            service.sweep(uow, self.start + timedelta(days=1))


def test_the_books_stay_right_in_any_order(db: str) -> None:
    run_state_machine_as_test(
        Books,
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # a failing run is short enough to read; shrinking it takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
