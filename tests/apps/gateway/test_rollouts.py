"""Two versions of an expert in traffic, over HTTP: shares, failures that cost nothing, the way back."""

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from sqlalchemy import select

from engine.accounts.schemas import Person
from engine.analytics.models import UsageEventRow
from engine.billing import prices
from engine.billing import service as billing
from engine.flows import publish_expert, watch_rollouts
from engine.flows.call_rounds import listings
from engine.inference import pool
from engine.inference.adapters import adapter_name
from engine.inference.fake import FakeModel
from engine.inference.schemas import Delta
from engine.kit.database import unit_of_work
from engine.kit.errors import NotReady, UpstreamFailed
from engine.kit.money import CREDIT
from engine.market import service as market
from engine.market.schemas import SYSTEM, ExpertView
from engine.serving.models import OutcomeRow
from tests.apps.gateway.test_chat import QUESTION, balance, fill
from tests.support import make_person

Gateway = Callable[[Person | None], TestClient]
WAY = "/api/market/experts/help-desk/rollout"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
PROMPT = {"model": "help-desk", "prompt": "Returns take"}
CALLS = [
    (CHAT, QUESTION),
    (TEXT, PROMPT),
    (CHAT, QUESTION | {"stream": True}),
    (TEXT, PROMPT | {"stream": True}),
]
NAMES = {adapter_name(f"adapters/{run}"): run for run in ("run_1", "run_2")}
CANARY = {"x-routing-strategy": "canary"}


