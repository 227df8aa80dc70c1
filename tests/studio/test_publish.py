"""From trained to published, reviewed and paid: the pages' handlers, without a browser."""

import asyncio
from dataclasses import replace
from html import unescape
from typing import Any
from urllib.parse import parse_qs

import pytest

from apps.market import handlers
from apps.passage import Cited
from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.flows import prepare_knowledge, test_expert
from engine.inference import pool as model_pool
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Forbidden, NotFound
from engine.kit.money import CREDIT
from engine.kit.settings import settings
from engine.market import service as market
from studio.handlers import earnings, jobs, knowledge, publish, review, trial
from studio.handlers.publish import Listing
from studio.views import experts as views
from tests.support import run_queued_jobs

LISTING = Listing(
    title="Tent helper",
    description="Answers questions about tents and <b>boots</b> of the Summit shop.",
    category="customer-service",
    tags="tents, boots，help",
    input_price="1",
    output_price="2",
    example="How do I dry a wet tent?",
)


def report(passed: bool) -> dict[str, Any]:
    missed = [] if passed else [{"mark": "accuracy", "value": 0.4, "needed": 0.6}]
    failure = {
        "case_id": "held-out 1",
        "kind": "accuracy",
        "question": "How <big> is it?",
        "answer": "",
        "expected": "Two persons",
        "reason": "evals.failed_empty",
        "facts": {},
    }
    return {
        "accuracy": 0.9 if passed else 0.4,
        "response_p50_ms": 800,
        "response_p95_ms": 2100,
        "safety": 1.0,
        "cases": 20,
        "passed": passed,
        "missed": missed,
        "failures": [failure],
    }


@pytest.fixture
def expert_id(dana: Person) -> str:
    with unit_of_work() as uow:
        made = market.register(
            uow,
            person_id=dana.id,
            tenant_id=dana.tenant_id,
            name="tent-helper",
            title="Tent helper",
            run_id="run_1",
            adapter_prefix="adapters/run_1",
            base_model="starter",
            knowledge_base_ids=[],
        )
    return made.id


def tested(dana: Person, expert_id: str, passed: bool = True) -> None:
    publish.test(dana, expert_id)
    with unit_of_work() as uow:
        market.record_quality(uow, expert_id, report(passed), passed)


def published(dana: Person, rui: Person, expert_id: str) -> None:
    tested(dana, expert_id)
    publish.submit(dana, expert_id, LISTING)
    review.decide(rui, expert_id, "approve", "")
    publish.step(dana, expert_id, "publish")


def test_the_list_begins_empty_and_then_links_each_expert(
    dana: Person, other: Person, expert_id: str
) -> None:
    assert f"/zh/studio/publish?expert={expert_id}" in publish.listing(dana, "zh")
    assert "mbe-empty" in publish.listing(other, "en")


def test_the_owner_sees_all_bases_that_the_expert_quotes_and_the_reviewer_none(
    dana: Person, rui: Person
) -> None:
    bases = [knowledge.create(dana, name, "en") for name in ("Tents", "Boots")]
    with unit_of_work() as uow:
        made = market.register(
            uow,
            person_id=dana.id,
            tenant_id=dana.tenant_id,
            name="shop-helper",
            title="Shop helper",
            run_id="run_2",
            adapter_prefix="adapters/run_2",
            base_model="starter",
            knowledge_base_ids=bases,
        )
    head = publish.detail(dana, made.id, "en").head
    assert ">Tents</a>" in head and ">Boots</a>" in head
    tested(dana, made.id)
    publish.submit(dana, made.id, LISTING)
    assert "Boots" not in review.detail(rui, made.id, "en").head


def test_a_check_can_start_and_shows_its_job(dana: Person, expert_id: str) -> None:
    assert publish.detail(dana, expert_id, "en").actions == ("test",)
    publish.test(dana, expert_id)
    detail = publish.detail(dana, expert_id, "en")
    assert detail.job is not None and detail.actions == () and detail.expert.state == "testing"


