"""Money in and out over the API: who may do what, and what the payment provider can and cannot do."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.money import CREDIT
from tests.payments import Provider, signed
from tests.support import make_person

Gateway = Callable[[Person | None], TestClient]


@pytest.fixture
def operator(db: str) -> Person:
    return make_person("op@example.com", "operator")


def wallet(client: TestClient) -> tuple[int, int, int]:
    found = client.get("/api/wallet").json()
    return found["balance_micro"], found["held_micro"], found["owed_micro"]


def refused(answer: Response) -> tuple[int, str, str | None]:
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["param"]


def ledger_sum() -> int:
    with unit_of_work() as uow:
        return billing.ledger_sum(uow)


def hold(person: Person, amount: int) -> None:
    until = now() + timedelta(minutes=5)
    with unit_of_work() as uow:
        billing.hold(
            uow, tenant_id=person.tenant_id, amount_micro=amount, key="c", subject={}, expires_at=until
        )


def test_only_operators_do_what_operators_do(
    gateway: Gateway, developer: Person, consumer: Person, reviewer: Person
) -> None:
    gift = {"tenant_id": consumer.tenant_id, "amount": "1", "reason": "x", "key": "k"}
    for person in (developer, consumer, reviewer):
        client = gateway(person)
        for method, path, body in (
            ("POST", "/api/operator/top-up", gift),
            ("POST", "/api/operator/codes", {"count": 1, "amount": "1", "days": 1}),
            ("GET", "/api/operator/codes", None),
            ("GET", "/api/operator/payouts", None),
            ("POST", "/api/operator/payouts/x/approve", None),
            ("POST", "/api/operator/payouts/x/reject", {"reason": "x"}),
            ("POST", "/api/operator/payouts/x/pay", {"reference": "x"}),
            ("GET", "/api/operator/receipts/x", None),
            ("POST", "/api/operator/receipts/x/refunds", {"reason": "x", "key": "k"}),
        ):
            assert client.request(method, path, json=body).status_code == 403, path
    assert gateway(consumer).get("/api/payouts").status_code == 403
    assert wallet(gateway(consumer)) == (0, 0, 0)


def test_an_operator_fills_any_wallet_once_per_key(
    gateway: Gateway, operator: Person, consumer: Person
) -> None:
    client = gateway(operator)
    gift = {"tenant_id": consumer.tenant_id, "amount": "2.5", "reason": "sorry", "key": "k"}
    first = client.post("/api/operator/top-up", json=gift).json()
    assert client.post("/api/operator/top-up", json=gift).json() == first
    assert first["meta"] == {"source": "operator", "by": operator.id, "reason": "sorry"}
    assert wallet(gateway(consumer)) == (2_500_000, 0, 0)
    nobody = client.post("/api/operator/top-up", json=gift | {"tenant_id": "ten_x"})
    assert refused(nobody) == (404, "accounts.no_tenant", "tenant")
    assert refused(client.post("/api/operator/top-up", json=gift | {"reason": " ", "key": "l"})) == (
        400,
        "cash.reason",
        "reason",
    )


def test_a_code_is_redeemed_by_one_of_two_and_wrong_ones_are_counted(
    gateway: Gateway, operator: Person, consumer: Person, developer: Person
) -> None:
    made = gateway(operator).post("/api/operator/codes", json={"count": 2, "amount": "3", "days": 7})
    first, second = made.json()["codes"]
    mine, other = gateway(consumer), gateway(developer)
    assert mine.post("/api/wallet/redeem", json={"code": first}).json()["amount_micro"] == 3 * CREDIT
    answer = other.post("/api/wallet/redeem", json={"code": first})
    assert refused(answer) == (409, "cash.code_used", "code")
    for _ in range(9):
        assert other.post("/api/wallet/redeem", json={"code": "MBE-2222"}).status_code == 404
    late = other.post("/api/wallet/redeem", json={"code": second})
    assert refused(late)[:2] == (429, "cash.code_tries") and int(late.headers["retry-after"]) > 3000
    assert mine.post("/api/wallet/redeem", json={"code": second}).status_code == 200
    assert wallet(mine) == (6 * CREDIT, 0, 0)
    [batch] = gateway(operator).get("/api/operator/codes").json()
    assert (batch["made"], batch["redeemed"]) == (2, 2) and "hash" not in batch


@pytest.fixture
def shop(
    payments: Provider, gateway: Gateway, consumer: Person
) -> tuple[TestClient, Callable[..., Response]]:
    """The consumer's client, and how the provider tells of an order."""
    client, outside = gateway(consumer), gateway(None)

    def tell(body: bytes, **how: Any) -> Response:
        return outside.post("/webhooks/payments", content=body, headers=signed(body, **how))

    return client, tell


