"""Earnings on their way out: each step once, and never more than was earned."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.billing import payouts, repository, service
from engine.billing.schemas import Payout
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, EngineError, InsufficientCredit, NotFound
from engine.kit.money import CREDIT

MAKER = "ten_maker"


def earn(amount: int, tenant: str = MAKER) -> None:
    """Let a tenant earn exactly `amount`: its share of a call of 5/4 of it."""
    with unit_of_work() as uow:
        key, charge = f"{now()}", amount * 5 // 4
        service.top_up(uow, tenant_id="ten_buyer", amount_micro=charge, key=key, by="p")
        until = now() + timedelta(minutes=1)
        held = service.hold(
            uow, tenant_id="ten_buyer", amount_micro=charge, key=key, subject={}, expires_at=until
        )
        service.settle(
            uow, hold_id=held.id, amount_micro=charge, developer_tenant_id=tenant, usage={"model": "m"}
        )


def request(amount: int, key: str = "k", tenant: str = MAKER, to: str = "DE89 3704") -> Payout:
    with unit_of_work() as uow:
        return payouts.request(
            uow,
            tenant_id=tenant,
            person_id="pe_dana",
            amount_micro=amount,
            minimum_micro=10 * CREDIT,
            destination=to,
            key=key,
        )


def step(do: str, payout: Payout, **more: str) -> Payout:
    with unit_of_work() as uow:
        found: Payout = getattr(payouts, do)(uow, payout.id, by_id="pe_op", **more)
        return found


def standing(tenant: str = MAKER) -> tuple[int, int, int]:
    """What a tenant has as (earnings, pending, paid out of the platform)."""
    with unit_of_work() as uow:
        assert service.ledger_sum(uow) == 0
        outside = repository.balance(uow, "platform", "paid_out")
        return service.earnings(uow, tenant), payouts.pending(uow, tenant), outside


def test_a_request_goes_all_the_way_to_paid_and_keeps_who_did_what(db: str) -> None:
    earn(100 * CREDIT)
    asked = request(40 * CREDIT)
    assert asked.state == "requested" and standing() == (60 * CREDIT, 40 * CREDIT, 0)
    assert step("approve", asked).state == step("approve", asked).state == "approved"
    assert standing() == (60 * CREDIT, 40 * CREDIT, 0)
    paid = step("pay", asked, reference="SEPA 1")
    assert step("pay", asked, reference="SEPA 1") == paid
    assert (paid.state, paid.reference) == ("paid", "SEPA 1")
    assert standing() == (60 * CREDIT, 0, 40 * CREDIT)
    assert [(each["state"], each["by"], each["note"]) for each in paid.history] == [
        ("requested", "pe_dana", ""),
        ("approved", "pe_op", ""),
        ("paid", "pe_op", "SEPA 1"),
    ]
    with unit_of_work() as uow:
        assert payouts.paid_out(uow, MAKER) == 40 * CREDIT


def test_what_is_rejected_or_cancelled_comes_back_once(db: str) -> None:
    earn(100 * CREDIT)
    rejected, cancelled = request(40 * CREDIT, "a"), request(50 * CREDIT, "b")
    assert standing() == (10 * CREDIT, 90 * CREDIT, 0)
    step("approve", rejected)
    for _ in range(2):
        assert step("reject", rejected, reason="no such account").state == "rejected"
        assert step("cancel", cancelled, tenant_id=MAKER).state == "cancelled"
    assert standing() == (100 * CREDIT, 0, 0)


def test_a_step_that_does_not_follow_is_refused_and_moves_nothing(db: str) -> None:
    earn(100 * CREDIT)
    asked = request(40 * CREDIT)
    with pytest.raises(Conflict, match="not approved yet"):
        step("pay", asked, reference="SEPA 1")
    step("approve", asked)
    with pytest.raises(Conflict, match="only an operator"):
        step("cancel", asked, tenant_id=MAKER)
    step("pay", asked, reference="SEPA 1")
    for do, more in (
        ("reject", {"reason": "late"}),
        ("cancel", {"tenant_id": MAKER}),
        ("pay", {"reference": "SEPA 2"}),
        ("approve", {}),
    ):
        with pytest.raises(Conflict, match="paid already"):
            step(do, asked, **more)
    assert standing() == (60 * CREDIT, 0, 40 * CREDIT)


def test_nobody_cancels_another_tenants_request(db: str) -> None:
    earn(100 * CREDIT)
    asked = request(40 * CREDIT)
    with pytest.raises(NotFound):
        step("cancel", asked, tenant_id="ten_other")
    with unit_of_work() as uow:
        assert payouts.listing(uow, "ten_other") == []
        assert [each.id for each in payouts.listing(uow, MAKER)] == [asked.id]


def test_bad_requests_name_the_field_and_move_nothing(db: str) -> None:
    earn(100 * CREDIT)
    for amount, to, kind, field in (
        (9 * CREDIT, "x", BadInput, "amount"),
        (-1, "x", BadInput, "amount"),
        (101 * CREDIT, "x", InsufficientCredit, "amount"),
        (10 * CREDIT, " ", BadInput, "destination"),
        (10 * CREDIT, "x" * 201, BadInput, "destination"),
    ):
        with pytest.raises(kind) as caught:
            request(amount, to=to)
        assert isinstance(caught.value, EngineError) and caught.value.field == field
    asked = request(10 * CREDIT)
    with pytest.raises(BadInput) as caught:
        step("reject", asked, reason="")
    assert caught.value.field == "reason"
    assert standing() == (90 * CREDIT, 10 * CREDIT, 0)


def test_the_same_click_asks_once(db: str) -> None:
    earn(100 * CREDIT)
    assert request(40 * CREDIT).id == request(40 * CREDIT).id
    with pytest.raises(Conflict):
        request(41 * CREDIT)
    assert standing() == (60 * CREDIT, 40 * CREDIT, 0)


def test_requests_at_once_never_take_more_than_was_earned(db: str) -> None:
    earn(100 * CREDIT)
    barrier = Barrier(8)

    def ask(number: int) -> bool:
        barrier.wait(30)
        try:
            request(30 * CREDIT, f"k{number}")
        except InsufficientCredit:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(ask, range(8))) == 3
    assert standing() == (10 * CREDIT, 90 * CREDIT, 0)


STEP = st.tuples(st.sampled_from(["request", "approve", "reject", "pay", "cancel"]), st.integers(0, 5))


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEP, max_size=25))
def test_any_order_of_steps_keeps_every_credit(db: str, steps: list[tuple[str, int]]) -> None:
    tenant = f"ten_{now()}"
    earn(100 * CREDIT, tenant)
    asked: list[Payout] = []
    before = standing(tenant)[2]
    for do, pick in steps:
        try:
            if do == "request":
                asked.append(request((10 + 7 * pick) * CREDIT, f"k{len(asked)}", tenant))
            elif asked:
                more = {"reject": {"reason": "r"}, "pay": {"reference": "s"}, "cancel": {"tenant_id": tenant}}
                step(do, asked[pick % len(asked)], **more.get(do, {}))
        except EngineError:
            pass
    with unit_of_work() as uow:
        found = payouts.listing(uow, tenant)
    by_state = {
        state: sum(each.amount_micro for each in found if each.state in state)
        for state in (("requested", "approved"), ("paid",))
    }
    pending, paid = by_state.values()
    assert standing(tenant) == (100 * CREDIT - pending - paid, pending, before + paid)
