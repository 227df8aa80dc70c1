"""What pausing and cancelling cost, in words, and that one press of a button cancels nothing."""

from typing import Any

import gradio as gr
import pytest

from apps import costs
from apps.job_actions import JobActions
from engine.jobs import registry, service
from engine.jobs.costs import Cost
from engine.jobs.schemas import JobView, Spent
from engine.kit.database import unit_of_work
from engine.kit.messages import LANGUAGES, t
from engine.wiring import register_jobs
from studio.handlers.access import job_title
from tests.apps.test_cards import job

SINCE = {"checkpoint": {"step": 20}, "metrics": {"seconds": 60.0}}
KINDS = (
    "evals.gather",
    "knowledge.chunk",
    "knowledge.index",
    "knowledge.restore",
    "market.quality",
    "training.merge",
    "training.prompt",
    "training.search",
    "training.sft",
)


def cancelling(spent: Spent = Spent(cpu=75.0), language: str = "en", **row: Any) -> str:
    found = job(**{"kind": "training.sft", **row})
    return costs.cancel_words(found, Cost.of(found, spent), language)


def test_cancelling_a_training_says_what_stays_what_is_lost_and_what_was_spent() -> None:
    words = cancelling(**SINCE)
    assert "cannot be resumed and makes no expert; its checkpoints stay" in words
    assert "The newest is of step 20." in words and "(10 steps, about 20 s) is lost" in words
    assert "1 min 15 s of processor time" in words
    assert "GPU" in cancelling(Spent(gpu=2.0))
    assert "（10 步，约 20 秒）" in cancelling(language="zh", **SINCE)


def test_what_is_not_so_is_not_said() -> None:
    assert "no checkpoint yet" in cancelling(checkpoint={"step": 0})
    for quiet in ({"state": "paused"}, {"done": 20}):
        assert "is lost" not in cancelling(**SINCE, **quiet)
    assert "spent" not in cancelling(Spent(), **SINCE)
    waiting = cancelling(Spent(), state="queued", attempt=0)
    assert waiting == f"{t('costs.cancel_final', 'en')} {t('costs.cancel_queued', 'en')}"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_kind_of_job_has_words_of_its_own(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_entries", {})
    register_jobs()
    assert set(registry._entries) == set(KINDS)
    assert all(job_title(job(kind=kind), language) for kind in KINDS)
    cancels = {cancelling(kind=kind, language=language) for kind in KINDS}
    assert len(cancels) == len(KINDS)
    pauses = {kind: costs.pause_words(job(kind=kind), language) for kind in KINDS}
    assert len(set(pauses.values())) == 4 and pauses["knowledge.chunk"] == pauses["evals.gather"]
    assert costs.pause_words(job(state="queued"), language) == t("costs.pause_queued", language)


@pytest.fixture
def actions() -> JobActions:
    with gr.Blocks():
        return JobActions("en")


def submitted() -> JobView:
    with unit_of_work() as uow:
        return service.submit(
            uow, kind="knowledge.chunk", person_id="p", tenant_id="t", title="Help", params={}
        )


def test_while_a_job_can_be_cancelled_a_refresh_leaves_the_question_as_it_stands(
    db: str, actions: JobActions
) -> None:
    waiting = submitted()
    shown = actions.show(waiting)
    assert actions.asking not in shown and actions.resting not in shown
    assert t("costs.cancel_queued", "en") in shown[actions.cost]
    assert shown[actions.buttons["cancel"]]["visible"] and shown[actions.pausing]["visible"]
    for ended in ("succeeded", "failed", "cancelled", "cancelling"):
        shown = actions.show(waiting.model_copy(update={"state": ended}))
        assert not shown[actions.asking]["visible"] and shown[actions.resting]["visible"]
        assert not shown[actions.buttons["cancel"]]["visible"] and not shown[actions.pausing]["visible"]
    paused = actions.show(waiting.model_copy(update={"state": "paused"}))
    assert not paused[actions.pausing]["visible"] and paused[actions.buttons["resume"]]["visible"]
    assert not any(actions.show(None)[button]["visible"] for button in actions.buttons.values())


def test_only_the_second_press_cancels(actions: JobActions) -> None:
    wired: dict[str, list[Any]] = {}

    class Page:
        def on(self, event: Any, handler: Any, inputs: Any = ()) -> None:
            wired[event.__self__.value] = [handler, list(inputs)]

    actions.wire(Page(), lambda what: what, ["job", "subject"])  # type: ignore[arg-type, return-value]
    assert wired.pop("Cancel for good") == ["cancel", [actions.asked, "subject"]]
    assert wired.pop("Pause") == ["pause", ["job", "subject"]]
    assert wired.pop("Resume") == ["resume", ["job", "subject"]]
    asks, keeps = wired.pop("Cancel"), wired.pop("Keep going")
    assert not wired and asks[1] == ["job"] and keeps[1] == []
    assert asks[0]("job_1")[actions.asked] == "job_1"
    for answer, asking in ((asks[0]("job_1"), True), (keeps[0](), False)):
        assert answer[actions.asking]["visible"] is asking
        assert answer[actions.resting]["visible"] is not asking
