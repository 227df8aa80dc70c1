"""Any order of top-ups, holds, settlements, releases, refunds, sweeps and retries keeps the books right."""

import os
from dataclasses import dataclass, field
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

from engine.billing import holds, refunds, service
from engine.billing.schemas import HoldRequest, HoldView, Receipt, Settlement
from engine.kit.clock import now
from engine.kit.database import swift, unit_of_work
from engine.kit.errors import BadInput, Conflict, EngineError, InsufficientCredit

AMOUNTS = st.one_of(st.integers(1, 12), st.integers(1, 3_000_000))
WHO = st.integers(0, 2)
PICK = st.integers(0, 10_000)
UNBALANCED = (
    "SELECT transaction_id FROM billing_entries GROUP BY transaction_id HAVING sum(amount_micro) <> 0"
)
# Wallets whose kept balance or holds are not the sums of entries and of open holds.
KEPT = """
SELECT w.tenant_id FROM billing_wallets w
LEFT JOIN billing_accounts a ON a.tenant_id = w.tenant_id AND a.kind = 'wallet'
WHERE w.balance_micro <> coalesce((SELECT sum(amount_micro) FROM billing_entries WHERE account_id = a.id), 0)
OR w.held_micro <> coalesce((SELECT sum(amount_micro) FROM billing_holds h
    WHERE h.tenant_id = w.tenant_id AND h.state = 'open'), 0)
"""


def hold_all(asked: list[HoldRequest], ordinary: bool) -> list[HoldView | EngineError]:
    """Hold as calls do: by one statement first, where `ordinary`, and the rest with care."""
    held: list[HoldView | None] = [None] * len(asked)
    if ordinary:
        with swift() as connection:
            held = holds.hold_ordinary(connection, asked)
    rest = [one for one, hold in zip(asked, held, strict=True) if hold is None]
    with unit_of_work() as uow:
        verdicts = iter(holds.hold_many(uow, rest))
    return [hold or next(verdicts) for hold in held]


def settle_all(asked: list[Settlement], ordinary: bool) -> list[tuple[int, Receipt | EngineError]]:
    """Settle in the same two ways; returns the places in `asked` in the order in which they were settled."""
    ended: list[Receipt | None] = [None] * len(asked)
    if ordinary:
        with swift() as connection:
            ended = holds.settle_ordinary(connection, asked)
    rest = [place for place, receipt in enumerate(ended) if receipt is None]
    with unit_of_work() as uow:
        verdicts = holds.settle_many(uow, [asked[place] for place in rest])
    first = [(place, receipt) for place, receipt in enumerate(ended) if receipt is not None]
    return [*first, *zip(rest, verdicts, strict=True)]


@dataclass
class Call:
    """What the machine knows of one hold."""

    id: str
    tenant: str
    key: str
    amount: int
    minutes: int
    budget: str | None = None
    receipt: Receipt | None = None
    settled_with: tuple[int, str] | None = None
    refunds: list[int] = field(default_factory=list)


