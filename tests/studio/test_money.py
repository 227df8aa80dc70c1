"""The operators' page of money and the developer's payouts, without a browser."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.flows import browse_market, pay_out, reconcile, top_up_wallet
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, EngineError, Forbidden, InsufficientCredit, NotFound
from engine.kit.money import CREDIT
from studio.handlers import access, earnings, money
from tests.studio.conftest import MakePerson


@pytest.fixture
def op(make_person: MakePerson) -> Person:
    return make_person("Olga", "operator")


@pytest.fixture
def chen(make_person: MakePerson) -> Person:
    return make_person("Chen <b>", "consumer")


@pytest.fixture
def receipt_id(dana: Person, chen: Person) -> str:
    """A call of Chen's for 50 credits, of which Dana earned 40."""
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=chen.tenant_id, amount_micro=50 * CREDIT, key="k", by="p")
        held = billing.hold(
            uow,
            tenant_id=chen.tenant_id,
            amount_micro=50 * CREDIT,
            key="k",
            subject={"person_id": chen.id},
            expires_at=now() + timedelta(minutes=1),
        )
        return billing.settle(
            uow,
            hold_id=held.id,
            amount_micro=50 * CREDIT,
            developer_tenant_id=dana.tenant_id,
            usage={"model": "help-desk", "input_tokens": 3, "output_tokens": 4},
        ).id


def test_only_operators_see_or_do_anything(dana: Person, rui: Person, receipt_id: str) -> None:
    for person in (dana, rui):
        assert not any(href.endswith("/money") for href, _, _ in access.tabs(person, "en", ""))
        for ask in (
            lambda who=person: money.books(who, "en"),
            lambda who=person: money.compare(who, "en"),
            lambda who=person: money.payouts(who, "en"),
            lambda who=person: money.codes(who, "en"),
            lambda who=person: money.tenants(who),
            lambda who=person: money.receipt(who, receipt_id, "en"),
            lambda who=person: money.make_codes(who, 1, "1", 1),
            lambda who=person: money.refund(who, receipt_id, "1", "x", "k", "en"),
            lambda who=person: money.top_up(who, who.tenant_id, "1", "x", "k", "en"),
            lambda who=person: money.decide(who, "approve", "pay_x", "", "en"),
        ):
            with pytest.raises(Forbidden):
                ask()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_books_are_green_with_a_word_or_red_with_a_list(
    op: Person, receipt_id: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "LAG", timedelta(0))
    assert "mbe-empty" in money.books(op, language)
    red = money.compare(op, language)
    assert "mbe-note bad" in red and receipt_id in red and "50,000,000" in red
    assert money.books(op, language) == red
    with unit_of_work() as uow:
        uow.execute(text("SET LOCAL session_replication_role = replica"))
        uow.execute(text("DELETE FROM billing_receipts"))
    green = money.compare(op, language)
    assert "mbe-note good" in green and ("agree" in green or "一致" in green)


def test_a_payout_is_asked_for_approved_and_paid(dana: Person, op: Person, receipt_id: str) -> None:
    before = earnings.payouts(dana, "en")
    assert before.possible and before.any and "40.00 credits" in before.html
    words = earnings.request(dana, "15", "DE89 <b>", "k", "en")
    assert "15.00" in words
    waiting = money.payouts(op, "en")
    [(label, payout_id)] = waiting.choices
    assert "Dana" in label and "DE89 &lt;b&gt;" in waiting.table
    assert f"cancel={payout_id}" in earnings.payouts(dana, "en").html
    for decision, note, field in (
        ("approve", "", None),
        ("pay", " ", "note"),
        ("reject", "", "note"),
        ("pay", "SEPA 7", None),
    ):
        try:
            assert "15.00" in money.decide(op, decision, payout_id, note, "en")
            assert field is None
        except BadInput as error:
            assert error.field == field
    with pytest.raises(BadInput) as caught:
        money.decide(op, "approve", None, "", "en")
    assert caught.value.field == "payout"
    after = earnings.payouts(dana, "zh")
    assert "SEPA 7" in after.html and "已付款" in after.html and "25.00 点" in after.html
    assert money.payouts(op, "en").choices == []


