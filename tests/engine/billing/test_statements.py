"""Statements agree with the ledger, whatever happened when, and however they are told."""

import contextlib
import csv
import io
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.billing import booking, holds, refunds, service, statements, top_ups
from engine.billing.schemas import HoldRequest, Settlement
from engine.billing.statements import Statement
from engine.kit.database import snapshot, unit_of_work
from engine.kit.errors import BadInput

DAYS = [date(2026, 3, 1) + timedelta(days=n) for n in range(4)]
WHO = ("ten_a", "ten_b")


class Clock:
    """The time as billing reads it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = datetime(2026, 3, 1, tzinfo=UTC)
        for module in (holds, refunds, top_ups):
            monkeypatch.setattr(module, "now", lambda: self.at)
        assert not hasattr(booking, "now")

    def on(self, day: int, second: int = 0) -> None:
        self.at = datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=day, seconds=second)


@pytest.fixture
def clock(db: str, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def call(tenant: str, charge: int, number: int, model: str = "m", person: str = "p", **subject: str) -> str:
    """Let a tenant pay for a call; returns its receipt's id."""
    with unit_of_work() as uow:
        request = HoldRequest(
            tenant_id=tenant,
            amount_micro=charge,
            key=f"call {number}",
            subject={"person_id": person, **subject},
            expires_at=datetime(2030, 1, 1, tzinfo=UTC),
        )
        [held] = holds.hold_many(uow, [request])
        assert not isinstance(held, Exception)
        usage = {"model": model, "input_tokens": 10, "output_tokens": 5}
        [receipt] = holds.settle_many(
            uow,
            [Settlement(hold_id=held.id, amount_micro=charge, developer_tenant_id="ten_dev", usage=usage)],
        )
        assert not isinstance(receipt, Exception)
        return receipt.id


def top_up(tenant: str, amount: int, key: str) -> None:
    with unit_of_work() as uow:
        service.top_up(uow, tenant_id=tenant, amount_micro=amount, key=key, by="p")


def refund(receipt_id: str, amount: int | None, key: str) -> None:
    with unit_of_work() as uow:
        refunds.refund(
            uow, receipt_id=receipt_id, amount_micro=amount, key=key, by_id="op", reason="wrong answer"
        )


def told(tenant: str | None, first: int, last: int, *by: str) -> Statement:
    with snapshot() as uow:
        return statements.statement(uow, tenant, first=DAYS[first], last=DAYS[last], by=by)


def picked(found: Statement, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(row[name] for name in names) for row in found.rows]


def test_calls_are_told_by_what_was_asked(clock: Clock) -> None:
    top_up("ten_a", 1000, "top")
    call("ten_a", 100, 1, "a", "p1", project_id="prj_1")
    clock.on(0, 86_399)
    call("ten_a", 20, 2, "b", "p1")
    clock.on(1)
    call("ten_a", 3, 3, "a", "p2", project_id="prj_1")
    assert picked(told("ten_a", 0, 1, "day", "model"), "day", "model", "calls", "net_micro") == [
        (DAYS[0], "a", 1, 100),
        (DAYS[0], "b", 1, 20),
        (DAYS[1], "a", 1, 3),
    ]
    assert picked(told("ten_a", 0, 0, "model"), "model", "charged_micro") == [("a", 100), ("b", 20)]
    assert picked(told("ten_a", 0, 1, "project"), "project", "charged_micro") == [("", 20), ("prj_1", 103)]
    assert picked(told("ten_a", 0, 1, "person"), "person", "input_tokens", "output_tokens") == [
        ("p1", 20, 10),
        ("p2", 10, 5),
    ]
    assert picked(told("ten_a", 0, 1), *statements.SUMS) == [(3, 30, 15, 123, 0, 123)]
    assert told("ten_a", 2, 3).rows == [] == told("ten_b", 0, 3).rows


def test_a_refund_counts_on_its_own_day_under_what_its_receipt_was_for(clock: Clock) -> None:
    top_up("ten_a", 1000, "top")
    receipt = call("ten_a", 100, 1, "a", "p1")
    clock.on(2)
    refund(receipt, 40, "k")
    shown = told("ten_a", 0, 3, "day", "model")
    assert picked(shown, "day", "model", "calls", "charged_micro", "refunded_micro", "net_micro") == [
        (DAYS[0], "a", 1, 100, 0, 100),
        (DAYS[2], "a", 0, 0, 40, -40),
    ]
    assert shown.movements == {"top_up": 1000, "settle": -100, "refund": 40}
    assert (shown.opening_micro, shown.closing_micro) == (0, 940)
    later = told("ten_a", 2, 3, "model")
    assert (later.opening_micro, later.movements, later.closing_micro) == (900, {"refund": 40}, 940)


