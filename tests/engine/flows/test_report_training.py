"""Reports, cards and registry entries of trainings, as the flow puts them together from every room."""

import json
from io import BytesIO
from typing import Any

import pytest

from engine.accounts.schemas import Person
from engine.evals.schemas import CaseFailure, MissedMark, QualityReport
from engine.flows import import_dataset, prepare_knowledge, publish_expert, report_training, train_expert
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from engine.market import service as market
from engine.market.schemas import SYSTEM
from engine.training import registry, service
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Point
from tests.engine.training.records import HOSTILE, STATISTICS
from tests.support import make_person

RESULT: dict[str, Any] = {
    "adapter_prefix": "adapters/r",
    "steps": 10,
    "loss": 0.5,
    "eval_loss": 0.75,
    "seconds": 2.0,
    "tokens": 90,
    "provenance": {
        "base": "b" * 64,
        "data": "d" * 64,
        "files": {"adapter_model.safetensors": "a" * 64},
        "versions": {"torch": "2.0"},
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
        "train": STATISTICS.model_dump(),
        "held_out": None,
    },
}


@pytest.fixture
def dataset_id(dana: Person) -> str:
    rows = [{"question": f"Question {n}?", "answer": f"Answer {n}."} for n in range(40)]
    data = "\n".join(json.dumps(row) for row in rows).encode()
    return import_dataset.import_file(dana, name="Talks", filename="t.jsonl", source=BytesIO(data)).id


def start(person: Person, dataset_id: str, name: str = "Shop helper", **given: Any) -> JobView:
    return train_expert.start(person, name=name, dataset_id=dataset_id, preset="quick", **given)[1]


def finish(job: JobView, result: dict[str, Any]) -> str:
    """End a training as its worker would; returns the expert's id."""
    from engine.jobs.models import Job

    with unit_of_work() as uow:
        row = uow.get(Job, job.id)
        assert row is not None
        row.state, row.result = "succeeded", result
        train_expert.finish(uow, job, result)
        service.add_points(
            uow, str(job.subject_id), [Point(step=n, epoch=n, loss=2 / n, eval_loss=3 / n) for n in (1, 2, 3)]
        )
        return market.mine(uow, job.tenant_id)[0].id


def test_a_finished_training_is_told_whole(dana: Person, dataset_id: str) -> None:
    base = prepare_knowledge.create_base(dana, name="Manual", language="en").id
    job = start(dana, dataset_id, knowledge_base_ids=[base], changes={"rank": 4})
    finish(job, RESULT)
    shown = report_training.report(dana, job.id, "md", "en")
    assert (shown.name, shown.media) == ("shop-helper-report.md", "text/markdown")
    for words in ("Talks", "Manual", "starter", "a" * 64, "40 epochs. The base model is tiny", "0.7500"):
        assert words in shown.text, words
    page = report_training.report(dana, job.id, "html", "zh")
    assert "<svg" in page.text and "训练报告：Shop helper" in page.text and page.name.endswith(".html")
    assert "model-index" in report_training.card(dana, job.id, "en").text


def test_an_entry_comes_back_with_the_recipe_that_was_trained(dana: Person, dataset_id: str) -> None:
    job = start(dana, dataset_id, changes={"rank": 4, "learning_rate": 1e-5})
    expert_id = finish(job, RESULT)
    for form in registry.FORMATS:
        (entry,) = registry.parse(report_training.registry(dana, job.id, form).text)
        assert entry == report_training.record(dana, expert_id)
        assert list(entry.recipe) == list(LoraRecipe().to_dict())
        recipe = LoraRecipe.preset("quick", entry.dataset.train_rows or 0, entry.base_model.parameters or 0)
        assert entry.lora() == recipe.changed({"rank": 4, "learning_rate": 1e-5})
        assert (entry.name, entry.preset, entry.access_point) == ("shop-helper", "quick", None)
        assert entry.dataset.digest == "d" * 64 and entry.seeds == {"training": 17, "split": 17}
    assert report_training.record(dana, "shop-helper") == report_training.record(dana, str(job.subject_id))


