"""Any order of calls paid by packages and by credits promises no token twice and keeps the books right."""

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

from engine.billing import packages, service, subscriptions
from engine.billing.allowances import PackageUsedUp
from engine.billing.schemas import Allowance, HoldRequest, Receipt, Settlement
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import EngineError, InsufficientCredit
from engine.kit.money import CREDIT
from tests.engine.billing.test_service_random import KEPT, UNBALANCED, hold_all, settle_all

WHO = st.integers(0, 1)
PICK = st.integers(0, 10_000)
TOKENS = st.one_of(st.integers(1, 40), st.integers(1, 1_200))
# Allowances that hold something else than what their open calls do.
HELD = """
SELECT a.id FROM billing_allowances a WHERE a.held_tokens <> coalesce((SELECT sum(h.held_tokens)
    FROM billing_holds h WHERE h.allowance_id = a.id AND h.state = 'open'), 0)
"""


@dataclass
class Call:
    """What the machine knows of one hold: by tokens of an allowance, or by credits."""

    id: str
    who: int
    tokens: int
    packed: bool
    minutes: int
    receipt: Receipt | None = None


class Packages(RuleBasedStateMachine):
    """Two tenants with a package of 1,000 tokens each, beside a plain account of what is left."""

    def __init__(self) -> None:
        super().__init__()
        run = os.urandom(6).hex()
        self.model, self.maker = f"model-{run}", f"maker_{run}"
        self.tenants = [f"ten_{run}_{number}" for number in range(2)]
        self.start = now()
        self.used = [0, 0]
        self.calls: list[Call] = []
        self.allowances: list[Allowance] = []

    @initialize()
    def buy(self) -> None:
        with unit_of_work() as uow:
            package = packages.offer(
                uow,
                subject=self.model,
                tenant_id=self.maker,
                title="P",
                tokens=1_000,
                price_micro=CREDIT,
                by_id="m",
            )
        for tenant in self.tenants:
            with unit_of_work() as uow:
                service.top_up(uow, tenant_id=tenant, amount_micro=2 * CREDIT, key="k", by="p")
                bought = subscriptions.buy(
                    uow, package_id=package.id, tenant_id=tenant, person_id="p", key="k"
                )
                self.allowances.append(bought.allowance)

    def held(self, who: int) -> int:
        return sum(c.tokens for c in self.calls if c.who == who and c.packed and c.receipt is None)

    def free(self, who: int) -> int:
        return 1_000 - self.used[who] - self.held(who)

    def request(self, who: int, tokens: int, packed: bool, minutes: int) -> HoldRequest:
        return HoldRequest(
            tenant_id=self.tenants[who],
            amount_micro=0 if packed else tokens,
            key=os.urandom(8).hex(),
            subject={"model": self.model},
            expires_at=self.start + timedelta(minutes=minutes),
            allowance_id=self.allowances[who].id if packed else None,
            tokens=tokens,
        )

    @rule(
        wanted=st.lists(st.tuples(WHO, TOKENS, st.booleans(), st.integers(1, 60)), min_size=1, max_size=6),
        ordinary=st.booleans(),
    )
    def hold(self, wanted: list[tuple[int, int, bool, int]], ordinary: bool) -> None:
        verdicts = hold_all([self.request(*one) for one in wanted], ordinary)
        for (who, tokens, packed, minutes), verdict in zip(wanted, verdicts, strict=True):
            if isinstance(verdict, EngineError):
                assert isinstance(verdict, InsufficientCredit)
                assert not packed or (isinstance(verdict, PackageUsedUp) and tokens > self.free(who))
                continue
            assert not packed or tokens <= self.free(who)
            self.calls.append(Call(verdict.id, who, tokens, packed, minutes))

    def keep(self, call: Call, receipt: Receipt) -> None:
        if call.receipt is not None:
            assert receipt == call.receipt
            return
        before = self.free(call.who)
        call.receipt = receipt
        if call.packed:
            assert receipt.charged_micro == 0
            assert receipt.package_tokens <= call.tokens + before
            self.used[call.who] += receipt.package_tokens

    @precondition(lambda self: self.calls)
    @rule(
        wanted=st.lists(st.tuples(PICK, TOKENS), min_size=1, max_size=6, unique_by=lambda one: one[0]),
        ordinary=st.booleans(),
    )
    def settle(self, wanted: list[tuple[int, int]], ordinary: bool) -> None:
        picked = {self.calls[pick % len(self.calls)].id: (pick, tokens) for pick, tokens in wanted}
        asked = [
            Settlement(
                hold_id=hold_id,
                amount_micro=tokens,
                developer_tenant_id=self.maker,
                usage={"model": self.model},
                tokens=tokens,
            )
            for hold_id, (_, tokens) in picked.items()
        ]
        for place, verdict in settle_all(asked, ordinary):
            pick, tokens = picked[asked[place].hold_id]
            call = self.calls[pick % len(self.calls)]
            if not isinstance(verdict, Receipt):
                assert call.receipt is not None  # settled before, with other tokens
                continue
            if call.receipt is None and call.packed:
                counted = min(tokens, call.tokens + self.free(call.who))
                assert verdict.package_tokens == counted
                assert verdict.usage.get("uncovered_tokens", 0) == tokens - counted
            self.keep(call, verdict)

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
                self.keep(call, service.receipt(uow, call.id, self.tenants[call.who]))

    @invariant()
    def the_books_are_right(self) -> None:
        with unit_of_work() as uow:
            assert service.ledger_sum(uow) == 0
            assert not uow.execute(text(UNBALANCED)).all() and not uow.execute(text(KEPT)).all()
            assert not uow.execute(text(HELD)).all()
            for who, tenant in enumerate(self.tenants[: len(self.allowances)]):
                [bought] = subscriptions.mine(uow, tenant)
                found = bought.allowance
                assert (found.used_tokens, found.held_tokens) == (self.used[who], self.held(who))
                assert found.used_tokens + found.held_tokens <= 1_000

    def teardown(self) -> None:
        with unit_of_work() as uow:
            service.sweep(uow, self.start + timedelta(days=1))
        with unit_of_work() as uow:
            for tenant in self.tenants[: len(self.allowances)]:
                assert subscriptions.mine(uow, tenant)[0].allowance.held_tokens == 0


def test_no_token_is_spent_twice_in_any_order(db: str) -> None:
    run_state_machine_as_test(
        Packages,
        settings=settings(
            max_examples=12,
            stateful_step_count=25,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
