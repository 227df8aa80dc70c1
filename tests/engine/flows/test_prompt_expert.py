"""An expert that is a prompt: made, versioned, read as it was written, and told to nobody."""

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from engine.accounts.schemas import Person
from engine.flows import (
    compare_trainings,
    import_dataset,
    prompt_expert,
    publish_expert,
    report_training,
    reproduce_training,
    take_along,
    train_expert,
)
from engine.flows.speak import Speaker, prompt_for
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, EngineError, Forbidden, NotFound
from engine.training import registry
from engine.training.schemas import RunView
from tests.support import make_person

TEMPLATE = "Shelf keeper.\n{context}\n{history}\n{question}"
SPREAD = {"least": 1, "median": 1.0, "mean": 1.0, "p95": 1, "most": 1}
SPLIT = {"rows": 1, "answers": 2, "turns": SPREAD, "prompt": SPREAD, "answer": SPREAD, "languages": {}}
RESULT: dict[str, Any] = {
    "provenance": {
        "base": "b",
        "data": "d",
        "files": {},
        "versions": {"torch": "2"},
        "device": "cpu",
        "precision": "float32",
        "threads": 1,
        "train": SPLIT,
        "held_out": SPLIT,
    },
    "adapter_prefix": "",
    "steps": 0,
    "loss": None,
    "eval_loss": 2.5,
    "seconds": 1.0,
    "tokens": 90,
}


@pytest.fixture
def dana(db: str) -> Person:
    return make_person("dana@example.com", "developer")


@pytest.fixture
def dataset_id(dana: Person) -> str:
    rows = "\n".join(json.dumps({"question": f"Shelf {n}?", "answer": f"Row {n}."}) for n in range(12))
    return import_dataset.import_file(
        dana, name="Talks", filename="t.jsonl", source=BytesIO(rows.encode())
    ).id


def made(
    person: Person, dataset_id: str, template: str = TEMPLATE, **changes: Any
) -> tuple[RunView, JobView]:
    """Return the run and job of a prompt whose measurement is over."""
    given = {"name": "Shelves", "template": template, "dataset_id": dataset_id, **changes}
    run, job = prompt_expert.start(person, **given)
    with unit_of_work() as uow:
        claim = jobs.claim(uow, job.id)
    assert claim
    with unit_of_work() as uow:
        job = jobs.succeed(uow, job.id, claim.token, RESULT)
        train_expert.finish(uow, job, RESULT)
    return train_expert.run(person, run.id), job


def test_a_prompt_becomes_an_expert_and_its_next_version(dana: Person, dataset_id: str) -> None:
    first, _ = made(dana, dataset_id)
    second, _ = made(dana, dataset_id, "Be brief.")
    newest, oldest = publish_expert.mine(dana)
    assert (oldest.name, oldest.version, newest.name, newest.version) == (
        "shelves",
        "1.0.0",
        "shelves",
        "1.1.0",
    )
    assert (oldest.template, newest.template, newest.state) == (TEMPLATE, "Be brief.", "trained")
    assert first.final_eval_loss == 2.5 and first.final_loss is None and second.finished_at
    assert [run.id for run, job in train_expert.runs(dana) if job] == [second.id, first.id]


def test_the_expert_reads_what_its_developer_wrote(dana: Person, dataset_id: str) -> None:
    made(dana, dataset_id)
    (expert,) = publish_expert.mine(dana)
    speaker = Speaker.of(expert)
    assert speaker.adapter is None
    (asked,) = prompt_for(speaker, [{"role": "user", "content": "Shelf 3?"}]).messages
    assert asked == {"role": "user", "content": "Shelf keeper.\n\n\nShelf 3?"}


def test_it_is_measured_with_rows_as_it_reads_them(dana: Person, dataset_id: str, tmp_path: Path) -> None:
    run, _ = prompt_expert.start(
        dana, name="Shelves", template=TEMPLATE, dataset_id=dataset_id, questions=["Which?"]
    )
    train, held_out = train_expert.data_source(run.id, dana.tenant_id, tmp_path)
    for line in held_out.read_text("utf-8").splitlines():
        asked, answer = json.loads(line)["messages"]
        assert asked["content"].startswith("Shelf keeper.\n\n\nShelf ") and "Row" in answer["content"]
    # The others are not read, so nothing is looked up for them.
    assert "keeper" not in train.read_text("utf-8")
    assert train_expert.asked(run)["Which?"][0]["content"] == "Shelf keeper.\n\n\nWhich?"


