"""Usage events, receipts and ledger are compared, and whatever differs is found and stays in sight."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from typer.testing import CliRunner

from engine import cli
from engine.accounts.schemas import Person
from engine.analytics import service as analytics
from engine.analytics.schemas import UsageEvent
from engine.billing import reconciliation as books
from engine.billing import refunds
from engine.billing import service as billing
from engine.billing.reconciliation import Difference, Reconciliation
from engine.flows import reconcile
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import Forbidden

TEN = "ten_a"


@pytest.fixture(autouse=True)
def no_lag(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "LAG", timedelta(0))
    monkeypatch.setattr(reconcile, "PAUSE", timedelta(0))


@pytest.fixture
def calls(db: str) -> Iterator[list[str]]:
    """Three paid calls, one that was released and one that runs; the receipts' ids of the paid ones."""
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=TEN, amount_micro=1_000_000, key="top", by="p")
    made = [call(f"k{number}", 100 + number) for number in range(3)]
    held("released", 50, ended=True)
    held("running", 70, ended=False)
    yield made


def held(key: str, amount: int, *, ended: bool) -> str:
    with unit_of_work() as uow:
        made = billing.hold(
            uow,
            tenant_id=TEN,
            amount_micro=amount,
            key=key,
            subject={"model": "m", "person_id": "pe_a"},
            expires_at=now() + timedelta(minutes=5),
        )
        if ended:
            billing.release(uow, made.id, "cancelled")
        return made.id


def call(key: str, charge: int, *, linked: bool = False, recorded: bool = True, **wrong: int) -> str:
    hold_id = held(key, 1000, ended=False)
    with unit_of_work() as uow:
        receipt = billing.settle(
            uow,
            hold_id=hold_id,
            amount_micro=charge,
            developer_tenant_id="ten_dev",
            usage={"model": "m", "input_tokens": 10, "output_tokens": 5},
        )
        if recorded:
            record(uow, hold_id if linked else None, charge, **wrong)
    return receipt.id


def record(uow: Any, call_id: str | None, charge: int, **wrong: int) -> None:
    counts = {"input_tokens": 10, "output_tokens": 5, "charged_micro": charge, **wrong}
    analytics.record(
        uow,
        [
            UsageEvent(
                at=now(),
                tenant_id=TEN,
                person_id="pe_a",
                expert_id="exp",
                expert_name="m",
                developer_tenant_id="ten_dev",
                developer_micro=0,
                platform_micro=0,
                latency_ms=1,
                first_token_ms=None,
                outcome="stop",
                call_id=call_id,
                **counts,  # type: ignore[arg-type]
            )
        ],
    )


def holds_of(receipts: list[str]) -> list[str]:
    with unit_of_work() as uow:
        return [billing.receipt(uow, receipt_id, TEN).hold_id for receipt_id in receipts]


def force(statement: str, **values: object) -> None:
    """Do what the database's guards would refuse."""
    with unit_of_work() as uow:
        uow.execute(text("SET LOCAL session_replication_role = replica"))
        uow.execute(text(statement), values)


def told(result: Reconciliation | None) -> list[tuple[str, str, int, int]]:
    assert result is not None
    assert result.found == len(result.differences)
    assert result.micro == sum(each.micro for each in result.differences)
    return [(each.kind, each.id, each.micro, each.tokens) for each in result.differences]


def test_what_agrees_is_green_and_events_find_their_receipts(calls: list[str]) -> None:
    result = reconcile.chore()
    assert told(result) == [] and result is not None and result.whole and result.agrees
    # three receipts of calls and one of the release, three events, one wallet
    assert result.checked == 8
    with unit_of_work() as uow:
        assert len(analytics.of_calls(uow, holds_of(calls))) == 3
        assert books.latest(uow) == result
    again = reconcile.chore()
    assert told(again) == [] and again is not None and not again.whole


def test_calls_that_look_alike_each_find_one_receipt(db: str) -> None:
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=TEN, amount_micro=1_000_000, key="top", by="p")
    made = [call(f"k{number}", 100) for number in range(5)]
    assert told(reconcile.compare()) == []
    with unit_of_work() as uow:
        assert [one.call_id for one in analytics.of_calls(uow, holds_of(made))] == holds_of(made)