def test_the_whole_registry_has_every_version_of_the_tenant_only(dana: Person, dataset_id: str) -> None:
    finish(start(dana, dataset_id), RESULT)
    finish(start(dana, dataset_id), RESULT)
    start(dana, dataset_id, "Not done")
    entries = registry.parse(report_training.whole_registry(dana, "yaml").text)
    assert [(entry.name, entry.version) for entry in entries] == [
        ("shop-helper", "1.1.0"),
        ("shop-helper", "1.0.0"),
    ]
    other = make_person("other@example.com", "developer")
    assert registry.parse(report_training.whole_registry(other, "json").text) == []


def test_a_training_under_way_has_a_report_and_nothing_else(dana: Person, dataset_id: str) -> None:
    job = start(dana, dataset_id)
    assert "40 epochs" in report_training.report(dana, job.id, "md", "en").text
    with pytest.raises(Conflict):
        report_training.card(dana, job.id, "en")
    with pytest.raises(Conflict):
        report_training.registry(dana, job.id, "yaml")
    with pytest.raises(BadInput):
        report_training.report(dana, job.id, "pdf", "en")


def test_an_old_training_shows_what_it_has(dana: Person, dataset_id: str) -> None:
    job = start(dana, dataset_id)
    finish(job, {name: value for name, value in RESULT.items() if name != "provenance"})
    from engine.jobs.models import Job

    with unit_of_work() as uow:
        row = uow.get(Job, job.id)
        assert row is not None
        row.params = {"run_id": job.subject_id, "tenant_id": dana.tenant_id, "dataset_id": dataset_id}
    text = report_training.report(dana, job.id, "md", "en").text
    assert "older than the note" in text and "Talks" in text and "0.5000" in text
    import_dataset.delete(dana, dataset_id)
    assert "deleted since" in report_training.report(dana, job.id, "md", "en").text
    (entry,) = registry.parse(report_training.registry(dana, job.id, "yaml").text)
    assert entry.versions == {} and entry.dataset.fingerprint and entry.lora().epochs == 40


def test_the_quality_check_is_told_with_its_failures(dana: Person, dataset_id: str) -> None:
    job = start(dana, dataset_id)
    expert_id = finish(job, RESULT)
    failure = CaseFailure(
        case_id="held-out 1",
        kind="accuracy",
        question=HOSTILE,
        answer="No",
        expected="Yes",
        reason="evals.missed_accuracy",
        facts={"value": "1", "needed": "2"},
    )
    quality = QualityReport(
        accuracy=0.125,
        response_p50_ms=1200,
        response_p95_ms=3400,
        safety=1.0,
        cases=8,
        passed=False,
        missed=(MissedMark(mark="accuracy", value=0.125, needed=0.25),),
        failures=(failure,),
    )
    with unit_of_work() as uow:
        market.change_state(uow, expert_id, "testing", by=dana, reason="")
        market.record_quality(uow, expert_id, quality.model_dump(mode="json"), passed=False, by=SYSTEM)
    page = report_training.report(dana, job.id, "html", "en").text
    assert "The quality check is not passed" in page and "12%" in page and "3,400" in page
    assert "&lt;script&gt;" in page and "<script" not in page
    (entry,) = report_training.records(dana)
    assert entry.metrics["accuracy"] == 0.125 and entry.metrics["passed"] is False


def test_nobody_else_reads_a_report(dana: Person, eva: Person, dataset_id: str) -> None:
    job = start(dana, dataset_id)
    expert_id = finish(job, RESULT)
    other = make_person("other@example.com", "developer")
    for call in (
        lambda who: report_training.report(who, job.id, "html", "en"),
        lambda who: report_training.card(who, job.id, "en"),
        lambda who: report_training.registry(who, job.id, "json"),
        lambda who: report_training.record(who, expert_id),
        lambda who: report_training.record(who, "shop-helper"),
        lambda who: report_training.record(who, str(job.subject_id)),
    ):
        with pytest.raises(NotFound):
            call(other)
        with pytest.raises(Forbidden):
            call(eva)
    assert publish_expert.mine(other) == []