def buy(client: TestClient, amount: str = "5", key: str = "k") -> dict[str, Any]:
    answer = client.post("/api/wallet/orders", json={"amount": amount, "key": key})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def test_a_payment_fills_the_wallet_once(
    payments: Provider, shop: tuple[TestClient, Callable[..., Response]]
) -> None:
    client, tell = shop
    order = buy(client, "5.004")
    assert order == buy(client, "5.004") and payments.asked == 1
    assert (order["amount_minor"], order["currency"], order["state"]) == (501, "EUR", "open")
    assert order["url"].startswith("https://pay.example/c/")
    body = payments.tells(order, "evt_1")
    with ThreadPoolExecutor(4) as pool:
        assert [one.status_code for one in pool.map(tell, [body] * 4)] == [200] * 4
    assert tell(payments.tells(order, "evt_again")).json() == {"order": "paid"}
    assert wallet(client) == (5_004_000, 0, 0) and ledger_sum() == 0
    [listed] = client.get("/api/wallet/orders").json()
    assert listed["state"] == "paid" and listed["paid_at"]


def test_a_payment_that_is_not_the_orders_books_nothing(
    payments: Provider, shop: tuple[TestClient, Callable[..., Response]]
) -> None:
    client, tell = shop
    order = buy(client)
    for changes in ({"amount": 499}, {"amount": 501}, {"currency": "USD"}, {"reference": "ref_other"}):
        assert refused(tell(payments.tells(order, "evt_1", **changes)))[:2] == (409, "cash.other_payment")
    assert refused(tell(payments.tells(order, "evt_1", order_id="ord_x")))[0] == 404
    assert refused(tell(payments.tells(order, "evt_1"), secret="wrong"))[:2] == (403, "cash.bad_signature")
    assert refused(tell(payments.tells(order, "evt_1"), age=400))[:2] == (403, "cash.old_event")
    assert tell(payments.tells(order, "evt_1", more="x" * 70_000)).status_code == 413
    assert tell(payments.tells(order, "evt_0", "refund.pending")).json() == {"order": "passed over"}
    assert wallet(client) == (0, 0, 0)
    assert tell(payments.tells(order, "evt_1")).status_code == 200
    assert refused(tell(payments.tells(order, "evt_1", "reversed")))[:2] == (409, "billing.key_reused")
    assert wallet(client) == (5 * CREDIT, 0, 0)


def test_a_reversal_never_touches_holds_and_what_is_missing_is_owed(
    payments: Provider, shop: tuple[TestClient, Callable[..., Response]], consumer: Person
) -> None:
    client, tell = shop
    order = buy(client)
    early = tell(payments.tells(order, "evt_r1", "reversed", amount=200))
    assert refused(early)[:2] == (409, "cash.not_paid")
    tell(payments.tells(order, "evt_1"))
    hold(consumer, 2 * CREDIT)
    for _ in range(2):
        assert tell(payments.tells(order, "evt_r1", "reversed", amount=200)).json() == {"order": "paid"}
    assert wallet(client) == (CREDIT, 2 * CREDIT, 0)
    assert refused(tell(payments.tells(order, "evt_r2", "reversed", amount=301)))[0] == 409
    assert tell(payments.tells(order, "evt_r2", "reversed", amount=300)).json() == {"order": "reversed"}
    assert wallet(client) == (0, 2 * CREDIT, 2 * CREDIT) and ledger_sum() == 0
    tell(payments.tells(buy(client, "3", "next"), "evt_2"))
    assert wallet(client) == (CREDIT, 2 * CREDIT, 0) and ledger_sum() == 0


def test_parts_of_a_reversal_take_back_exactly_what_was_paid(
    payments: Provider, shop: tuple[TestClient, Callable[..., Response]]
) -> None:
    client, tell = shop
    order = buy(client, "0.033333")  # 4 cents for it: a part is no whole number of micro-credits
    assert order["amount_minor"] == 4
    tell(payments.tells(order, "evt_1"))
    for number in range(4):
        tell(payments.tells(order, f"evt_r{number}", "reversed", amount=1))
    assert wallet(client) == (0, 0, 0) and ledger_sum() == 0