def test_a_template_is_told_to_its_own_tenant_only(dana: Person, dataset_id: str) -> None:
    run, _ = made(dana, dataset_id)
    (expert,) = publish_expert.mine(dana)
    assert "Shelf keeper" not in expert.model_dump_json() + repr(expert)
    other = make_person("other@example.com", "developer")
    for steal in (
        lambda: train_expert.run(other, run.id),
        lambda: prompt_expert.start(other, name="Mine", template="x", dataset_id=dataset_id),
        lambda: report_training.record(other, run.id),
    ):
        with pytest.raises(NotFound):
            steal()
    with pytest.raises(Forbidden):
        prompt_expert.start(
            make_person("c@example.com", "consumer"), name="Mine", template="x", dataset_id=dataset_id
        )


def refusals() -> Iterator[tuple[dict[str, Any], type[EngineError], str]]:
    yield {"template": " "}, BadInput, "template"
    yield {"template": "{context}"}, BadInput, "template"
    yield {"name": ""}, BadInput, "name"
    yield {"knowledge_base_ids": ["kb_none"]}, NotFound, "kb_ids"
    yield {"questions": ["a", "a"]}, BadInput, "questions"


@pytest.mark.parametrize(("changes", "error", "field"), refusals())
def test_a_mistake_is_refused_at_its_field_and_nothing_starts(
    dana: Person, dataset_id: str, changes: dict[str, Any], error: type[EngineError], field: str
) -> None:
    given = {"name": "Shelves", "template": TEMPLATE, "dataset_id": dataset_id, **changes}
    with pytest.raises(error) as caught:
        prompt_expert.start(dana, **given)
    assert caught.value.field == field and train_expert.runs(dana) == []


def test_versions_are_compared_with_each_other_and_with_trainings(dana: Person, dataset_id: str) -> None:
    first, _ = made(dana, dataset_id)
    second, _ = made(dana, dataset_id, "Be brief.")
    found = compare_trainings.compare(dana, [first.id, second.id])
    # One is measured by the last answer of a row, the other by all, and these rows have two.
    assert not found.comparable and found.verdict == "other_data"
    third, _ = made(dana, dataset_id, "Be kind.")
    assert compare_trainings.compare(dana, [second.id, third.id]).verdict == "equal"
    assert [(one.name, one.values) for one in found.settings] == [("template", [TEMPLATE, "Be brief."])]
    trained, _ = train_expert.start(dana, name="Trained", dataset_id=dataset_id)
    assert compare_trainings.compare(dana, [second.id, trained.id]).verdict == "not_measured"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_its_report_card_and_registry_tell_the_prompt(dana: Person, dataset_id: str, language: str) -> None:
    run, job = made(dana, dataset_id)
    for text in (
        report_training.report(dana, job.id, "md", language).text,
        report_training.report(dana, job.id, "html", language).text,
        report_training.card(dana, job.id, language).text,
    ):
        assert "Shelf keeper." in text and "PeftModel" not in text and "mbe reproduce" not in text
    record = report_training.record(dana, run.id)
    for form in ("yaml", "json"):
        (again,) = registry.parse(report_training.registry(dana, job.id, form).text)
        assert again == record and again.method == "prompt" and again.recipe["template"] == TEMPLATE
    with pytest.raises(Conflict, match="prompt"):
        reproduce_training.begins(record, language)
    with pytest.raises(Conflict, match="prompt"):
        reproduce_training.reproduce(dana, record, Path("unused"), lambda done, total: None)


def test_it_has_no_weights_to_take_along(dana: Person, dataset_id: str) -> None:
    made(dana, dataset_id)
    (expert,) = publish_expert.mine(dana)
    with pytest.raises(Conflict, match="no weights"):
        take_along.merge(dana, expert.id)
    with pytest.raises(Conflict, match="no weights"):
        take_along.push(dana, expert.id, repo="dana/shelves", token="hf_x")
