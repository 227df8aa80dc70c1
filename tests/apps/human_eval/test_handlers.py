"""The human evaluation pages without a browser."""

from pathlib import Path

import pytest

from apps.human_eval import handlers
from engine.accounts.schemas import Person
from engine.flows import judge_by_hand as flow
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from engine.market.schemas import ExpertView
from tests.support import make_person, run_queued_jobs

QUESTIONS = "How long do <i>returns</i> take?\n\n  Who pays the parcel?  "


@pytest.fixture
def campaign(model: None, dana: Person, expert: ExpertView) -> str:
    """A campaign of two answers, each to be rated by two people; returns its id."""
    handlers.start(dana, "Returns", [expert.id], QUESTIONS, 2)
    run_queued_jobs()
    return flow.campaigns(dana)[0].id


def test_each_page_says_who_uses_it_and_leads_to_the_page_of_ones_own(
    dana: Person, eva: Person, chen: Person
) -> None:
    assert handlers.refusal(eva, "", "en") == "" and handlers.refusal(dana, "campaigns", "en") == ""
    assert "/en/human-eval/campaigns" in handlers.refusal(dana, "", "en")
    assert 'href="/zh/human-eval/"' in handlers.refusal(eva, "campaigns", "zh")
    for path in handlers.ROLES:
        assert 'href="/en/"' in handlers.refusal(chen, path, "en")


def test_the_handlers_refuse_by_themselves(chen: Person, eva: Person, dana: Person) -> None:
    with pytest.raises(Forbidden):
        handlers.desk(chen, "en")
    with pytest.raises(Forbidden):
        handlers.desk(dana, "en")
    with pytest.raises(Forbidden):
        handlers.campaigns(eva, "en")
    with pytest.raises(Forbidden):
        handlers.start(eva, "Title", ["x"], "Why?", 1)


def test_only_experts_that_passed_can_be_chosen(dana: Person, otto: Person, expert: ExpertView) -> None:
    page = handlers.campaigns(dana, "en")
    assert [expert_id for _, expert_id in page.experts] == [expert.id] and not page.no_experts
    assert "mbe-empty" in page.listing
    assert "/zh/studio/train" in handlers.campaigns(otto, "zh").no_experts


@pytest.mark.parametrize(
    ("title", "chosen", "questions", "each", "field"),
    [
        (" ", True, QUESTIONS, 1, "title"),
        ("Returns", True, " \n ", 1, "questions"),
        ("Returns", False, QUESTIONS, 1, "experts"),
        ("Returns", True, QUESTIONS, None, "judgements_each"),
        ("Returns", True, QUESTIONS, 11, "judgements_each"),
    ],
)
def test_a_bad_form_is_refused_at_its_field(
    dana: Person,
    expert: ExpertView,
    title: str,
    chosen: bool,
    questions: str,
    each: int | None,
    field: str,
) -> None:
    with pytest.raises(BadInput) as caught:
        handlers.start(dana, title, [expert.id] if chosen else None, questions, each)
    assert caught.value.field == field
    assert handlers.campaigns(dana, "en").gathering == ()


def test_gathering_can_be_watched_paused_and_cancelled(
    model: None, dana: Person, otto: Person, expert: ExpertView
) -> None:
    job = handlers.start(dana, "Returns", [expert.id], QUESTIONS, 1)
    assert [one.id for one in handlers.campaigns(dana, "en").gathering] == [job.id]
    with pytest.raises(NotFound):
        handlers.change(otto, job.id, "cancel")
    assert handlers.change(dana, job.id, "pause").state == "paused"
    assert handlers.change(dana, job.id, "resume").state == "queued"
    assert handlers.change(dana, job.id, "cancel").state == "cancelled"
    assert handlers.campaigns(dana, "en").gathering == ()