def test_a_provider_that_fails_keeps_the_order_for_the_next_click(
    payments: Provider, shop: tuple[TestClient, Callable[..., Response]]
) -> None:
    client, _ = shop
    payments.broken = 500
    answer = client.post("/api/wallet/orders", json={"amount": "5", "key": "k"})
    assert refused(answer)[:2] == (502, "cash.provider_failed")
    payments.broken = 0
    order = buy(client)
    assert [one["id"] for one in client.get("/api/wallet/orders").json()] == [order["id"]]
    other = client.post("/api/wallet/orders", json={"amount": "6", "key": "k"})
    assert refused(other)[:2] == (409, "billing.key_reused")
    free = client.post("/api/wallet/top-up", json={"amount": "5", "key": "k"})
    assert refused(free)[:2] == (403, "billing.no_play_credits")


def test_where_no_provider_is_connected_nothing_is_sold(gateway: Gateway, consumer: Person) -> None:
    answer = gateway(consumer).post("/api/wallet/orders", json={"amount": "5", "key": "k"})
    assert refused(answer)[:2] == (404, "cash.no_payments")
    assert refused(gateway(None).post("/webhooks/payments", content=b"{}"))[:2] == (404, "cash.no_payments")


def earn(developer: Person, buyer: Person, charge: int) -> str:
    """Let a developer earn 80% of a charge; returns the receipt's id."""
    until = now() + timedelta(minutes=1)
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=buyer.tenant_id, amount_micro=charge, key=f"{now()}", by="p")
        held = billing.hold(
            uow,
            tenant_id=buyer.tenant_id,
            amount_micro=charge,
            key=f"{now()}",
            subject={"person_id": buyer.id},
            expires_at=until,
        )
        return billing.settle(
            uow,
            hold_id=held.id,
            amount_micro=charge,
            developer_tenant_id=developer.tenant_id,
            usage={"model": "help-desk", "input_tokens": 1, "output_tokens": 2},
        ).id


def test_a_payout_from_request_to_payment(
    gateway: Gateway, operator: Person, developer: Person, consumer: Person
) -> None:
    earn(developer, consumer, 50 * CREDIT)
    mine, boss = gateway(developer), gateway(operator)
    asked = mine.post("/api/payouts", json={"amount": "15", "destination": "DE89", "key": "k"}).json()
    assert asked["state"] == "requested"
    rival = gateway(make_person("rival@example.com", "developer"))
    assert rival.post(f"/api/payouts/{asked['id']}/cancel").status_code == 404
    assert rival.get("/api/payouts").json()["payouts"] == []
    [row] = boss.get("/api/operator/payouts").json()
    assert (row["tenant"], row["person"], row["destination"]) == ("Dev", "Dev", "DE89")
    assert boss.post(f"/api/operator/payouts/{asked['id']}/approve").json()["state"] == "approved"
    paid = boss.post(f"/api/operator/payouts/{asked['id']}/pay", json={"reference": "SEPA 1"}).json()
    assert (paid["state"], paid["reference"]) == ("paid", "SEPA 1")
    assert boss.get("/api/operator/payouts").json() == []
    standing = mine.get("/api/payouts").json()
    assert (standing["available_micro"], standing["pending_micro"], standing["paid_micro"]) == (
        25 * CREDIT,
        0,
        15 * CREDIT,
    )
    small = mine.post("/api/payouts", json={"amount": "9.99", "destination": "DE89", "key": "l"})
    assert refused(small) == (400, "cash.payout_minimum", "amount")
    assert ledger_sum() == 0


def test_a_refund_is_seen_on_the_receipt(
    gateway: Gateway, operator: Person, developer: Person, consumer: Person
) -> None:
    receipt_id = earn(developer, consumer, 10)
    boss, buyer = gateway(operator), gateway(consumer)
    found = boss.get(f"/api/operator/receipts/{receipt_id}").json()
    assert (found["tenant"], found["left_micro"], found["refunds"]) == ("Con", 10, [])
    path = f"/api/operator/receipts/{receipt_id}/refunds"
    body = {"amount": "0.000004", "reason": "wrong answer", "key": "k"}
    first = boss.post(path, json=body).json()
    assert boss.post(path, json=body).json() == first
    assert boss.post(path, json={"reason": "all of it", "key": "l"}).json()["amount_micro"] == 6
    assert refused(boss.post(path, json={"reason": "more", "key": "m"})) == (
        400,
        "billing.refund_amount",
        "amount",
    )
    shown = buyer.get(f"/api/receipts/{receipt_id}").json()
    assert [(one["amount_micro"], one["reason"]) for one in shown["refunds"]] == [
        (4, "wrong answer"),
        (6, "all of it"),
    ]
    assert shown["charged_micro"] == 10 and wallet(buyer) == (10, 0, 0)
    assert gateway(developer).get(f"/api/receipts/{receipt_id}").status_code == 404
    assert refused(boss.get("/api/operator/receipts/rcp_x"))[:2] == (404, "billing.unknown_receipt")
