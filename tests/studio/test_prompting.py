"""Writing a prompt on the training page, without a browser."""

import json
from pathlib import Path

import pytest

from engine.accounts.schemas import Person
from engine.flows import train_expert
from engine.kit.errors import BadInput, NotFound
from studio.handlers import data, prompting, train

HOSTILE = "<script>Be brief.</script> {question}"


@pytest.fixture
def dataset_id(dana: Person, tmp_path: Path) -> str:
    path = tmp_path / "talks.jsonl"
    rows = [{"question": f"Question {n}", "answer": f"Answer {n}"} for n in range(40)]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    return data.import_file(dana, path, "Talks", "refuse")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_prompt_is_made_watched_and_gone_on_from(dana: Person, dataset_id: str, language: str) -> None:
    run_id = prompting.make(dana, "Brief", HOSTILE, dataset_id, [], "Why?\n\n How? ")
    watch = train.watch(dana, run_id, language)
    assert watch.job.kind == "training.prompt" and watch.curve is None
    assert "&lt;script&gt;Be brief." in watch.head and "<script>" not in watch.head
    assert f"/{language}/studio/train?prompt={run_id}" in watch.head
    assert f"?run={run_id}" in train.listing(dana, language)
    draft = prompting.earlier(dana, run_id)
    assert (draft.name, draft.template, draft.dataset) == ("Brief", HOSTILE, dataset_id)
    assert draft.questions == "Why?\nHow?"


def test_without_an_earlier_prompt_the_form_is_empty(dana: Person, dataset_id: str) -> None:
    assert prompting.earlier(dana, "") == prompting.Draft()
    trained = train.start(dana, "Helper", dataset_id, [], "quick", {})
    assert prompting.earlier(dana, trained).template == ""


@pytest.mark.parametrize(
    ("name", "template", "dataset", "field"),
    [("Brief", "x", "", "dataset"), ("Brief", "", "given", "template"), ("", "x", "given", "name")],
)
def test_a_mistake_is_refused_at_its_field(
    dana: Person, dataset_id: str, name: str, template: str, dataset: str, field: str
) -> None:
    with pytest.raises(BadInput) as caught:
        prompting.make(dana, name, template, dataset_id if dataset else "", [], "")
    assert caught.value.field == field and train_expert.runs(dana) == []


def test_another_tenant_reads_no_prompt(dana: Person, other: Person, dataset_id: str) -> None:
    run_id = prompting.make(dana, "Brief", "Secret words", dataset_id, [], "")
    with pytest.raises(NotFound):
        prompting.earlier(other, run_id)
