"""The data page: what it shows and does, without a browser."""

import json
from pathlib import Path

import pytest

from engine.accounts.schemas import Person
from engine.kit.errors import BadInput, Forbidden, NotFound
from studio.handlers import data


def row(question: str, answer: str = "Hello <b>") -> str:
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages})


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    path = tmp_path / "talks.jsonl"
    path.write_text("\n".join([*(row(f"Question {n}") for n in range(20)), "oops"]), "utf-8")
    return path


def test_a_preview_names_the_bad_rows_and_shows_the_first_conversations(dana: Person, mixed: Path) -> None:
    look = data.preview(dana, mixed, "en")
    assert look.importable and look.has_problems and look.name == "talks"
    assert "Rows that cannot be used: 1" in look.html and 'data-v="21"' in look.html
    assert "Question 0" in look.sample and "&lt;b&gt;" in look.sample
    assert "mbe-empty" in data.listing(dana, "zh")


def test_bad_rows_are_refused_or_left_out_as_the_person_chose(dana: Person, mixed: Path) -> None:
    with pytest.raises(BadInput):
        data.import_file(dana, mixed, "Talks", "refuse")
    assert mixed.exists()
    dataset_id = data.import_file(dana, mixed, "Talks", "keep_good")
    assert not mixed.exists()
    detail = data.detail(dana, dataset_id, "en")
    assert "talks.jsonl" in detail and "this is not JSON" in detail
    assert f"/zh/studio/data?dataset={dataset_id}" in data.listing(dana, "zh")


def test_a_file_that_is_gone_is_asked_for_again(dana: Person, tmp_path: Path) -> None:
    for file in (None, tmp_path / "gone.csv"):
        with pytest.raises(BadInput) as caught:
            data.import_file(dana, file, "Talks", "refuse")
        assert caught.value.field == "file"


def test_a_dataset_is_deleted_only_when_confirmed(dana: Person, mixed: Path) -> None:
    dataset_id = data.import_file(dana, mixed, "Talks", "keep_good")
    with pytest.raises(BadInput):
        data.delete(dana, dataset_id, False)
    data.delete(dana, dataset_id, True)
    with pytest.raises(NotFound):
        data.detail(dana, dataset_id, "en")


def test_nobody_reaches_into_another_tenant(dana: Person, other: Person, rui: Person, mixed: Path) -> None:
    dataset_id = data.import_file(dana, mixed, "Talks", "keep_good")
    with pytest.raises(NotFound):
        data.detail(other, dataset_id, "en")
    with pytest.raises(NotFound):
        data.delete(other, dataset_id, True)
    with pytest.raises(Forbidden):
        data.listing(rui, "en")
