"""Pieces shared by all pages: what they show, and that nothing a person typed becomes markup."""

from datetime import timedelta
from typing import Any

import pytest

from apps import cards
from engine.jobs.schemas import JobView
from engine.kit.clock import now
from engine.knowledge.schemas import Passage


def job(**values: Any) -> JobView:
    fields: dict[str, Any] = {
        "id": "job_1",
        "tenant_id": "tn",
        "owner_id": "pe",
        "kind": "k",
        "title": "Tents",
        "subject_id": None,
        "queue": "normal",
        "resource": "other",
        "urgent": False,
        "memory": 0,
        "machine": None,
        "device_id": None,
        "state": "running",
        "done": 30,
        "total": 120,
        "message": "",
        "metrics": {},
        "params": {},
        "checkpoint": None,
        "result": None,
        "error": None,
        "error_key": None,
        "error_facts": {},
        "attempt": 1,
        "created_at": now(),
        "queued_at": now(),
        "started_at": now() - timedelta(seconds=10),
        "finished_at": None,
        "heartbeat_at": None,
    }
    return JobView(**{**fields, **values})


def test_a_running_job_shows_progress_speed_and_time_left() -> None:
    html = cards.job_card(job(), "en")
    assert "30 of 120" in html and "width:25%" in html and "Running" in html
    assert "3.0 per second" in html and "about 30 s left" in html


def test_measured_time_wins_over_extrapolation_and_a_resumed_job_is_not_extrapolated() -> None:
    assert "about 1 min 5 s left" in cards.job_card(job(metrics={"seconds_left": 65.2}), "en")
    assert "left" not in cards.job_card(job(attempt=2), "en")


def test_a_failed_job_says_why_and_a_sign_stands_beside_the_colour() -> None:
    html = cards.job_card(job(state="failed", error_key="jobs.process_exited", error_facts={"code": 3}), "en")
    assert "exit code 3" in html and "✕ Failed" in html and 'role="alert"' in html


def test_a_job_without_a_known_total_shows_an_empty_bar_and_a_finished_one_a_full_one() -> None:
    assert "width:0%" in cards.job_card(job(state="queued", done=0, total=0, started_at=None), "zh")
    assert "width:100%" in cards.job_card(job(state="succeeded", done=0, total=0, finished_at=now()), "zh")


@pytest.mark.parametrize(
    "html",
    [
        cards.job_card(job(title="<img src=x>"), "en"),
        cards.table(["<img src=x>"], [["<img src=x>"], [cards.link("/x", "<img src=x>")]]),
        cards.empty("<img src=x>", "/x", "<img src=x>"),
        cards.tiles([("<img src=x>", "<img src=x>")]),
        cards.note("<img src=x>"),
        cards.bubbles([{"role": "<img src=x>", "content": "<img src=x>"}], "en"),
        cards.marked("<img src=x>", "src img"),
    ],
)
def test_markup_in_words_is_escaped(html: str) -> None:
    assert "<img" not in html and "&lt;" in html


def test_numbers_stand_right_and_sort_by_value() -> None:
    html = cards.table(["Name", "Rows"], [["a", 1200], ["b", 3]])
    assert '<td class="num" data-v="1200">1,200</td>' in html


@pytest.mark.parametrize(
    ("seconds", "words"), [(5, "just now"), (125, "2 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")]
)
def test_times_are_said_as_people_say_them(seconds: int, words: str) -> None:
    assert cards.ago(now() - timedelta(seconds=seconds), "en") == words


def test_words_of_the_question_are_marked_by_stem_and_chinese_by_pairs() -> None:
    assert cards.marked("Tents dry fast.", "drying a tent") == "<mark>Tents</mark> <mark>dry</mark> fast."
    assert cards.marked("七天内可以退货。", "怎么退货？") == "七天内可以<mark>退货</mark>。"


def test_citations_are_numbered_and_open_the_passage() -> None:
    passage = Passage(
        chunk_id="c",
        document_id="d",
        document_name="care.md",
        heading="Care",
        text="Dry the tent.",
        start=0,
        end=13,
        score=1,
        cosine=1,
        lexical=1,
        page=3,
    )
    html = cards.citations([passage], "tent", "en")
    assert "1 · care.md · page 3" in html and "<mark>tent</mark>" in html
    assert cards.citations([], "tent", "en") == "" and "<a " not in html
    linked = cards.citations([passage], "tent", "en", lambda p: f"/x?{p.chunk_id}&'\"<")
    assert 'href="/x?c&amp;&#x27;&quot;&lt;" target="_blank" rel="noopener"' in linked
