"""Credits from an operator, and what is owed when a payment is taken back."""

from datetime import timedelta

import pytest

from engine.billing import service, top_ups
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict
from engine.kit.money import CREDIT

TEN = "ten_a"


def by_operator(amount: int, key: str = "k", reason: str = "a gift") -> str:
    with unit_of_work() as uow:
        entry = top_ups.by_operator(
            uow, tenant_id=TEN, amount_micro=amount, key=key, by_id="pe_op", reason=reason
        )
    assert entry.meta == {"source": "operator", "by": "pe_op", "reason": "a gift"}
    return entry.id


def take_back(amount: int, key: str = "event") -> str:
    with unit_of_work() as uow:
        return top_ups.take_back(
            uow, tenant_id=TEN, amount_micro=amount, key=key, digest=str(amount), meta={}
        )


def hold(amount: int) -> None:
    until = now() + timedelta(minutes=5)
    with unit_of_work() as uow:
        service.hold(uow, tenant_id=TEN, amount_micro=amount, key="call", subject={}, expires_at=until)


def standing() -> tuple[int, int, int]:
    """What the tenant has as (free, held, owed)."""
    with unit_of_work() as uow:
        assert service.ledger_sum(uow) == 0
        return service.balance(uow, TEN), service.held(uow, TEN), top_ups.owed(uow, TEN)


def test_an_operators_top_up_says_who_and_why_and_counts_once(db: str) -> None:
    assert by_operator(CREDIT) == by_operator(CREDIT, reason=" a  gift ")
    assert standing() == (CREDIT, 0, 0)
    with pytest.raises(Conflict):
        by_operator(2 * CREDIT)


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 501])
def test_an_operators_top_up_needs_a_reason(db: str, reason: str) -> None:
    with pytest.raises(BadInput) as caught:
        by_operator(CREDIT, reason=reason)
    assert caught.value.field == "reason" and standing() == (0, 0, 0)


def test_what_is_taken_back_leaves_holds_alone_and_the_rest_is_owed(db: str) -> None:
    by_operator(10 * CREDIT)
    hold(4 * CREDIT)
    assert take_back(9 * CREDIT) == take_back(9 * CREDIT)
    assert standing() == (0, 4 * CREDIT, 3 * CREDIT)


def test_what_is_owed_is_taken_from_later_top_ups(db: str) -> None:
    by_operator(10 * CREDIT)
    hold(10 * CREDIT)
    take_back(5 * CREDIT)
    assert standing() == (0, 10 * CREDIT, 5 * CREDIT)
    with unit_of_work() as uow:
        first = service.top_up(uow, tenant_id=TEN, amount_micro=2 * CREDIT, key="one", by="p")
        assert service.top_up(uow, tenant_id=TEN, amount_micro=2 * CREDIT, key="one", by="p") == first
    assert (first.account, first.amount_micro) == ("owed", 2 * CREDIT)
    assert standing() == (0, 10 * CREDIT, 3 * CREDIT)
    with unit_of_work() as uow:
        second = service.top_up(uow, tenant_id=TEN, amount_micro=4 * CREDIT, key="two", by="p")
    assert (second.account, second.amount_micro) == ("wallet", CREDIT)
    assert standing() == (CREDIT, 10 * CREDIT, 0)
