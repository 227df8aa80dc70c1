import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.datasets import service
from engine.datasets.schemas import DatasetView
from engine.kit.blobs import BlobStore, blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound, NotReady
from engine.kit.messages import LANGUAGES

REPOSITORY = Path(__file__).resolve().parents[3]
SAMPLES = REPOSITORY / "data" / "samples"
SHARED = REPOSITORY.parent / "shared" / "data"
ROWS = [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in range(40)]


def jsonl(folder: Path, rows: Sequence[Any], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def imported(path: Path, **changes: Any) -> DatasetView:
    given = {"name": "Rows", "filename": path.name, "on_bad": "keep_good", **changes}
    with unit_of_work() as uow:
        return service.import_file(uow, person_id="p", tenant_id="t", path=path, **given)


def test_preview_shows_layout_sample_and_problems_in_both_languages(home: Path, tmp_path: Path) -> None:
    path = jsonl(tmp_path, [*ROWS, {"question": "x"}, {"question": "x", "answer": " "}])
    seen = service.preview(path, path.name)
    assert (seen.layout, seen.rows, seen.good, len(seen.sample)) == ("question_answer", 42, 40, 5)
    assert seen.sample[0]["messages"][1] == {"role": "assistant", "content": "It is 0."}
    assert [problem.row for problem in seen.problems] == [41, 42]
    assert seen.problems[0].message("en") == "Row 41: the column “answer” is missing."
    assert seen.problems[1].message("zh") == "第 42 行：回答为空。"
    assert seen.notes("en") == [] and seen.layout_name("zh") == "问题与答案"


def test_another_encoding_is_noted(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("问题,答案\n几点开门？,早上九点\n".encode("gb18030"))
    seen = service.preview(path, path.name)
    assert seen.good == 1 and "GB18030" in seen.notes("en")[0]


def test_import_keeps_good_rows_and_counts_the_rest(db: str, tmp_path: Path) -> None:
    view = imported(jsonl(tmp_path, [*ROWS, {"question": "x"}]))
    assert (view.rows, view.skipped_rows, view.train_rows + view.validation_rows) == (41, 1, 40)
    assert view.train_rows and view.validation_rows and view.languages == ["en"]
    assert view.row_problems()[0].message("en").startswith("Row 41")
    with unit_of_work() as uow:
        assert service.get(uow, view.id, "t") == view
        assert [found.id for found in service.listing(uow, "t")] == [view.id]
        train = service.rows(uow, view.id, "t", "train", limit=100)
        held_out = service.rows(uow, view.id, "t", "validation", limit=100)
        assert service.rows(uow, view.id, "t", "train", limit=2, offset=3) == train[3:5]
    answers = [row["messages"][-1]["content"] for row in train + held_out]
    assert sorted(answers) == sorted(row["answer"] for row in ROWS)
    assert len(held_out) == view.validation_rows


def test_refuse_stores_nothing_and_says_which_row(db: str, tmp_path: Path) -> None:
    path = jsonl(tmp_path, [ROWS[0], {"question": "x"}])
    with pytest.raises(BadInput) as caught:
        imported(path, on_bad="refuse")
    assert "Row 2" in caught.value.message("en") and "第 2 行" in caught.value.message("zh")
    with unit_of_work() as uow:
        assert service.listing(uow, "t") == []
    assert blobs().keys("datasets") == []


def test_split_and_fingerprint_depend_on_content_and_seed_only(db: str, tmp_path: Path) -> None:
    one = imported(jsonl(tmp_path, ROWS, "one.jsonl"))
    as_messages = [
        {"conversations": [{"from": "human", "value": r["question"]}, {"from": "gpt", "value": r["answer"]}]}
        for r in ROWS
    ]
    two = imported(jsonl(tmp_path, as_messages, "two.jsonl"), name="Other")
    other_seed = imported(jsonl(tmp_path, ROWS, "three.jsonl"), seed=18)
    with unit_of_work() as uow:
        first, same, different = (
            service.rows(uow, view.id, "t", "validation", limit=99) for view in (one, two, other_seed)
        )
    assert one.fingerprint == two.fingerprint == other_seed.fingerprint
    assert first == same != different
    assert imported(jsonl(tmp_path, ROWS[::-1], "four.jsonl")).fingerprint != one.fingerprint


@given(st.lists(st.integers(0, service.BUCKETS - 1), max_size=30), st.integers(1, 50))
def test_both_sides_of_a_split_get_a_row(hashes: list[int], percent: int) -> None:
    chosen = service.choose_validation(hashes, percent)
    assert chosen == service.choose_validation(hashes, percent)
    if len(hashes) < 2:
        assert chosen == set()
    else:
        assert 1 <= len(chosen) < len(hashes)


def test_the_split_is_about_as_large_as_asked() -> None:
    hashes = [int.from_bytes(hashlib.sha256(str(n).encode()).digest()[:8], "big") for n in range(5000)]
    assert 900 < len(service.choose_validation(hashes, 20)) < 1100


def test_materialise_checks_what_was_stored(db: str, tmp_path: Path) -> None:
    view = imported(jsonl(tmp_path, ROWS))
    with unit_of_work() as uow:
        train, held_out = service.materialise(uow, view.id, "t", tmp_path / "out")
        assert len(train.read_text().splitlines()) == view.train_rows
        assert len(held_out.read_text().splitlines()) == view.validation_rows
        blobs().put(f"datasets/{view.id}/train.jsonl", b"{}\n")
        with pytest.raises(BadInput) as caught:
            service.materialise(uow, view.id, "t", tmp_path / "out")
    assert caught.value.key == "datasets.damaged"


def test_delete_removes_the_blobs_only_with_the_commit(db: str, tmp_path: Path) -> None:
    view = imported(jsonl(tmp_path, ROWS))
    with pytest.raises(ZeroDivisionError), unit_of_work() as uow:
        service.delete(uow, view.id, "t")
        raise ZeroDivisionError
    assert len(blobs().keys(f"datasets/{view.id}")) == 2
    with unit_of_work() as uow:
        service.delete(uow, view.id, "t")
    assert blobs().keys(f"datasets/{view.id}") == []
    with unit_of_work() as uow, pytest.raises(NotFound):
        service.get(uow, view.id, "t")


def test_another_tenant_finds_nothing(db: str, tmp_path: Path) -> None:
    view = imported(jsonl(tmp_path, ROWS))
    with unit_of_work() as uow:
        for call in (
            lambda: service.get(uow, view.id, "other"),
            lambda: service.rows(uow, view.id, "other", "train"),
            lambda: service.materialise(uow, view.id, "other", tmp_path),
            lambda: service.delete(uow, view.id, "other"),
        ):
            with pytest.raises(NotFound):
                call()
        assert service.listing(uow, "other") == []


@pytest.mark.parametrize(
    ("content", "name", "key"),
    [
        ('[{"question": "x"}]', "a.json", "unknown_layout"),
        ('[{"question": "x", "answer": ""}]', "a.json", "no_usable_row"),
        ("[]", "a.json", "empty_file"),
        ("[1, 2]", "a.json", "no_usable_row"),
        ("not json\n", "a.jsonl", "no_usable_row"),
        ("question,answer\n", "a.csv", "empty_file"),
        ("\n\n", "a.jsonl", "empty_file"),
    ],
)
def test_files_without_a_usable_row_are_refused(
    db: str, tmp_path: Path, content: str, name: str, key: str
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(BadInput) as caught:
        imported(path)
    assert caught.value.key == f"datasets.{key}"
    assert all(caught.value.message(language) for language in LANGUAGES)


@pytest.mark.parametrize("changes", [{"name": " "}, {"name": "x" * 81}, {"validation_percent": 0}])
def test_bad_choices_are_refused(db: str, tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        imported(jsonl(tmp_path, ROWS), **changes)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_sample_dialogues_are_wholly_usable(home: Path, language: str) -> None:
    path = SAMPLES / f"dialogues.{language}.jsonl"
    seen = service.preview(path, path.name)
    assert seen.layout == "messages" and seen.good == seen.rows > 50, seen.problems


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_instruction_data(db: str) -> None:
    view = imported(SHARED / "alpaca_zh_demo.json")
    assert (view.layout, view.rows, view.languages) == ("instruction", 1000, ["zh"])
    assert view.skipped_rows <= 5 and 60 <= view.validation_rows <= 140


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not here")
def test_real_preferences(db: str) -> None:
    view = imported(SHARED / "dpo_zh_demo.json")
    assert (view.layout, view.rows, view.skipped_rows, view.languages[0]) == ("preference", 300, 6, "zh")
    assert {problem.reason for problem in view.row_problems()} == {"datasets.invalid_unicode"}
    with unit_of_work() as uow:
        rows = service.rows(uow, view.id, "t", "train", limit=300)
    assert all(row["messages"][-1]["content"] != row["rejected"] for row in rows)
    assert {row["messages"][0]["role"] for row in rows} == {"system", "user"}


def test_feedback_is_kept_with_its_verdicts(db: str, tmp_path: Path) -> None:
    rows = [{**row, "label": place % 3 > 0} for place, row in enumerate(ROWS)]
    view = imported(jsonl(tmp_path, [*rows, {**ROWS[0], "label": "perhaps"}]), on_bad="keep_good")
    assert view.layout == "feedback" and view.row_problems()[0].reason == "datasets.not_truth"
    with unit_of_work() as uow:
        kept = [
            row
            for split in ("train", "validation")
            for row in service.rows(uow, view.id, "t", split)  # type: ignore[arg-type]
        ]
    assert sorted(row["label"] for row in kept) == sorted(row["label"] for row in rows)


def test_blobs_that_cannot_be_deleted_do_not_fail_the_deletion(
    db: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = imported(jsonl(tmp_path, ROWS))

    def silent(_self: BlobStore, _prefix: str) -> None:
        raise NotReady("kit.store_silent")

    monkeypatch.setattr(BlobStore, "delete", silent)
    with unit_of_work() as uow:
        service.delete(uow, view.id, "t")
    with unit_of_work() as uow, pytest.raises(NotFound):
        service.get(uow, view.id, "t")