def test_all_tenants_are_told_apart(clock: Clock) -> None:
    for number, tenant in enumerate(WHO):
        top_up(tenant, 100, "top")
        call(tenant, 10 + number, number)
    everybody = told(None, 0, 0, "tenant")
    assert picked(everybody, "tenant", "net_micro") == [("ten_a", 10), ("ten_b", 11)]
    assert everybody.movements == {"settle": -21, "top_up": 200}


def test_bad_questions_name_the_field(clock: Clock) -> None:
    for first, last, by, field in ((1, 0, (), "to"), (0, 1, ("colour",), "by")):
        with pytest.raises(BadInput) as caught:
            told("ten_a", first, last, *by)
        assert caught.value.field == field


def test_files_hold_the_same_rows_and_no_formula(clock: Clock) -> None:
    top_up("ten_a", 5_000_000, "top")
    call("ten_a", 1_234_567, 1, "=cmd()", "p1")
    found = told("ten_a", 0, 0, "day", "person", "model")
    content = statements.as_csv(found, {"p1": "@Chen 陈"})
    assert content.startswith(b"\xef\xbb\xbf")
    [row] = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    assert row["day"] == "2026-03-01" and row["model"] == "'=cmd()" and row["person_name"] == "'@Chen 陈"
    assert (row["charged_micro"], row["net_credits"]) == ("1234567", "1.234567")
    table = pq.read_table(io.BytesIO(statements.as_parquet(found, {"p1": "@Chen 陈"})))
    assert table.schema.field("day").type == pa.date32()
    assert table.schema.field("net_micro").type == pa.int64()
    [kept] = table.to_pylist()
    assert kept["model"] == "=cmd()" and kept["net_micro"] == 1_234_567 and kept["person_name"] == "@Chen 陈"


def test_an_empty_statement_is_a_file_too(clock: Clock) -> None:
    found = told("ten_a", 0, 0, "day", "model")
    assert statements.as_csv(found, {}).count(b"\r\n") == 1
    assert pq.read_table(io.BytesIO(statements.as_parquet(found, {}))).num_rows == 0


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["top_up", "call", "refund", "take_back"]),
        st.integers(0, 3),
        st.sampled_from(WHO),
        st.integers(1, 3_000_000),
        st.sampled_from(["a", "b"]),
    ),
    max_size=20,
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(events=EVENTS, ends=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_sums_are_the_ledgers_movements(clock: Clock, events: list[Any], ends: tuple[int, int]) -> None:
    run, receipts = f"{id(events)}-{datetime.now(UTC).timestamp()}", []
    names = {who: f"{who} {run}" for who in WHO}
    for number, (what, day, who, amount, model) in enumerate(sorted(events, key=lambda one: one[1])):
        clock.on(day, number)
        tenant = names[who]
        with unit_of_work() as uow:
            free = service.balance(uow, tenant)
        if what == "top_up":
            top_up(tenant, amount, str(number))
        elif what == "call" and free:
            receipts.append((call(tenant, min(free, amount), number, model), amount))
        elif what == "refund" and receipts:
            receipt_id, most = receipts[amount % len(receipts)]
            with contextlib.suppress(BadInput):
                refund(receipt_id, max(1, most // 2), f"{number}")
        elif what == "take_back":
            with unit_of_work() as uow:
                top_ups.take_back(
                    uow, tenant_id=tenant, amount_micro=amount, key=f"{run} {number}", digest="", meta={}
                )
    first, last = min(ends), max(ends)
    for tenant in names.values():
        ways = [told(tenant, first, last, *by) for by in ((), ("day",), ("model", "day"), statements.BY)]
        whole = told(tenant, 0, 3, "day")
        for found in ways:
            net = sum(row["net_micro"] for row in found.rows)
            assert net == -(found.movements.get("settle", 0) + found.movements.get("refund", 0))
            assert found.closing_micro == found.opening_micro + sum(found.movements.values())
        with unit_of_work() as uow:
            assert whole.opening_micro == 0
            assert whole.closing_micro == service.balance(uow, tenant) + service.held(uow, tenant)
