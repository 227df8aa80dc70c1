"""Two versions of an expert in traffic, over HTTP: shares, failures that cost nothing, the way back."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.flows import watch_rollouts
from engine.flows.call_rounds import listings
from engine.kit.database import unit_of_work
from engine.kit.errors import NotReady
from engine.kit.money import CREDIT
from engine.market import service as market
from engine.market.schemas import ExpertView
from engine.serving.models import OutcomeRow
from tests.apps.gateway.rollouts import (
    CALLS,
    CANARY,
    CHAT,
    WAY,
    Failing,
    agrees,
    approved,
    arms,
    begin,
    events,
    mine,
    model,
    nothing_known,
    receipt,
    theirs,
)
from tests.apps.gateway.test_chat import QUESTION, balance, fill

__all__ = ["approved", "mine", "model", "nothing_known", "theirs"]


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


def test_no_outcome_is_kept_while_no_rollout_runs(theirs: TestClient) -> None:
    theirs.post(CHAT, json=QUESTION)
    with unit_of_work() as uow:
        assert list(uow.scalars(select(OutcomeRow))) == []