def test_a_cancelled_check_can_be_started_again(dana: Person, expert_id: str) -> None:
    job = publish.test(dana, expert_id)
    jobs.change(dana, job.id, "cancel")
    detail = publish.detail(dana, expert_id, "en")
    assert detail.actions == ("test",) and detail.job is None
    assert publish.test(dana, expert_id).id != job.id


def test_a_failed_check_says_what_was_missed_and_which_question_failed(dana: Person, expert_id: str) -> None:
    tested(dana, expert_id, passed=False)
    detail = publish.detail(dana, expert_id, "en")
    assert "Accuracy 40%, at least 60% needed." in detail.report
    assert "How &lt;big&gt; is it?" in detail.report and "gave no answer" in detail.report
    assert detail.editable and detail.actions == ("test",)


def test_the_road_from_tested_to_published_and_back(dana: Person, rui: Person, expert_id: str) -> None:
    tested(dana, expert_id)
    publish.submit(dana, expert_id, LISTING)
    waiting = publish.detail(dana, expert_id, "en")
    assert waiting.actions == ("withdraw",) and not waiting.editable and "&lt;b&gt;" in waiting.listing
    assert expert_id in review.queue(rui, "en")
    review.decide(rui, expert_id, "approve", "Good work")
    publish.step(dana, expert_id, "publish")
    live = publish.detail(dana, expert_id, "zh")
    assert "/zh/market/expert?name=tent-helper" in live.listing and live.actions == ("retire",)
    assert "Rui" in live.history and "Good work" in live.history
    assert expert_id in review.published(rui, "en")
    review.decide(rui, expert_id, "suspend", "Wrong prices")
    assert review.detail(rui, expert_id, "en").decisions == ("restore",)
    review.decide(rui, expert_id, "restore", "")
    publish.step(dana, expert_id, "retire")
    publish.step(dana, expert_id, "withdraw")
    back = publish.detail(dana, expert_id, "en")
    assert back.editable and publish.form_of(back.expert) == replace(
        LISTING, tags="tents, boots, help", input_price="1.00", output_price="2.00"
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"title": ""}, "title"),
        ({"input_price": "-1"}, "input_price"),
        ({"description": "short"}, "description"),
    ],
)
def test_a_mistake_in_the_listing_is_refused_at_its_field(
    dana: Person, expert_id: str, change: dict[str, str], field: str
) -> None:
    tested(dana, expert_id)
    with pytest.raises(BadInput) as caught:
        publish.submit(dana, expert_id, replace(LISTING, **change))
    assert caught.value.field == field
    assert publish.detail(dana, expert_id, "en").expert.state == "tested"


def test_a_rejection_needs_a_reason_and_reviewers_only(dana: Person, rui: Person, expert_id: str) -> None:
    tested(dana, expert_id)
    publish.submit(dana, expert_id, LISTING)
    with pytest.raises(BadInput) as caught:
        review.decide(rui, expert_id, "reject", " ")
    assert caught.value.field == "reason"
    for call in (
        lambda: review.decide(dana, expert_id, "approve", ""),
        lambda: review.detail(dana, expert_id, "en"),
        lambda: review.queue(dana, "en"),
        lambda: review.published(dana, "en"),
    ):
        with pytest.raises(Forbidden):
            call()
    review.decide(rui, expert_id, "reject", "The prices are missing")
    assert "The prices are missing" in publish.detail(dana, expert_id, "en").history


def test_a_typical_call_is_priced_with_the_developers_share() -> None:
    assert "costs 0.90 credits; you earn 0.72 of them (80%)" in publish.typical_call("1", "2", "en")
    assert "&lt;x&gt;" in publish.typical_call("<x>", "2", "en")


def test_the_track_marks_where_an_expert_stands() -> None:
    assert '<li aria-current="step">● Approved</li>' in views.track("approved", "en")
    assert '<li class="bad" aria-current="step">✕ Rejected</li>' in views.track("rejected", "en")
    assert views.track("published", "en").count("✓") == 4