def test_gathered_answers_open_as_a_campaign(campaign: str, dana: Person, otto: Person) -> None:
    page = handlers.campaigns(dana, "en")
    assert page.gathering == () and f"/en/human-eval/campaigns?campaign={campaign}" in page.listing
    empty = handlers.results(dana, campaign, "en")
    assert "0 of 4" in empty.head and "mbe-empty" in empty.message and empty.plot is None
    with pytest.raises(NotFound):
        handlers.results(otto, campaign, "en")
    assert campaign not in handlers.campaigns(otto, "en").listing


def test_an_evaluator_rates_blind_until_nothing_is_left(campaign: str, eva: Person) -> None:
    desk = handlers.desk(eva, "en")
    assert desk.task_id and not desk.empty and not desk.rated and "0 rated" in desk.progress
    assert "desk" not in desk.task and "<i>" not in desk.task
    handlers.submit(eva, desk.task_id, 5, 4, 3, "  Clear <s>words</s> ")
    second = handlers.desk(eva, "en")
    assert second.task_id != desk.task_id and "1 rated" in second.progress
    assert "&lt;s&gt;words" in second.rated and "desk" not in second.rated
    handlers.submit(eva, second.task_id, 4, 4, 4, "")
    done = handlers.desk(eva, "zh")
    assert not done.task_id and not done.task and "您已评完全部回答" in done.empty


def test_before_any_campaign_the_desk_is_empty(eva: Person) -> None:
    desk = handlers.desk(eva, "en")
    assert "as soon as a developer opens" in desk.empty and not desk.rated


def test_a_missing_score_is_refused_at_its_field_and_the_task_is_kept(campaign: str, eva: Person) -> None:
    desk = handlers.desk(eva, "en")
    with pytest.raises(BadInput) as caught:
        handlers.submit(eva, desk.task_id, 5, None, 3, "kept")
    assert caught.value.field == "helpfulness"
    assert handlers.desk(eva, "en").task_id == desk.task_id


def test_a_skipped_answer_goes_to_somebody_else(campaign: str, eva: Person) -> None:
    first = handlers.desk(eva, "en")
    handlers.skip(eva, first.task_id)
    second = handlers.desk(eva, "en")
    assert second.task != first.task
    handlers.skip(eva, second.task_id)
    handlers.skip(eva, second.task_id)
    assert handlers.desk(eva, "en").empty


def test_a_rating_counts_once_and_only_from_the_one_who_holds_the_task(campaign: str, eva: Person) -> None:
    other = make_person("tom@example.com", "checker")
    task_id = handlers.desk(eva, "en").task_id
    with pytest.raises(NotFound):
        handlers.submit(other, task_id, 1, 1, 1, "")
    handlers.submit(eva, task_id, 5, 5, 5, "")
    with pytest.raises(Conflict):
        handlers.submit(eva, task_id, 1, 1, 1, "")


def test_results_show_means_intervals_bars_and_comments(campaign: str, eva: Person, dana: Person) -> None:
    for scores in ((5, 4, 3), (3, 4, 3)):
        handlers.submit(eva, handlers.desk(eva, "en").task_id, *scores, "Says <u>when</u>.")
    found = handlers.results(dana, campaign, "en")
    assert "2 of 4" in found.head and "Help &lt;b&gt;desk&lt;/b&gt; 1.0.0: 3.7 of 5" in found.message
    assert "<b>4.00</b>" in found.found and "1.0 – 5.0" in found.found and "<u>" not in found.comments
    assert found.plot is not None and len(found.plot.data) == 4
    accuracy = found.plot.data[1]
    assert accuracy.base[0] + accuracy.x[0] == pytest.approx(4)
    assert accuracy.error_x.array[0] == pytest.approx(1) and accuracy.error_x.arrayminus[0] == pytest.approx(
        3
    )


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_pages_build_in_both_languages_with_no_public_endpoint(language: str, home: Path) -> None:
    from apps.human_eval import build

    demo = build(language)
    assert all(fn.api_visibility != "public" for fn in demo.fns.values())
    assert {path for path, _, _ in demo.pages} >= {"", "campaigns"}
