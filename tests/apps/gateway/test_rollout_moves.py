"""From a share of the calls to promotion, and back: who may, what is refused, and what happens at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.billing import prices
from engine.flows import publish_expert
from engine.kit.database import unit_of_work
from engine.market import service as market
from engine.market.schemas import ExpertView
from tests.apps.gateway.rollouts import (
    CANARY,
    CHAT,
    WAY,
    Gateway,
    approved,
    begin,
    mine,
    model,
    nothing_known,
    theirs,
)
from tests.apps.gateway.test_chat import QUESTION
from tests.support import make_person

__all__ = ["approved", "mine", "model", "nothing_known", "theirs"]


def price(name: str = "help-desk") -> tuple[int, int]:
    with unit_of_work() as uow:
        found = prices.current(uow, [name])[name]
    return found.input_micro, found.output_micro


def test_promotion_publishes_at_the_listings_price_and_one_click_brings_the_version_before_back(
    theirs: TestClient, mine: TestClient, published: ExpertView, approved: ExpertView, developer: Person
) -> None:
    theirs.post(CHAT, json=QUESTION)
    begin(mine)
    assert price() == (2_000_000, 4_000_000)
    promoted = mine.post(f"{WAY}/promote").json()
    assert (promoted["state"], promoted["can_return"]) == ("promoted", True)
    assert price() == (1_000_000, 1_000_000)
    answer = theirs.post(CHAT, json=QUESTION)
    assert answer.headers["X-Model-Version"] == "1.1.0" and "X-Routing-Arm" not in answer.headers
    back = mine.post(f"{WAY}/rollback").json()
    assert (back["state"], back["can_return"]) == ("rolled_back", False)
    assert price() == (2_000_000, 4_000_000)
    assert theirs.post(CHAT, json=QUESTION).headers["X-Model-Version"] == "1.0.0"
    with unit_of_work() as uow:
        old, new = (market.history(uow, one.id, developer) for one in (published, approved))
    assert [(s.to_state, s.reason) for s in old[-2:]] == [
        ("retired", "1.0.0 -> 1.1.0"),
        ("published", "1.1.0 -> 1.0.0"),
    ]
    assert [s.to_state for s in new[-3:]] == ["approved", "published", "retired"]
    again = mine.post(f"{WAY}/rollback")
    assert (again.status_code, again.json()["error"]["code"]) == (409, "rollouts.over")


def test_a_rollback_while_it_runs_leaves_the_candidate_approved(
    theirs: TestClient, mine: TestClient, approved: ExpertView, developer: Person
) -> None:
    begin(mine, weight_percent=100)
    assert theirs.post(CHAT, json=QUESTION).headers["X-Routing-Arm"] == "candidate"
    assert mine.post(f"{WAY}/rollback").json()["state"] == "rolled_back"
    assert theirs.post(CHAT, json=QUESTION).headers["X-Model-Version"] == "1.0.0"
    with unit_of_work() as uow:
        assert market.get(uow, approved.id, developer).state == "approved"
    assert mine.post(f"{WAY}/promote").status_code == 409
    begin(mine)  # it may be tried again


@pytest.mark.parametrize("moves", [("promote",) * 2, ("rollback",) * 2])
def test_of_two_who_end_a_rollout_at_once_one_does(mine: TestClient, moves: tuple[str, ...]) -> None:
    begin(mine)
    with ThreadPoolExecutor(2) as two:
        codes = sorted(two.map(lambda move: mine.post(f"{WAY}/{move}").status_code, moves))
    # A second rollback finds nothing that runs; a promotion happens once.
    assert codes == [200, 409]


def test_of_two_who_start_at_once_one_does(mine: TestClient) -> None:
    with ThreadPoolExecutor(2) as two:
        codes = sorted(two.map(lambda _: mine.post(WAY, json={}).status_code, range(2)))
    assert codes == [201, 409]


def test_promotion_and_rollback_at_once_leave_one_version_on_the_market(
    mine: TestClient, developer: Person
) -> None:
    begin(mine)
    with ThreadPoolExecutor(2) as two:
        codes = list(two.map(lambda move: mine.post(f"{WAY}/{move}").status_code, ("promote", "rollback")))
    assert set(codes) <= {200, 409} and 200 in codes
    with unit_of_work() as uow:
        states = [one.state for one in market.versions(uow, "help-desk", developer.tenant_id)]
    assert states.count("published") == 1


def test_only_the_owner_gives_shares_and_another_tenant_finds_nothing(
    gateway: Gateway, mine: TestClient, consumer: Person
) -> None:
    rival = gateway(make_person("rival@example.com", "developer"))
    begin(mine)
    ways = [("GET", WAY), ("POST", WAY), ("PATCH", WAY)]
    ways += [("POST", f"{WAY}/{move}") for move in ("promote", "rollback")]
    for method, path in ways:
        body = None if method == "GET" else {}
        assert rival.request(method, path, json=body).status_code == 404, (method, path)
        assert gateway(consumer).request(method, path, json=body).status_code == 403
        assert gateway(None).request(method, path, json=body).status_code == 401
    assert mine.get(WAY).json()["state"] == "running"


def test_what_cannot_start_says_what_is_missing(
    gateway: Gateway, developer: Person, published: ExpertView, reviewer: Person
) -> None:
    client = gateway(developer)
    assert client.get(WAY).json()["error"]["code"] == "rollouts.none"
    assert client.post(WAY, json={}).json()["error"]["code"] == "rollouts.no_candidate"
    refused = client.post(WAY, json={"candidate_id": published.id})
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "rollouts.not_approved")
    assert client.post(WAY, json={"candidate_id": "exp_none"}).status_code == 404
    publish_expert.suspend(reviewer, published.id, "Wrong prices")
    assert client.post(WAY, json={}).json()["error"]["code"] == "rollouts.no_stable"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"weight_percent": 101}, "weight_percent"),
        ({"weight_percent": "much"}, "weight_percent"),
        ({"strategy": "beta"}, "strategy"),
        ({"margins": {"least_calls": 9}}, "margins.least_calls"),
        ({"margins": {"error_points": -1}}, "margins.error_points"),
        ({"margins": {"luck": 1}}, "margins.luck"),
    ],
)
def test_bad_values_name_their_field(mine: TestClient, body: dict[str, Any], field: str) -> None:
    refused = mine.post(WAY, json=body)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, field)
    assert begin(mine)["margins"] == {"error_points": 20, "slower_percent": 50, "least_calls": 50}
    assert mine.post(WAY, json={}).json()["error"]["code"] == "rollouts.running"
    if "strategy" not in body:
        assert mine.patch(WAY, json=body).status_code == 400
    changed = mine.patch(WAY, json={"margins": {"least_calls": 100}}).json()
    assert changed["margins"] == {"error_points": 20, "slower_percent": 50, "least_calls": 100}


def test_a_rollout_ends_with_the_market_of_its_versions(
    mine: TestClient,
    theirs: TestClient,
    published: ExpertView,
    approved: ExpertView,
    reviewer: Person,
    developer: Person,
) -> None:
    begin(mine)
    publish_expert.suspend(reviewer, published.id, "Wrong prices")
    shown = mine.get(WAY).json()
    assert (shown["state"], shown["reason_code"]) == ("ended", "rollouts.why_market")
    assert theirs.post(CHAT, json=QUESTION, headers=CANARY).status_code == 404
    publish_expert.restore(reviewer, published.id, "")
    begin(mine)
    publish_expert.publish(developer, approved.id)
    assert mine.get(WAY).json()["state"] == "promoted"