def test_another_tenant_sees_nothing_of_an_expert(
    dana: Person, other: Person, rui: Person, expert_id: str
) -> None:
    with pytest.raises(NotFound):
        publish.detail(other, expert_id, "en")
    with pytest.raises(NotFound):
        publish.save(other, expert_id, LISTING)
    published(dana, rui, expert_id)
    with pytest.raises(NotFound):
        publish.detail(other, expert_id, "en")
    assert test_expert.latest_job(other, expert_id) is None


@pytest.fixture
def fake_model(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_INFERENCE", "fake")
    settings.cache_clear()
    model_pool.pool.cache_clear()


def said(person: Person, expert_id: str, question: str) -> list[trial.Spoken]:
    async def collect() -> list[trial.Spoken]:
        history = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
        history.append({"role": "assistant", "content": "Hello"})
        return [part async for part in trial.speak(person, expert_id, history, question, "en")]

    return asyncio.run(collect())


def test_an_owner_tries_an_expert_for_free_and_a_stranger_cannot(
    dana: Person, other: Person, rui: Person, expert_id: str, fake_model: None
) -> None:
    for person in (dana, rui):
        last = said(person, expert_id, "How do I dry a tent?")[-1]
        assert last.text and "free trial" in last.line
    with pytest.raises(NotFound):
        said(other, expert_id, "How do I dry a tent?")
    with pytest.raises(BadInput):
        said(dana, expert_id, "  ")


def test_what_a_trial_cites_opens_for_who_may_try_it(dana: Person, rui: Person, fake_model: None) -> None:
    base = prepare_knowledge.create_base(dana, name="Tents", language="zh")
    prepare_knowledge.add_document(dana, base.id, "tents.md", b"Dry a wet tent in the shade.")
    prepare_knowledge.start(dana, base.id)
    run_queued_jobs()
    with unit_of_work() as uow:
        made = market.register(
            uow,
            person_id=dana.id,
            tenant_id=dana.tenant_id,
            name="dry-tents",
            title="Dry tents",
            run_id="run_1",
            adapter_prefix="adapters/run_1",
            base_model="starter",
            knowledge_base_ids=[base.id],
        )
    citations = said(rui, made.id, "How do I dry a wet tent?")[-1].citations
    query = parse_qs(unescape(citations.split("/en/market/passage?")[1].split('"')[0]))
    cited = Cited.read({name: values[0] for name, values in query.items()})
    assert cited.version == made.id and not cited.expert
    for person in (dana, rui):
        html = handlers.passage(person, cited, "en")
        assert "<mark>Dry a wet tent in the shade.</mark>" in html and "mbe-back" not in html


def test_earnings_are_empty_before_the_first_paid_call(dana: Person, rui: Person) -> None:
    page = earnings.earnings(dana, "zh")
    assert page.chart is None and "80%" in page.head
    with pytest.raises(Forbidden):
        earnings.earnings(rui, "en")


def test_a_paid_call_shows_in_the_developers_earnings(
    dana: Person, rui: Person, other: Person, expert_id: str
) -> None:
    published(dana, rui, expert_id)
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=other.tenant_id, amount_micro=10 * CREDIT, key="k", by=other.id)
        held = billing.hold(
            uow,
            tenant_id=other.tenant_id,
            amount_micro=CREDIT,
            key="c",
            subject={},
            expires_at=now(),
        )
        usage = {
            "model": "tent-helper",
            "input_tokens": 600,
            "output_tokens": 150,
            "input_price_micro": CREDIT,
            "output_price_micro": 2 * CREDIT,
            "finish": "stop",
        }
        billing.settle(
            uow,
            hold_id=held.id,
            amount_micro=900_000,
            developer_tenant_id=dana.tenant_id,
            usage=usage,
        )
    page = earnings.earnings(dana, "en")
    assert "0.72 credits" in page.head and "tent-helper" in page.tables
    assert page.chart is not None and list(page.chart.data[0].x) == [0.72]
    assert earnings.earnings(other, "en").chart is None