class Failing(FakeModel):
    """Fails for one adapter, before its first word or after it; the name of each model asked is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.bad = ""
        self.words = 0
        self.error: Exception = UpstreamFailed("inference.broke_off")
        self.asked: list[str] = []

    async def stream(self, model: str, prompt: Any, **options: Any) -> AsyncGenerator[Delta, None]:
        self.asked.append(NAMES.get(model, model))
        said = 0
        async for delta in super().stream(model, prompt, **options):
            if self.bad and self.bad in self.asked[-1] and said >= self.words:
                raise self.error
            said += 1
            yield delta


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    """What the test before published is not known any more."""
    listings.forget()


@pytest.fixture
def model(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    made = Failing()
    monkeypatch.setattr("engine.inference.pool.FakeModel", lambda: made)
    pool.pool.cache_clear()
    yield made


@pytest.fixture
def approved(published: ExpertView, developer: Person, reviewer: Person) -> ExpertView:
    """The next version of the published expert, cheaper on its listing, reviewed and not published."""
    with unit_of_work() as uow:
        made = market.register(
            uow,
            person_id=developer.id,
            tenant_id=developer.tenant_id,
            name="help-desk",
            title="Help desk",
            run_id="run_2",
            adapter_prefix="adapters/run_2",
            base_model="starter",
            knowledge_base_ids=[],
        )
        market.change_state(uow, made.id, "testing", by=developer, reason="")
        market.record_quality(uow, made.id, {"passed": True}, True, by=SYSTEM)
        market.describe(
            uow,
            made.id,
            tenant_id=developer.tenant_id,
            title="Help desk",
            description="Answers questions about orders and returns.",
            category="customer-service",
            tags=[],
            input_price="1",
            output_price="1",
            example="How long do returns take?",
        )
        market.change_state(uow, made.id, "pending_review", by=developer, reason="")
        return market.change_state(uow, made.id, "approved", by=reviewer, reason="fine")


@pytest.fixture
def mine(gateway: Gateway, developer: Person, approved: ExpertView) -> TestClient:
    return gateway(developer)


@pytest.fixture
def theirs(gateway: Gateway, consumer: Person, published: ExpertView) -> TestClient:
    fill(consumer)
    return gateway(consumer)


def begin(client: TestClient, **changes: Any) -> dict[str, Any]:
    made = client.post(WAY, json=changes)
    assert made.status_code == 201, made.text
    return dict(made.json())


def arms(client: TestClient) -> dict[str, tuple[int, int]]:
    shown = client.get(WAY).json()["arms"]
    return {arm: (one["calls"], one["failed"]) for arm, one in shown.items()}


def receipt(answer: Response) -> dict[str, Any]:
    if answer.headers["content-type"].startswith("text/event-stream"):
        lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "[DONE]", answer.text
        return dict(json.loads(lines[-2])["receipt"])
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["receipt"])


def events() -> list[tuple[str, str]]:
    with unit_of_work() as uow:
        rows = uow.scalars(select(UsageEventRow).order_by(UsageEventRow.at))
        return [(row.expert_id, row.outcome) for row in rows]


def agrees(person: Person, charged: int) -> None:
    """The wallet, what is held, and the ledger say that so much was paid."""
    assert balance(person) == (10 * CREDIT - charged, 0)
    with unit_of_work() as uow:
        assert billing.ledger_sum(uow) == 0


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_the_version_that_answers_is_on_headers_receipt_and_event(
    theirs: TestClient, mine: TestClient, model: Failing, published: ExpertView, approved: ExpertView,
    consumer: Person, path: str, body: dict[str, Any],
) -> None:  # fmt: skip
    plain = theirs.post(path, json=body)
    assert plain.headers["X-Model-Version"] == "1.0.0" and "X-Routing-Arm" not in plain.headers
    begin(mine, weight_percent=0)
    stable, candidate = theirs.post(path, json=body), theirs.post(path, json=body, headers=CANARY)
    assert (stable.headers["X-Model-Version"], stable.headers["X-Routing-Arm"]) == ("1.0.0", "stable")
    assert (candidate.headers["X-Model-Version"], candidate.headers["X-Routing-Arm"]) == (
        "1.1.0",
        "candidate",
    )
    found = [receipt(one) for one in (plain, stable, candidate)]
    assert [one["usage"]["version"] for one in found] == ["1.0.0", "1.0.0", "1.1.0"]
    assert len({one["usage"]["price_id"] for one in found}) == 1  # the price is the name's
    assert [one for one, _ in events()] == [published.id, published.id, approved.id]
    assert ["run_2" in one for one in model.asked] == [False, False, True]
    agrees(consumer, sum(one["charged_micro"] for one in found))
    assert arms(mine) == {"stable": (1, 0), "candidate": (1, 0)}


def test_without_a_rollout_every_valid_header_means_stable_and_others_are_refused(
    theirs: TestClient, consumer: Person
) -> None:
    for strategy in ("stable", "canary", "ab_test"):
        answer = theirs.post(CHAT, json=QUESTION, headers={"x-routing-strategy": strategy})
        assert answer.status_code == 200 and answer.headers["X-Model-Version"] == "1.0.0"
    before = balance(consumer)
    for header, value in (("x-routing-strategy", "beta"), ("X-Conversation-ID", "x" * 201)):
        for path, body in CALLS:
            refused = theirs.post(path, json=body, headers={header: value})
            assert (refused.status_code, refused.json()["error"]["param"]) == (400, header)
    assert balance(consumer) == before


def test_a_conversation_keeps_its_version_and_shares_follow_the_weight(
    theirs: TestClient, mine: TestClient, consumer: Person
) -> None:
    fill(consumer)
    begin(mine, weight_percent=50, strategy="ab_test")

    def arm(conversation: str) -> str:
        headers = {"X-Conversation-ID": conversation}
        return str(
            theirs.post(CHAT, json=QUESTION | {"max_tokens": 1}, headers=headers).headers["X-Routing-Arm"]
        )

    first = {str(n): arm(str(n)) for n in range(24)}
    assert set(first.values()) == {"stable", "candidate"}
    assert {name: arm(name) for name in first} == first
    mine.patch(WAY, json={"weight_percent": 100}).raise_for_status()
    assert {arm(name) for name in first} == {"candidate"}
    mine.patch(WAY, json={"weight_percent": 50}).raise_for_status()
    assert {name: arm(name) for name in first} == first
    talk = [
        {"role": "user", "content": "How long do returns take?"},
        {"role": "assistant", "content": "45 days."},
        {"role": "user", "content": "And?"},
    ]
    one, two = theirs.post(CHAT, json=QUESTION), theirs.post(CHAT, json=QUESTION | {"messages": talk})
    assert one.headers["X-Routing-Arm"] == two.headers["X-Routing-Arm"]


@pytest.mark.parametrize(("path", "body"), CALLS)
def test_a_candidate_that_fails_before_its_first_word_gives_way_and_stable_is_paid_once(
    theirs: TestClient, mine: TestClient, model: Failing, published: ExpertView, consumer: Person,
    path: str, body: dict[str, Any],
) -> None:  # fmt: skip
    begin(mine)
    model.bad = "run_2"
    answer = theirs.post(path, json=body, headers=CANARY)
    assert (answer.headers["X-Model-Version"], answer.headers["X-Routing-Arm"]) == ("1.0.0", "stable")
    found = receipt(answer)
    assert found["usage"]["version"] == "1.0.0" and found["charged_micro"] > 0
    assert [one for one, _ in events()] == [published.id]
    assert arms(mine) == {"stable": (1, 0), "candidate": (1, 1)}
    agrees(consumer, found["charged_micro"])
    with unit_of_work() as uow:
        assert len(billing.receipts(uow, consumer.tenant_id)) == 1


@pytest.mark.parametrize(("path", "body"), CALLS[2:])
def test_a_candidate_that_breaks_off_in_the_middle_is_never_charged(
    theirs: TestClient, mine: TestClient, model: Failing, approved: ExpertView, consumer: Person,
    path: str, body: dict[str, Any],
) -> None:  # fmt: skip
    begin(mine)
    model.bad, model.words = "run_2", 2
    answer = theirs.post(path, json=body, headers=CANARY)
    assert "inference.broke_off" in answer.text and "[DONE]" not in answer.text
    assert arms(mine) == {"stable": (0, 0), "candidate": (1, 1)}
    assert events() == [(approved.id, "failed")]
    agrees(consumer, 0)
    model.bad = "run_1"  # what a published version said is paid for, as ever
    theirs.post(path, json=body, headers={"x-routing-strategy": "stable"})
    assert balance(consumer)[0] < 10 * CREDIT
    assert arms(mine)["stable"] == (1, 1)


def test_when_both_fail_nobody_pays_and_both_are_counted(
    theirs: TestClient, mine: TestClient, model: Failing, consumer: Person
) -> None:
    begin(mine)
    model.bad = "run_"
    answer = theirs.post(CHAT, json=QUESTION, headers=CANARY)
    assert answer.status_code == 502
    assert arms(mine) == {"stable": (1, 1), "candidate": (1, 1)}
    agrees(consumer, 0)


def test_a_model_server_that_is_away_is_no_candidates_failure(
    theirs: TestClient, mine: TestClient, model: Failing, consumer: Person
) -> None:
    begin(mine)
    model.bad, model.error = "run_2", NotReady("inference.warming_up", retry_after=5)
    assert theirs.post(CHAT, json=QUESTION, headers=CANARY).status_code == 503
    assert theirs.post(CHAT, json=QUESTION | {"n": 2}, headers=CANARY).status_code == 400
    assert arms(mine) == {"stable": (0, 0), "candidate": (0, 0)}
    agrees(consumer, 0)


def test_an_idempotency_key_of_a_failed_candidate_is_free_again(
    theirs: TestClient, mine: TestClient, model: Failing, consumer: Person
) -> None:
    begin(mine)
    model.bad, model.words = "run_2", 2
    headers = CANARY | {"Idempotency-Key": "k"}
    body = QUESTION | {"stream": True}
    theirs.post(CHAT, json=body, headers=headers)
    model.bad = ""
    again = theirs.post(CHAT, json=body, headers=headers)
    assert "Idempotent-Replayed" not in again.headers
    agrees(consumer, receipt(again)["charged_micro"])


def test_a_failing_canary_is_taken_back_by_itself_and_its_owner_is_told_why(
    theirs: TestClient,
    mine: TestClient,
    model: Failing,
    consumer: Person,
    approved: ExpertView,
    developer: Person,
) -> None:
    begin(mine, weight_percent=50)
    model.bad = "run_2"
    for _ in range(9):
        theirs.post(CHAT, json=QUESTION, headers=CANARY)
    assert watch_rollouts.chore() == 0
    theirs.post(CHAT, json=QUESTION, headers=CANARY)
    with ThreadPoolExecutor(4) as several:
        assert sum(several.map(lambda _: watch_rollouts.chore(), range(4))) == 1
    shown = mine.get(WAY).json()
    assert (shown["state"], shown["reason_code"]) == ("rolled_back", "rollouts.why_broken")
    assert "10 of its first 10 calls failed" in shown["reason"]
    assert "10 次" in mine.get(WAY, headers={"Accept-Language": "zh"}).json()["reason"]
    with unit_of_work() as uow:
        last = market.history(uow, approved.id, developer)[-1]
    assert (last.to_state, last.by_id, last.reason) == ("approved", "system", "1.1.0 -> 1.0.0")
    listings.forget()
    answer = theirs.post(CHAT, json=QUESTION, headers=CANARY)
    assert answer.headers["X-Model-Version"] == "1.0.0" and "X-Routing-Arm" not in answer.headers


def test_an_ab_test_is_never_taken_back_by_itself(
    theirs: TestClient, mine: TestClient, model: Failing
) -> None:
    begin(mine, strategy="ab_test")
    model.bad = "run_2"
    for _ in range(10):
        theirs.post(CHAT, json=QUESTION, headers=CANARY)
    assert watch_rollouts.chore() == 0 and mine.get(WAY).json()["state"] == "running"


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


def test_no_outcome_is_kept_while_no_rollout_runs(theirs: TestClient) -> None:
    theirs.post(CHAT, json=QUESTION)
    with unit_of_work() as uow:
        assert list(uow.scalars(select(OutcomeRow))) == []