def test_an_event_just_after_the_end_belongs_to_its_receipt(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with unit_of_work() as uow:
        [last] = [one for one in books.paid(uow, now() - timedelta(1), now()) if one.id == calls[2]]
    monkeypatch.setattr(reconcile, "now", lambda: last.created_at + timedelta(microseconds=1))
    assert told(reconcile.compare()) == []


def test_each_kind_of_difference_is_found(calls: list[str]) -> None:
    missing = call("missing", 30, recorded=False)
    wrong = call("wrong", 40, linked=True, output_tokens=7, charged_micro=39)
    twice = call("twice", 50, linked=True)
    with unit_of_work() as uow:
        record(uow, holds_of([twice])[0], 50)
        record(uow, None, 60)
        record(uow, "hold_none", 0)
    found = told(reconcile.compare())
    assert [one for one in found if one[1] in (missing, wrong, twice)] == [
        ("no_event", missing, 30, 15),
        ("usage", wrong, 1, 2),
        ("twice", twice, 50, 15),
    ]
    assert sorted(one[0::2] for one in found[3:]) == [("no_receipt", 0), ("no_receipt", 60)]


def test_kept_sums_and_movements_that_differ_are_found(calls: list[str]) -> None:
    reconcile.compare()
    with unit_of_work() as uow:
        given = refunds.refund(uow, receipt_id=calls[0], amount_micro=10, key="k", by_id="op", reason="wrong")
    force("UPDATE billing_wallets SET balance_micro = balance_micro + 5, held_micro = held_micro + 3")
    force("UPDATE billing_refunds SET amount_micro = 11, platform_micro = platform_micro + 1")
    force(
        "UPDATE billing_receipts SET charged_micro = 99, developer_micro = 99 - platform_micro,"
        " returned_micro = held_micro - 99 WHERE id = :id",
        id=calls[1],
    )
    force("UPDATE billing_entries SET amount_micro = amount_micro + 2 WHERE amount_micro = 1000000")
    assert sorted(told(reconcile.compare())) == [
        ("held", TEN, 3, 0),
        ("ledger", "", 2, 0),
        ("receipt", calls[1], 2, 0),
        ("refund", given.id, 1, 0),
        ("usage", calls[1], 2, 0),
        ("wallet", TEN, 3, 0),
    ]


def test_a_wallet_without_a_row_of_its_own_is_found(calls: list[str]) -> None:
    force("DELETE FROM billing_wallets")
    assert [one[:2] for one in told(reconcile.compare())] == [("wallet", TEN), ("held", TEN)]


def test_what_differs_stays_in_sight_until_it_agrees(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    reconcile.chore()
    missing = call("missing", 30, recorded=False)
    force("UPDATE billing_wallets SET balance_micro = balance_micro + 5")
    real = now
    for minutes in (0, 10, 20):
        monkeypatch.setattr(reconcile, "now", lambda late=minutes: real() + timedelta(minutes=late))
        result = reconcile.chore()
        assert result is not None and not result.whole
        assert told(result) == [("no_event", missing, 30, 15), ("wallet", TEN, 5, 0)]
    force("UPDATE billing_wallets SET balance_micro = balance_micro - 5")
    with unit_of_work() as uow:
        record(uow, holds_of([missing])[0], 30)
    monkeypatch.setattr(reconcile, "now", lambda: real() + timedelta(minutes=30))
    assert told(reconcile.chore()) == []


def test_a_comparison_that_was_just_made_is_not_made_again(
    calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reconcile.chore() is not None
    monkeypatch.setattr(reconcile, "PAUSE", timedelta(seconds=50))
    assert reconcile.chore() is None


def test_results_without_differences_are_forgotten_and_others_kept(calls: list[str]) -> None:
    reconcile.compare()
    call("missing", 30, recorded=False)
    reconcile.compare()
    force("UPDATE billing_reconciliations SET at = at - INTERVAL '30 days'")
    with unit_of_work() as uow:
        books.save(uow, whole=True, until=now(), checked=1, differences=[])
        assert [one.found for one in books.history(uow)] == [0, 1]


def test_more_differences_than_are_kept_are_counted(db: str) -> None:
    many = [Difference(kind="usage", id=f"rcp_{n}", micro=1, tokens=2) for n in range(1_500)]
    with unit_of_work() as uow:
        found = books.save(uow, whole=True, until=now(), checked=1_500, differences=many)
    assert (len(found.differences), found.found, found.micro, found.tokens) == (1_000, 1_500, 1_500, 3_000)
    again = reconcile.chore()
    assert again is not None and again.whole and again.agrees


def test_only_operators_ask_for_it(calls: list[str], dana: Person) -> None:
    for ask in (reconcile.check, reconcile.latest):
        with pytest.raises(Forbidden):
            ask(dana)


def test_the_command_lists_what_differs(calls: list[str]) -> None:
    good = CliRunner().invoke(cli.app, ["reconcile"])
    assert good.exit_code == 0 and "agree" in good.output and "8 entries" in good.output
    missing = call("missing", 30, recorded=False)
    bad = CliRunner().invoke(cli.app, ["reconcile", "--language", "zh"])
    assert bad.exit_code == 1 and missing in bad.output and "1 处差异" in bad.output