def test_a_request_can_be_cancelled_after_a_question(dana: Person, other: Person, receipt_id: str) -> None:
    earnings.request(dana, "15", "DE89", "k", "en")
    [payout] = pay_out.standing(dana).payouts
    for person, payout_id in ((other, payout.id), (dana, "pay_x")):
        with pytest.raises(NotFound):
            earnings.cancel_question(person, payout_id, "en")
    with pytest.raises(NotFound):
        earnings.cancel(other, payout.id, "en")
    assert "15.00" in earnings.cancel_question(dana, payout.id, "en")
    assert "15.00" in earnings.cancel(dana, payout.id, "en")
    with pytest.raises(NotFound):
        earnings.cancel_question(dana, payout.id, "en")
    assert pay_out.standing(dana).available_micro == 40 * CREDIT


def test_a_bad_request_names_the_field(dana: Person, receipt_id: str) -> None:
    for amount, to, kind, field in (
        ("", "DE89", BadInput, "amount"),
        ("5", "DE89", BadInput, "amount"),
        ("41", "DE89", InsufficientCredit, "amount"),
        ("15", "", BadInput, "destination"),
    ):
        with pytest.raises(kind) as caught:
            earnings.request(dana, amount, to, "k", "en")
        assert isinstance(caught.value, EngineError) and caught.value.field == field


def test_payouts_and_refunds_are_told_from_calls_among_the_earnings(
    dana: Person, op: Person, receipt_id: str
) -> None:
    earnings.request(dana, "15", "DE89", "k", "en")
    money.refund(op, receipt_id, "10", "wrong answer", "k", "en")
    shown = earnings.earnings(dana, "en")
    assert "32.00 credits" in shown.head  # what was earned, whatever of it was paid out
    assert "Payout" in shown.tables and "Refund" in shown.tables and "help-desk" in shown.tables
    assert browse_market.earnings(dana)[0] == 17 * CREDIT


def test_a_receipt_is_found_and_refunded_in_part_and_whole(op: Person, chen: Person, receipt_id: str) -> None:
    found = money.receipt(op, f" {receipt_id} ", "en")
    assert found.left == "50.00" and "Chen &lt;b&gt;" in found.html and "help-desk" in found.html
    for _ in range(2):
        assert "10.00" in money.refund(op, receipt_id, "10", "a <b> reason", "one", "en")
    part = money.receipt(op, receipt_id, "zh")
    assert part.left == "40.00" and "a &lt;b&gt; reason" in part.html
    for amount, reason, field in (("41", "x", "amount"), ("0", "x", "amount"), ("1", " ", "reason")):
        with pytest.raises(BadInput) as caught:
            money.refund(op, receipt_id, amount, reason, "two", "en")
        assert caught.value.field == field
    money.refund(op, receipt_id, "", "the rest", "two", "en")
    assert money.receipt(op, receipt_id, "en").left == ""
    assert top_up_wallet.wallet(chen).balance_micro == 50 * CREDIT
    for wanted, kind in (("", BadInput), ("rcp_x", NotFound)):
        with pytest.raises(kind) as caught:
            money.receipt(op, wanted, "en")
        assert isinstance(caught.value, EngineError) and caught.value.field == "receipt"


def test_a_tenant_is_filled_and_codes_are_made(op: Person, chen: Person) -> None:
    assert ("Chen <b>", chen.tenant_id) in money.tenants(op)
    for _ in range(2):
        assert "2.50" in money.top_up(op, chen.tenant_id, "2.5", "sorry", "k", "en")
    assert top_up_wallet.wallet(chen).balance_micro == 2_500_000
    for tenant, amount, reason, field in (
        (None, "1", "x", "tenant"),
        ("ten_x", "1", "x", "tenant"),
        (chen.tenant_id, "", "x", "amount"),
        (chen.tenant_id, "1", "", "reason"),
    ):
        with pytest.raises(EngineError) as caught:
            money.top_up(op, tenant, amount, reason, "l", "en")
        assert caught.value.field == field
    assert "mbe-empty" in money.codes(op, "en")
    made = money.make_codes(op, 3, "5", 30)
    listed = money.codes(op, "zh")
    assert len(made) == 3 and "5.00 点" in listed and not any(code in listed for code in made)
    with pytest.raises(BadInput) as refused:
        money.make_codes(op, None, "5", 30)
    assert refused.value.field == "count"
