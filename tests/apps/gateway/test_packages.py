"""Packages over HTTP: offered by the developer, bought by others, and calls that they pay for."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.flows import buy_packages, reconcile
from engine.flows.call_allowances import allowances
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.money import CREDIT
from engine.market.schemas import ExpertView
from tests.apps.gateway.test_chat import QUESTION, balance, fill
from tests.support import make_person

Gateway = Callable[[Person | None], TestClient]
SMALL = {"title": "Small", "tokens": 100_000, "price": "5"}


@pytest.fixture(autouse=True)
def fresh(db: str) -> Iterator[None]:
    allowances.forget()
    yield
    allowances.forget()


def offer(client: TestClient, **changes: object) -> dict[str, Any]:
    made = client.post("/api/market/packages/help-desk", json=SMALL | changes)
    assert made.status_code == 200, made.text
    return dict(made.json())


def buy(client: TestClient, package: dict[str, Any], key: str = "k") -> dict[str, Any]:
    bought = client.post(
        "/api/packages", json={"package_id": package["id"]}, headers={"Idempotency-Key": key}
    )
    assert bought.status_code == 200, bought.text
    return dict(bought.json())


def ask(client: TestClient, **changes: object) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json=QUESTION | changes)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["receipt"])


def change(statement: str, **facts: object) -> None:
    with unit_of_work() as uow:
        uow.execute(text(statement), facts)
    allowances.forget()


def test_a_package_from_its_offer_to_the_call_that_it_pays_for(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    mine, theirs = gateway(developer), gateway(consumer)
    package = offer(mine)
    assert theirs.get("/api/packages/offered/help-desk").json() == [package]
    bought = buy(theirs, package)
    assert (bought["state"], bought["renewal"], bought["allowance"]["unused"]) == (
        "active",
        "renews",
        100_000,
    )
    assert buy(theirs, package) == bought and balance(consumer) == (5 * CREDIT, 0)
    assert mine.get("/api/market/packages/help-desk").json() == [package | {"subscribers": 1}]

    receipt = ask(theirs, max_tokens=50)
    used = receipt["usage"]["input_tokens"] + receipt["usage"]["output_tokens"]
    assert (receipt["charged_micro"], receipt["developer_micro"]) == (0, 0)
    assert receipt["usage"]["package_tokens"] == used > 0
    assert receipt["usage"]["allowance_id"] == bought["allowance"]["id"]
    assert balance(consumer) == (5 * CREDIT, 0)
    [now_] = theirs.get("/api/packages").json()
    assert now_["allowance"]["unused"] == 100_000 - used and now_["allowance"]["held_tokens"] == 0
    earned = mine.get("/api/earnings").json()
    assert earned["total_micro"] == 4 * CREDIT
    assert earned["experts"] == [{"name": "help-desk", "calls": 1, "tokens": used, "micro": 4 * CREDIT}]


def test_usage_receipts_and_ledger_agree_with_packages(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    theirs = gateway(consumer)
    ask(theirs)
    buy(theirs, offer(gateway(developer)))
    ask(theirs)
    found = reconcile.compare()
    assert found.agrees, found.differences
    days = {"from": f"{now() - timedelta(days=1):%Y-%m-%d}", "to": f"{now():%Y-%m-%d}", "by": "model"}
    statement = theirs.get("/api/statements", params=days).json()
    assert statement["movements"]["package"] == -5 * CREDIT
    assert statement["opening_micro"] + sum(statement["movements"].values()) == statement["closing_micro"]


def test_a_call_that_does_not_fit_is_paid_by_credits_as_a_whole(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    theirs = gateway(consumer)
    bought = buy(theirs, offer(gateway(developer), tokens=1_000))
    assert ask(theirs, max_tokens=1_000)["charged_micro"] > 0
    first = ask(theirs, max_tokens=20)
    assert first["charged_micro"] == 0
    # In the middle of the month the package is used up.
    change("UPDATE billing_allowances SET used_tokens = tokens - 3")
    second = ask(theirs, max_tokens=20)
    assert second["charged_micro"] > 0 and "allowance_id" not in second["usage"]
    [left] = theirs.get("/api/packages").json()
    assert (left["allowance"]["unused"], left["id"]) == (3, bought["id"])


def test_tokens_that_another_call_holds_are_not_promised_again(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    theirs = gateway(consumer)
    buy(theirs, offer(gateway(developer)))
    change("UPDATE billing_allowances SET held_tokens = tokens")  # as long calls would
    assert ask(theirs)["charged_micro"] > 0
    change("UPDATE billing_allowances SET held_tokens = 0")
    assert ask(theirs)["charged_micro"] == 0


def test_a_package_pays_for_its_tenant_and_its_expert_alone(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    buy(gateway(consumer), offer(gateway(developer)))
    other = make_person("other@example.com", "consumer")
    fill(other)
    assert ask(gateway(other))["charged_micro"] > 0
    assert gateway(other).get("/api/packages").json() == []


def test_an_empty_wallet_calls_on_its_package(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer, 5)
    theirs = gateway(consumer)
    buy(theirs, offer(gateway(developer)))
    assert balance(consumer) == (0, 0)
    assert ask(theirs)["charged_micro"] == 0
    change("UPDATE billing_allowances SET used_tokens = tokens")
    refused = theirs.post("/v1/chat/completions", json=QUESTION)
    assert refused.status_code == 402


def test_a_package_that_is_over_pays_nothing(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    theirs = gateway(consumer)
    buy(theirs, offer(gateway(developer)))
    change("UPDATE billing_allowances SET ends_at = :at", at=now() - timedelta(seconds=1))
    assert ask(theirs)["charged_micro"] > 0


def test_a_repeated_call_is_counted_once_in_the_package(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    theirs = gateway(consumer)
    buy(theirs, offer(gateway(developer)))
    twice = [
        theirs.post("/v1/chat/completions", json=QUESTION, headers={"Idempotency-Key": "again"})
        for _ in range(2)
    ]
    assert twice[0].json() == twice[1].json() and "Idempotent-Replayed" in twice[1].headers
    [left] = theirs.get("/api/packages").json()
    assert left["allowance"]["unused"] == 100_000 - twice[0].json()["receipt"]["usage"]["package_tokens"]


def test_only_its_developer_offers_withdraws_and_counts(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    package = offer(gateway(developer))
    rival = make_person("rival@example.com", "developer")
    path = "/api/market/packages/help-desk"
    for who, status in ((consumer, 403), (rival, 404)):
        client = gateway(who)
        assert client.post(path, json=SMALL).status_code == status
        assert client.get(path).status_code == status
        assert client.delete(f"{path}/{package['id']}").status_code == status
    nobody = gateway(None)
    for answer in (
        nobody.post(path, json=SMALL),
        nobody.get("/api/packages"),
        nobody.post("/api/packages", json={"package_id": package["id"], "key": "k"}),
        nobody.post("/api/packages/sub_x/cancel"),
    ):
        assert answer.status_code == 401
    assert len(gateway(developer).get(path).json()) == 1


def test_a_bad_package_names_its_field(gateway: Gateway, developer: Person, published: ExpertView) -> None:
    client = gateway(developer)
    for change_, field in (
        ({"title": ""}, "title"),
        ({"tokens": 5}, "tokens"),
        ({"tokens": "many"}, "tokens"),
        ({"price": "0"}, "price"),
        ({"price": "-3"}, "price"),
        ({"price": "0.0000001"}, "price"),
        ({"months": 3}, "months"),
    ):
        refused = client.post("/api/market/packages/help-desk", json=SMALL | change_)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)
    assert client.post("/api/market/packages/nobody", json=SMALL).status_code == 404


def test_buying_is_refused_without_a_key_credits_or_a_package(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    mine, theirs = gateway(developer), gateway(consumer)
    package = offer(mine)
    assert theirs.post("/api/packages", json={"package_id": package["id"]}).status_code == 400
    order = {"package_id": package["id"], "key": "k"}
    assert theirs.post("/api/packages", json=order).status_code == 402
    assert theirs.post("/api/packages", json=order | {"package_id": "pkg_none"}).status_code == 404
    fill(consumer, 20)
    buy(theirs, package)
    again = theirs.post("/api/packages", json=order | {"key": "other"})
    assert again.status_code == 409 and "until" in again.json()["error"]["message"]
    mine.delete(f"/api/market/packages/help-desk/{package['id']}").raise_for_status()
    [left] = theirs.get("/api/packages").json()
    assert left["renewal"] == "withdrawn"


def test_cancelling_is_for_ones_own_and_gives_nothing_back(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    theirs = gateway(consumer)
    bought = buy(theirs, offer(gateway(developer)))
    path = f"/api/packages/{bought['id']}/cancel"
    assert gateway(developer).post(path).status_code == 404
    cancelled = theirs.post(path).json()
    assert (cancelled["state"], cancelled["renewal"]) == ("ending", "ends")
    assert balance(consumer) == (5 * CREDIT, 0)
    assert ask(theirs)["charged_micro"] == 0


def test_the_worker_renews_what_is_due_and_ends_what_left_the_market(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer, 10)
    theirs = gateway(consumer)
    buy(theirs, offer(gateway(developer)))
    assert buy_packages.renew_due() == 0
    month_ago = (
        "UPDATE billing_subscriptions SET created_at = created_at - interval '32 days',"
        " ends_at = now() - interval '1 hour', due_at = now() - interval '1 hour'"
    )
    change("UPDATE billing_allowances SET starts_at = starts_at - interval '60 days', ends_at = now()")
    change(month_ago)
    assert (buy_packages.renew_due(), buy_packages.renew_due()) == (1, 0)
    assert ask(theirs)["charged_micro"] == 0 and balance(consumer) == (0, 0)
    change("UPDATE market_experts SET state = 'suspended'")
    change(month_ago)
    assert buy_packages.renew_due() == 1
    assert theirs.get("/api/packages").json()[0]["reason"] == "off_market"
    with unit_of_work() as uow:
        assert billing.ledger_sum(uow) == 0


def test_a_keys_limit_counts_credits_and_not_what_a_package_pays(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    theirs = gateway(consumer)
    made = theirs.post("/api/keys", json={"name": "site", "cap": "0.000001"})
    assert made.status_code in (200, 201), made.text
    bearer = {"Authorization": f"Bearer {made.json()['secret']}"}
    nobody = gateway(None)
    assert nobody.post("/v1/chat/completions", json=QUESTION, headers=bearer).status_code == 402
    buy(theirs, offer(gateway(developer)))
    answer = nobody.post("/v1/chat/completions", json=QUESTION, headers=bearer)
    assert answer.status_code == 200 and answer.json()["receipt"]["usage"]["package_tokens"] > 0