class Books(RuleBasedStateMachine):
    """Three tenants who are each other's developers, beside a plain account of what they should have."""

    def __init__(self) -> None:
        super().__init__()
        run = os.urandom(6).hex()
        self.tenants = [f"ten_{run}_{number}" for number in range(3)]
        self.start = now()
        self.wallet = dict.fromkeys(self.tenants, 0)
        self.earned = dict.fromkeys(self.tenants, 0)
        self.limits = {f"budget_{run}_{number}": (tenant, 0) for number, tenant in enumerate(self.tenants)}
        self.top_ups: list[tuple[str, int]] = []
        self.calls: list[Call] = []

    def keep(self, call: Call, receipt: Receipt) -> None:
        """Take in how a hold ended, or check that it ended only once."""
        if call.receipt is not None:
            assert receipt == call.receipt
            return
        call.receipt = receipt
        self.wallet[call.tenant] += receipt.returned_micro - receipt.beyond_micro

    def left(self, budget: str) -> int:
        """What a budget has left, told from the calls under it."""
        under = [call for call in self.calls if call.budget == budget]
        taken = [call.receipt.charged_micro if call.receipt else call.amount for call in under]
        return self.limits[budget][1] - sum(taken)

    @initialize(amounts=st.tuples(AMOUNTS, AMOUNTS, AMOUNTS))
    def fill_the_wallets(self, amounts: tuple[int, int, int]) -> None:
        for who, amount in enumerate(amounts):
            self.top_up(who, amount)
            self.limit(who, amount)

    @rule(who=WHO, amount=AMOUNTS)
    def limit(self, who: int, amount: int) -> None:
        budget = list(self.limits)[who]
        tenant = self.limits[budget][0]
        with unit_of_work() as uow:
            service.set_budget(uow, budget_id=budget, tenant_id=tenant, limit_micro=amount)
        self.limits[budget] = (tenant, amount)

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

    def _request(self, call: Call) -> HoldRequest:
        return HoldRequest(
            tenant_id=call.tenant,
            amount_micro=call.amount,
            key=call.key,
            subject={"key": call.key},
            expires_at=self.start + timedelta(minutes=call.minutes),
            budget_id=call.budget,
        )

    def _covered(self, call: Call) -> bool:
        left = self.left(call.budget) if call.budget else call.amount
        return self.wallet[call.tenant] >= call.amount <= left

    @rule(
        wanted=st.lists(
            st.tuples(WHO, st.integers(1, 110), st.integers(1, 60), st.booleans()), min_size=1, max_size=6
        ),
        ordinary=st.booleans(),
    )
    def hold(self, wanted: list[tuple[int, int, int, bool]], ordinary: bool) -> None:
        made = [
            Call(
                "",
                self.tenants[who],
                f"call {len(self.calls)} {number}",
                max(1, self.wallet[self.tenants[who]] * percent // 100),
                minutes,
                list(self.limits)[who] if limited else None,
            )
            for number, (who, percent, minutes, limited) in enumerate(wanted)
        ]
        verdicts = hold_all([self._request(call) for call in made], ordinary)
        for call, verdict in zip(made, verdicts, strict=True):
            if isinstance(verdict, EngineError):
                assert isinstance(verdict, InsufficientCredit) and not self._covered(call)
                continue
            assert self._covered(call)
            call.id = verdict.id
            self.wallet[call.tenant] -= call.amount
            self.calls.append(call)

    @precondition(lambda self: self.calls)
    @rule(pick=PICK, ordinary=st.booleans())
    def hold_again(self, pick: int, ordinary: bool) -> None:
        call = self.calls[pick % len(self.calls)]
        [again] = hold_all([self._request(call)], ordinary)
        assert not isinstance(again, EngineError) and again.id == call.id

    @precondition(lambda self: self.calls)
    @rule(
        wanted=st.lists(st.tuples(PICK, WHO, st.one_of(st.just(0), AMOUNTS)), min_size=1, max_size=6),
        ordinary=st.booleans(),
    )
    def settle(self, wanted: list[tuple[int, int, int]], ordinary: bool) -> None:
        picked = [
            (self.calls[pick % len(self.calls)], amount, self.tenants[developer])
            for pick, developer, amount in wanted
        ]
        asked = [
            Settlement(
                hold_id=call.id, amount_micro=amount, developer_tenant_id=developer, usage={"model": "m"}
            )
            for call, amount, developer in picked
        ]
        for place, verdict in settle_all(asked, ordinary):
            call, amount, developer = picked[place]
            refused = call.settled_with not in (None, (amount, developer))
            assert isinstance(verdict, Conflict) if refused else isinstance(verdict, Receipt)
            if not isinstance(verdict, Receipt):
                continue
            if call.receipt is None:
                room = self.wallet[call.tenant]
                if call.budget:
                    room = min(room, self.left(call.budget))
                charged = min(amount, call.amount + max(0, room))
                assert verdict.charged_micro == charged
                call.settled_with = (amount, developer)
                self.earned[developer] += charged * 8 // 10
            self.keep(call, verdict)

    @precondition(lambda self: self.calls)
    @rule(pick=PICK, percent=st.integers(1, 130))
    def refund(self, pick: int, percent: int) -> None:
        call = self.calls[pick % len(self.calls)]
        if call.receipt is None:
            return
        charged, given = call.receipt.charged_micro, sum(call.refunds)
        amount = max(1, charged * percent // 100)
        wanted = dict(receipt_id=call.receipt.id, amount_micro=amount, by_id="op", reason="wrong answer")
        try:
            with unit_of_work() as uow:
                made = refunds.refund(uow, key=str(len(call.refunds)), **wanted)
        except BadInput:
            assert amount > charged - given
            return
        with unit_of_work() as uow:
            assert refunds.refund(uow, key=str(len(call.refunds)), **wanted) == made
        call.refunds.append(amount)
        assert call.settled_with is not None
        before = self.earned[call.settled_with[1]]
        self.earned[call.settled_with[1]] = before - ((given + amount) * 8 // 10 - given * 8 // 10)
        self.wallet[call.tenant] += amount

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
                    assert parts == receipt.held_micro + receipt.beyond_micro
            booked = uow.execute(text(KEPT)).all()
            assert booked == []

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
