"""Codes: made once, redeemed once, and not to be guessed."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy import text

from engine.billing import codes, service
from engine.billing.schemas import EntryView
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, EngineError, NotFound, TooMany
from engine.kit.money import CREDIT


def made(count: int = 1, amount: int = 5 * CREDIT, days: int = 30) -> list[str]:
    with unit_of_work() as uow:
        return codes.make(uow, count=count, amount_micro=amount, days=days, by_id="pe_op")


def redeem(code: str, person: str = "pe_a", tenant: str = "ten_a") -> EntryView | EngineError:
    with unit_of_work() as uow:
        return codes.redeem(uow, tenant_id=tenant, person_id=person, code=code)


def balance(tenant: str = "ten_a") -> int:
    with unit_of_work() as uow:
        assert service.ledger_sum(uow) == 0
        return service.balance(uow, tenant)


def test_codes_are_all_different_and_only_their_hashes_are_kept(db: str) -> None:
    found = made(200)
    assert len(set(found)) == 200
    for code in found:
        prefix, *groups = code.split("-")
        assert prefix == "MBE" and [len(group) for group in groups] == [4, 4, 4]
        assert not set("".join(groups)) & set("0O1IL")
    with unit_of_work() as uow:
        stored = str(uow.execute(text("SELECT to_jsonb(c) FROM billing_codes c")).all())
        [batch] = codes.batches(uow)
    assert not any(code in stored or code.replace("-", "")[3:] in stored for code in found)
    assert (batch.made, batch.redeemed, batch.amount_micro) == (200, 0, 5 * CREDIT)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"count": 0}, "count"),
        ({"count": 1001}, "count"),
        ({"amount": 0}, "amount"),
        ({"amount": 10_001 * CREDIT}, "amount"),
        ({"days": 0}, "days"),
        ({"days": 731}, "days"),
    ],
)
def test_codes_outside_the_limits_name_the_field(db: str, values: dict[str, int], field: str) -> None:
    with pytest.raises(BadInput) as caught:
        made(**values)
    assert caught.value.field == field


def test_a_code_is_understood_however_it_is_typed_and_counts_once(db: str) -> None:
    first, second, third = made(3)
    for typed in (f"  {first.lower()} ", second.replace("-", ""), third[4:].replace("-", " ")):
        entry = redeem(typed)
        assert isinstance(entry, EntryView) and entry.amount_micro == 5 * CREDIT
    assert entry.meta["source"] == "code" and entry.meta["by"] == "pe_a"
    again, elsewhere = redeem(first), redeem(first, "pe_b", "ten_b")
    assert isinstance(again, Conflict) and again.key == "cash.code_yours"
    assert isinstance(elsewhere, Conflict) and elsewhere.key == "cash.code_used"
    assert (balance(), balance("ten_b")) == (15 * CREDIT, 0)


def test_full_width_letters_of_a_chinese_keyboard_are_understood(db: str) -> None:
    [code] = made()
    wide = "".join(chr(ord(sign) + 0xFEE0) for sign in code)
    assert isinstance(redeem(wide), EntryView)


def test_an_expired_code_adds_nothing(db: str) -> None:
    [code] = made(days=1)
    with unit_of_work() as uow:
        uow.execute(text("UPDATE billing_codes SET expires_at = :at"), {"at": now()})
    refused = redeem(code)
    assert isinstance(refused, Conflict) and refused.key == "cash.code_expired" and refused.field == "code"
    assert balance() == 0


def test_too_many_wrong_codes_make_one_wait_an_hour_and_nobody_else(db: str) -> None:
    [code] = made()
    for number in range(10):
        wrong = redeem("MBE-AAAA-BBBB-CCCC" if number % 2 else "not a code")
        assert isinstance(wrong, NotFound) and wrong.field == "code"
    refused = redeem(code)
    assert isinstance(refused, TooMany) and 3500 < refused.retry_after <= 3600
    assert balance() == 0
    with unit_of_work() as uow:
        back = {"at": now() - timedelta(minutes=61)}
        uow.execute(text("UPDATE billing_code_tries SET at = :at"), back)
    assert isinstance(redeem("nothing"), NotFound)
    assert isinstance(redeem(code), EntryView)


def test_of_many_who_redeem_one_code_at_once_one_gets_it(db: str) -> None:
    [code] = made()
    barrier = Barrier(8)

    def race(number: int) -> EntryView | EngineError:
        barrier.wait(30)
        return redeem(code, f"pe_{number % 4}", f"ten_{number % 4}")

    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(race, range(8)))
    assert sum(isinstance(one, EntryView) for one in told) == 1
    assert all(isinstance(one, EntryView | Conflict) for one in told)
    assert sum(balance(f"ten_{number}") for number in range(4)) == 5 * CREDIT


def test_wrong_tries_at_once_are_all_counted(db: str) -> None:
    barrier = Barrier(8)

    def race(_number: int) -> list[EntryView | EngineError]:
        barrier.wait(30)
        return [redeem("nothing") for _ in range(2)]

    with ThreadPoolExecutor(8) as pool:
        told = [one for some in pool.map(race, range(8)) for one in some]
    assert [isinstance(one, TooMany) for one in told].count(False) == 10
