"""The payment provider over HTTP: how a checkout begins, and whom its webhooks are believed."""

from datetime import timedelta

import pytest

from engine.billing.payments import HttpPayments, PaymentProvider, provider
from engine.billing.schemas import Order
from engine.kit.clock import now
from engine.kit.errors import BadInput, Forbidden, UpstreamFailed
from engine.kit.settings import settings
from tests.payments import SECRET, Provider, signed

ORDER = Order(
    id="ord_1",
    tenant_id="ten_a",
    person_id="pe_a",
    amount_micro=5_000_000,
    amount_minor=500,
    currency="EUR",
    reversed_minor=0,
    state="open",
    reference=None,
    url=None,
    created_at=now(),
    paid_at=None,
)
TOLD = {"id": "ord_1", "reference": "ref_0", "amount_minor": 500}


def lower(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def live() -> PaymentProvider:
    found = provider()
    assert found is not None
    return found


def test_without_address_or_secret_nothing_is_sold(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert provider() is None and settings().free_credits
    monkeypatch.setenv("MBE_PAYMENT_URL", "https://pay.example")
    settings.cache_clear()
    assert provider() is None


def test_a_checkout_begins_once_per_order(payments: Provider) -> None:
    first = live().start(ORDER, "http://here/market/wallet")
    assert first == live().start(ORDER, "http://here/market/wallet")
    assert first == ("https://pay.example/c/ref_0", "ref_0")
    assert payments.checkouts["ord_1"]["given"] == {
        "order_id": "ord_1",
        "amount": 500,
        "currency": "EUR",
        "description": "MBE Studio ord_1",
        "return_url": "http://here/market/wallet",
    }
    assert not settings().free_credits


@pytest.mark.parametrize("status", [400, 401, 404, 500, 503])
def test_a_provider_that_refuses_is_told_without_its_words(payments: Provider, status: int) -> None:
    payments.broken = status
    with pytest.raises(UpstreamFailed) as caught:
        live().start(ORDER, "")
    assert SECRET not in str(caught.value) and caught.value.__cause__ is None


def test_an_address_that_browsers_must_not_open_is_refused(payments: Provider) -> None:
    payments.page = "javascript:alert({id})"
    with pytest.raises(UpstreamFailed):
        live().start(ORDER, "")


def test_a_provider_that_is_not_there_is_told(home: object) -> None:
    with pytest.raises(UpstreamFailed):
        HttpPayments("http://127.0.0.1:9", SECRET).start(ORDER, "")


def test_a_signed_event_is_read(payments: Provider) -> None:
    body = payments.tells(TOLD | {"currency": "EUR"}, "evt_1")
    event = live().verify(lower(signed(body)), body, now())
    assert event is not None
    assert (event.id, event.kind, event.order_id, event.amount_minor) == ("evt_1", "paid", "ord_1", 500)
    other = payments.tells(TOLD | {"currency": "EUR"}, "evt_2", "disputed")
    assert live().verify(lower(signed(other)), other, now()) is None


def test_an_event_of_somebody_else_or_of_long_ago_is_not_believed(payments: Provider) -> None:
    body = payments.tells(TOLD | {"currency": "EUR"}, "evt_1")
    good = lower(signed(body))
    later = str(int(good["payment-timestamp"]) + 1)
    for headers, content in (
        ({}, body),
        (lower(signed(body, secret="another")), body),
        (good, body + b" "),
        (good | {"payment-timestamp": later}, body),
        (good | {"payment-signature": "é"}, body),
        (lower(signed(body, age=301)), body),
        (lower(signed(body, age=-301)), body),
    ):
        with pytest.raises(Forbidden):
            live().verify(headers, content, now())
    with pytest.raises(Forbidden):
        live().verify(good, body, now() + timedelta(minutes=6))
    assert live().verify(lower(signed(body, age=299)), body, now())


@pytest.mark.parametrize(
    "changes",
    [{"amount": 0}, {"amount": 5.5}, {"amount": "500"}, {"amount": -5}, {"currency": "euro"}, {"id": ""}],
)
def test_an_event_that_makes_no_sense_is_refused_by_name(
    payments: Provider, changes: dict[str, object]
) -> None:
    body = payments.tells(TOLD | {"currency": "EUR"}, "evt_1", **changes)
    with pytest.raises(BadInput) as caught:
        live().verify(lower(signed(body)), body, now())
    assert caught.value.field == next(iter(changes))


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b'{"type": 3}'])
def test_what_is_no_event_is_refused(payments: Provider, body: bytes) -> None:
    with pytest.raises(BadInput):
        live().verify(lower(signed(body)), body, now())
