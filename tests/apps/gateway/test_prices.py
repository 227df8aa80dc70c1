"""Another price counts from the next call on; longer answers than usual are paid from what is free."""

from collections.abc import Callable

from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.analytics import service as analytics
from engine.analytics.schemas import UsageEvent
from engine.billing import service as billing
from engine.flows.call_rounds import listings
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.market.schemas import ExpertView
from tests.apps.gateway.test_chat import QUESTION, fill

Gateway = Callable[[Person | None], TestClient]
TERMS = {"input_price": "1", "output_price": "3", "call_price": "0.5", "minimum": "2"}


def ask(client: TestClient, **changes: object) -> dict[str, object]:
    answer = client.post("/v1/chat/completions", json=QUESTION | changes)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["receipt"])


def test_a_new_price_counts_from_the_next_call_and_shows_in_the_catalog(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    mine, theirs = gateway(developer), gateway(consumer)
    before = ask(theirs)
    set_ = mine.put("/api/market/prices/help-desk", json=TERMS)
    assert set_.status_code == 200 and set_.json()["number"] == 2
    after = ask(theirs)
    assert before["usage"]["price_number"] == 1 and after["usage"]["price_number"] == 2  # type: ignore[index]
    assert after["charged_micro"] == 2_000_000  # the minimum
    listed = theirs.get("/v1/models/help-desk").json()
    assert (listed["input_price_per_1k_micro"], listed["output_price_per_1k_micro"]) == (1_000_000, 3_000_000)
    assert [one["number"] for one in theirs.get("/api/market/prices/help-desk").json()] == [2, 1]


def test_only_its_developer_prices_an_expert_and_bad_prices_name_their_field(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    assert gateway(consumer).put("/api/market/prices/help-desk", json=TERMS).status_code == 403
    mine = gateway(developer)
    assert mine.put("/api/market/prices/nobody-here", json=TERMS).status_code == 404
    for change, field in (
        ({"minimum": "-1"}, "minimum"),
        ({"input_price": "many"}, "input_price"),
        ({"call_price": "1001"}, "call_price"),
        (
            {"tiers": [{"from_tokens": 1, "input_price": "0.0000001", "output_price": "0"}]},
            "tiers.input_price",
        ),
        ({"minimal": "1"}, "minimal"),
    ):
        refused = mine.put("/api/market/prices/help-desk", json=TERMS | change)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)


def usual(expert: ExpertView, tokens: int, *, calls: int = 30) -> None:
    """Let an expert have given so many answers of so many tokens."""
    event = UsageEvent(
        at=now(),
        tenant_id="t",
        person_id="p",
        expert_id=expert.id,
        expert_name=expert.name,
        developer_tenant_id=expert.tenant_id,
        input_tokens=1,
        output_tokens=tokens,
        charged_micro=0,
        developer_micro=0,
        platform_micro=0,
        latency_ms=1,
        first_token_ms=1,
        outcome="stop",
    )
    with unit_of_work() as uow:
        analytics.record(uow, [event] * calls)
    listings._usual.clear()


def test_a_hold_follows_the_usual_length_of_answers_and_not_the_limit_alone(
    gateway: Gateway, consumer: Person, published: ExpertView
) -> None:
    fill(consumer, 20)
    listings._usual.clear()
    client = gateway(consumer)
    assert int(ask(client, max_tokens=1500)["held_micro"]) > 1500 * 4_000  # type: ignore[call-overload]
    usual(published, 40)
    held = int(ask(client, max_tokens=1500)["held_micro"])  # type: ignore[call-overload]
    assert 80 * 4_000 <= held < 200 * 4_000
    with unit_of_work() as uow:
        assert billing.held(uow, consumer.tenant_id) == 0


def test_what_an_answer_costs_beyond_its_hold_is_on_the_receipt(
    gateway: Gateway, consumer: Person, developer: Person, published: ExpertView
) -> None:
    fill(consumer)
    usual(published, 1)
    gateway(developer).put(
        "/api/market/prices/help-desk", json={"input_price": "0", "output_price": "100"}
    ).raise_for_status()
    receipt = ask(gateway(consumer))
    used = receipt["usage"]
    assert receipt["charged_micro"] == used["output_tokens"] * 100_000  # type: ignore[index]
    assert receipt["held_micro"] == 200_000 and int(receipt["beyond_micro"]) > 0  # type: ignore[call-overload]
    with unit_of_work() as uow:
        assert billing.ledger_sum(uow) == 0 and billing.held(uow, consumer.tenant_id) == 0
