"""Top up, hold, settle, release: what each books, and that asking twice books once."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from engine.billing import service
from engine.billing.schemas import HoldView, Receipt
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, InsufficientCredit, NotFound
from engine.kit.money import CREDIT

BUYER, MAKER = "ten_buyer", "ten_maker"
USAGE: dict[str, Any] = {
    "model": "tent-helper",
    "input_tokens": 30,
    "output_tokens": 12,
    "input_price_micro": 1000,
    "output_price_micro": 2000,
    "finish": "stop",
}


def top_up(amount: int, key: str = "top", tenant: str = BUYER, by: str = "per_1") -> str:
    with unit_of_work() as uow:
        return service.top_up(uow, tenant_id=tenant, amount_micro=amount, key=key, by=by).id


def hold(amount: int, key: str = "call", *, expires_at: datetime | None = None, **subject: str) -> HoldView:
    with unit_of_work() as uow:
        return service.hold(
            uow,
            tenant_id=BUYER,
            amount_micro=amount,
            key=key,
            subject=subject,
            expires_at=expires_at or now() + timedelta(minutes=10),
        )


def settle(hold_id: str, amount: int, developer: str = MAKER, **changes: Any) -> Receipt:
    with unit_of_work() as uow:
        return service.settle(
            uow,
            hold_id=hold_id,
            amount_micro=amount,
            developer_tenant_id=developer,
            usage={**USAGE, **changes},
        )


def release(hold_id: str, reason: str = "cancelled") -> Receipt:
    with unit_of_work() as uow:
        return service.release(uow, hold_id, reason)


def standing(tenant: str = BUYER) -> tuple[int, int, int]:
    """What a tenant has as (wallet, held, earnings)."""
    with unit_of_work() as uow:
        assert service.ledger_sum(uow) == 0
        return service.balance(uow, tenant), service.held(uow, tenant), service.earnings(uow, tenant)


def revenue() -> int:
    with unit_of_work() as uow:
        query = (
            "SELECT coalesce(sum(amount_micro), 0) FROM billing_entries e JOIN billing_accounts a"
            " ON a.id = e.account_id WHERE a.tenant_id = 'platform' AND a.kind = 'revenue'"
        )
        return int(uow.execute(text(query)).scalar_one())


def test_an_unused_wallet_is_empty(db: str) -> None:
    assert standing() == (0, 0, 0)


def test_a_top_up_is_there_to_spend_and_listed(db: str) -> None:
    entry_id = top_up(3 * CREDIT)
    assert standing() == (3 * CREDIT, 0, 0)
    with unit_of_work() as uow:
        [entry] = service.entries(uow, BUYER)
    assert (entry.id, entry.account, entry.kind, entry.amount_micro) == (
        entry_id,
        "wallet",
        "top_up",
        3 * CREDIT,
    )
    assert entry.meta == {"by": "per_1"}


def test_a_top_up_happens_once_per_key_of_a_tenant(db: str) -> None:
    assert top_up(CREDIT) == top_up(CREDIT)
    assert standing() == (CREDIT, 0, 0)
    top_up(CREDIT, tenant="ten_other")
    assert standing("ten_other") == (CREDIT, 0, 0)
    with pytest.raises(Conflict):
        top_up(2 * CREDIT)
    with pytest.raises(Conflict):
        top_up(CREDIT, by="per_2")
    assert standing() == (CREDIT, 0, 0)


def test_a_top_up_outside_the_limits_names_the_field(db: str) -> None:
    for amount in (0, -1, 10_000 * CREDIT + 1):
        with pytest.raises(BadInput) as caught:
            top_up(amount)
        assert caught.value.field == "amount"
    assert standing() == (0, 0, 0)


def test_the_largest_top_up_is_accepted(db: str) -> None:
    top_up(10_000 * CREDIT)
    assert standing() == (10_000 * CREDIT, 0, 0)


def test_a_key_must_be_printable(db: str) -> None:
    for key in ("", "x" * 201, "a\x00b"):
        with pytest.raises(BadInput):
            top_up(CREDIT, key)
        with pytest.raises(BadInput):
            hold(0, key)


def test_a_hold_sets_credits_aside(db: str) -> None:
    top_up(10)
    held = hold(7, model="tent-helper")
    assert (held.state, held.amount_micro, held.subject) == ("open", 7, {"model": "tent-helper"})
    assert standing() == (3, 7, 0)


def test_a_hold_beyond_the_wallet_says_what_is_missing(db: str) -> None:
    top_up(CREDIT // 2)
    hold(CREDIT // 4, "first")
    with pytest.raises(InsufficientCredit) as caught:
        hold(2 * CREDIT, "second")
    assert caught.value.facts == {"balance": "0.25", "needed": "2.00", "missing": "1.75"}
    assert "1.75" in caught.value.message("en") and "1.75" in caught.value.message("zh")
    assert standing() == (CREDIT // 4, CREDIT // 4, 0)


def test_a_hold_of_the_whole_wallet_and_of_nothing_are_possible(db: str) -> None:
    assert hold(0, "free").state == "open"
    top_up(5)
    hold(5, "all")
    assert standing() == (0, 5, 0)
    with pytest.raises(BadInput):
        hold(-1, "below")


def test_a_hold_is_made_once_per_key(db: str) -> None:
    top_up(10)
    first = hold(7, model="a")
    assert hold(7, model="a", expires_at=now() + timedelta(hours=1)) == first
    with pytest.raises(Conflict):
        hold(6, model="a")
    with pytest.raises(Conflict):
        hold(7, model="b")
    settle(first.id, 7)
    assert hold(7, model="a").state == "settled"
    assert standing() == (3, 0, 0)


def test_a_settlement_pays_developer_and_platform_and_returns_the_rest(db: str) -> None:
    top_up(1000)
    receipt = settle(hold(600).id, 100)
    assert (receipt.held_micro, receipt.charged_micro, receipt.returned_micro) == (600, 100, 500)
    assert (receipt.developer_micro, receipt.platform_micro) == (80, 20)
    assert (receipt.state, receipt.reason, receipt.usage) == ("settled", None, USAGE)
    assert standing() == (900, 0, 0)
    assert standing(MAKER) == (0, 0, 80)
    assert revenue() == 20


def test_the_odd_micro_credit_goes_to_the_platform(db: str) -> None:
    shares = {0: (0, 0), 1: (0, 1), 2: (1, 1), 3: (2, 1), 4: (3, 1), 5: (4, 1), 9: (7, 2)}
    for charged, (developer, platform) in shares.items():
        top_up(9, f"for {charged}")
        before = standing(MAKER)[2], revenue()
        receipt = settle(hold(9, f"call {charged}").id, charged)
        assert (receipt.developer_micro, receipt.platform_micro) == (developer, platform)
        assert (standing(MAKER)[2], revenue()) == (before[0] + developer, before[1] + platform)


def test_what_a_call_costs_beyond_its_hold_is_paid_as_far_as_the_wallet_is_free(db: str) -> None:
    top_up(1000)
    call, _other = hold(600), hold(300, "other")
    receipt = settle(call.id, 650)
    assert (receipt.charged_micro, receipt.beyond_micro, receipt.returned_micro) == (650, 50, 0)
    assert standing() == (50, 300, 0)
    last = settle(hold(40, "last").id, 100_000)
    assert (last.charged_micro, last.beyond_micro) == (50, 10)
    assert last.usage["uncovered_micro"] == 99_950
    assert standing() == (0, 300, 0)


def test_settling_again_returns_the_same_receipt_and_refuses_other_values(db: str) -> None:
    top_up(100)
    held = hold(50)
    first = settle(held.id, 40)
    assert settle(held.id, 40) == first
    for again in ({"amount": 41}, {"amount": 40, "developer": "ten_x"}, {"amount": 40, "finish": "length"}):
        with pytest.raises(Conflict):
            settle(held.id, **again)
    assert standing() == (60, 0, 0)
    assert standing(MAKER)[2] == 32


def test_a_release_returns_everything_once(db: str) -> None:
    top_up(100)
    held = hold(50)
    first = release(held.id, "cancelled")
    assert (first.state, first.reason, first.charged_micro, first.returned_micro) == (
        "released",
        "cancelled",
        0,
        50,
    )
    assert release(held.id, "another reason") == first
    assert standing() == (100, 0, 0)


def test_what_ended_first_stands(db: str) -> None:
    top_up(100)
    released, settled = hold(50, "a"), hold(50, "b")
    returned, charged = release(released.id), settle(settled.id, 20)
    assert settle(released.id, 20) == returned
    assert release(settled.id) == charged
    assert (returned.state, charged.state) == ("released", "settled")
    assert standing() == (80, 0, 0)


def test_an_unknown_hold_cannot_be_ended(db: str) -> None:
    with pytest.raises(NotFound):
        settle("hold_none", 1)
    with pytest.raises(NotFound):
        release("hold_none")


def test_a_negative_charge_is_refused(db: str) -> None:
    top_up(100)
    held = hold(50)
    with pytest.raises(BadInput):
        settle(held.id, -1)
    assert standing() == (50, 50, 0)


def test_a_developer_who_calls_their_own_expert_pays_and_earns(db: str) -> None:
    top_up(100)
    settle(hold(100).id, 100, developer=BUYER)
    assert standing() == (0, 0, 80)
    assert revenue() == 20


def test_a_sweep_releases_expired_open_holds_only(db: str) -> None:
    top_up(100)
    start = now()
    late, running, done = (
        hold(10, "late", expires_at=start + timedelta(seconds=5)),
        hold(20, "running", expires_at=start + timedelta(seconds=60)),
        hold(30, "done", expires_at=start + timedelta(seconds=5)),
    )
    settle(done.id, 30)
    with unit_of_work() as uow:
        assert service.sweep(uow, start) == 0
        assert service.sweep(uow, start + timedelta(seconds=5)) == 1
        assert service.sweep(uow, start + timedelta(seconds=5)) == 0
        receipt = service.receipt(uow, late.id, BUYER)
    assert (receipt.state, receipt.reason) == ("released", "expired")
    assert settle(running.id, 20).state == "settled"
    assert settle(late.id, 10).state == "released"
    assert standing() == (50, 0, 0)


def test_an_expired_hold_can_still_be_settled_before_the_sweep(db: str) -> None:
    top_up(100)
    held = hold(50, expires_at=now() - timedelta(seconds=1))
    assert settle(held.id, 50).state == "settled"


def test_receipts_come_newest_first_and_only_to_their_tenant(db: str) -> None:
    top_up(100)
    ended = [settle(hold(10, f"call {n}").id, n).id for n in range(3)]
    open_hold = hold(10, "open")
    with unit_of_work() as uow:
        assert [receipt.id for receipt in service.receipts(uow, BUYER, 2)] == [ended[2], ended[1]]
        assert service.receipts(uow, MAKER) == []
        mine = service.receipt(uow, ended[0], BUYER)
        assert service.receipt(uow, mine.hold_id, BUYER) == mine
        for wanted, tenant in (
            (mine.id, MAKER),
            (mine.hold_id, MAKER),
            (open_hold.id, BUYER),
            ("a\x00", BUYER),
        ):
            with pytest.raises(NotFound):
                service.receipt(uow, wanted, tenant)


def test_entries_can_be_narrowed_to_an_account(db: str) -> None:
    top_up(100)
    settle(hold(10).id, 4)
    with unit_of_work() as uow:
        wallet = service.entries(uow, BUYER, account="wallet")
        assert [(entry.kind, entry.amount_micro) for entry in wallet] == [("settle", -4), ("top_up", 100)]
        assert service.entries(uow, BUYER, account="earnings") == []
        assert [entry.amount_micro for entry in service.entries(uow, MAKER)] == [3]
        assert len(service.entries(uow, BUYER, 1)) == 1


def test_earnings_are_told_by_expert(db: str) -> None:
    top_up(10_000)
    for number, model in enumerate(["tent-helper", "law-helper", "tent-helper"]):
        settle(hold(1000, f"call {number}").id, 500, model=model)
    settle(hold(1000, "elsewhere").id, 1000, developer="ten_x")
    release(hold(1000, "released").id)
    with unit_of_work() as uow:
        assert service.earnings(uow, MAKER) == 1200
        assert service.earnings_by_expert(uow, MAKER) == [
            ("tent-helper", 2, 84, 800),
            ("law-helper", 1, 42, 400),
        ]
        assert service.earnings_by_expert(uow, BUYER) == []
