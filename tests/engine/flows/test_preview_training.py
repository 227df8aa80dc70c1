import json
from pathlib import Path
from typing import Any

import pytest

from engine.accounts.schemas import Person
from engine.flows import (
    estimate_training,
    ground_rows,
    import_dataset,
    prepare_knowledge,
    preview_training,
    train_expert,
)
from engine.flows.speak import Speaker
from engine.jobs import machines
from engine.jobs.schemas import FoundDevice
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from tests.support import make_person

GB = 2**30


@pytest.fixture
def dana(db: str) -> Person:
    return make_person("dana@example.com", "developer")


@pytest.fixture
def dataset_id(dana: Person, tmp_path: Path) -> str:
    path = tmp_path / "talks.jsonl"
    rows = [{"question": f"Question {n}?", "answer": f"Answer {n}. " * (1 + 9 * (n == 7))} for n in range(40)]
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    with path.open("rb") as source:
        return import_dataset.import_file(dana, name="Talks", filename="talks.jsonl", source=source).id


def test_the_preview_counts_what_start_would_train(dana: Person, dataset_id: str) -> None:
    found = preview_training.preview(dana, dataset_id=dataset_id, preset="quick", changes={"epochs": 3})
    assert found.recipe.epochs == 3 and found.rows == len(found.lengths)
    assert found.tokens == sum(found.lengths) * 3
    assert (found.cut, found.empty) == (0, 0)
    assert found.shown[0].length == max(found.lengths) and len(found.shown) == 3
    assert found.estimate.fits and not found.estimate.device and found.estimate.seconds


def test_both_answers_of_a_preference_are_shown_and_counted(dana: Person, tmp_path: Path) -> None:
    rows = [{"prompt": f"Question {n}?", "chosen": f"Good {n}.", "rejected": f"No {n}."} for n in range(40)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows), "utf-8")
    with path.open("rb") as source:
        pairs = import_dataset.import_file(dana, name="Pairs", filename="pairs.jsonl", source=source)
    found = preview_training.preview(dana, dataset_id=pairs.id, method="dpo", changes={"epochs": 2})
    assert found.recipe.method == "dpo" and len(found.lengths) == 2 * found.rows
    assert found.tokens == 2 * sum(found.lengths)
    assert {one.good for one in found.shown} == {True, False}
    learnt = preview_training.preview(dana, dataset_id=pairs.id)
    assert len(learnt.lengths) == learnt.rows and {one.good for one in learnt.shown} == {None}


def test_rows_with_odd_separators_are_rows_like_others(dana: Person, tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    rows = [{"question": f"Q\u2028{n}?", "answer": f"A\u0085{n}."} for n in range(40)]
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    with path.open("rb") as source:
        odd = import_dataset.import_file(dana, name="Odd", filename="odd.jsonl", source=source)
    found = preview_training.preview(dana, dataset_id=odd.id)
    assert len(found.lengths) == odd.train_rows
    base = prepare_knowledge.create_base(dana, name="Help", language="en")
    reader = Speaker(name="Odd", knowledge_base_ids=(base.id,), knowledge_tenant_id=dana.tenant_id)
    paths = ground_rows.write_rows(reader, odd.id, tmp_path / "rows")
    assert sum(len(path.read_text("utf-8").split("\n")) - 1 for path in paths) == 40


def test_short_limits_show_what_is_lost(dana: Person, dataset_id: str) -> None:
    found = preview_training.preview(dana, dataset_id=dataset_id, changes={"max_length": 32})
    assert found.cut >= 1


def test_a_preset_takes_smaller_batches_where_there_is_less_memory(
    dana: Person, dataset_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = train_expert.proposal(dana, dataset_id, "quick")
    needed = estimate_training.estimate(usual).memory
    total = estimate_training.psutil.virtual_memory().total
    monkeypatch.setattr(estimate_training, "LARGEST_SHARE", 0.8 * needed / total)
    small = train_expert.proposal(dana, dataset_id, "quick")
    assert small.batch_size < usual.batch_size and estimate_training.estimate(small).fits
    assert small.batch_size * small.accumulation == usual.batch_size * usual.accumulation
    run, _ = train_expert.start(dana, name="Small", dataset_id=dataset_id, preset="quick")
    assert run.recipe == small.to_dict()


def test_a_training_that_cannot_fit_is_refused_with_what_would(
    dana: Person, dataset_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"batch_size": 256, "max_length": 8192}
    monkeypatch.setattr(estimate_training, "LARGEST_SHARE", 0.2)
    with pytest.raises(BadInput) as refused:
        train_expert.start(dana, name="Big", dataset_id=dataset_id, changes=changes)
    facts: dict[str, Any] = refused.value.facts
    assert refused.value.field == "batch_size" and facts["batch_size"] < 256
    fits = {"batch_size": facts["batch_size"], "max_length": facts.get("max_length", 8192)}
    _, job = train_expert.start(dana, name="Big", dataset_id=dataset_id, changes=fits)
    assert job.memory == 0
    found = preview_training.preview(dana, dataset_id=dataset_id, changes=changes)
    assert not found.estimate.fits and found.estimate.fitting
    monkeypatch.setattr(estimate_training, "LARGEST_SHARE", 0.001)
    with pytest.raises(BadInput, match="whatever the recipe"):
        train_expert.start(dana, name="Big", dataset_id=dataset_id)


def test_where_there_is_a_device_a_training_asks_for_its_memory(dana: Person, dataset_id: str) -> None:
    with unit_of_work() as uow:
        machines.register(uow, "gpu", 2, [FoundDevice(number=0, name="Card", memory=24 * GB)])
    _, job = train_expert.start(dana, name="Helper", dataset_id=dataset_id)
    assert GB < job.memory < 24 * GB and job.resource == "training"
    found = preview_training.preview(dana, dataset_id=dataset_id)
    assert found.estimate.device and found.estimate.limit == 24 * GB and found.estimate.seconds is None


def test_others_data_is_not_previewed(dana: Person, dataset_id: str) -> None:
    other = make_person("other@example.com", "developer")
    with pytest.raises(NotFound):
        preview_training.preview(other, dataset_id=dataset_id)
    with pytest.raises(NotFound):
        preview_training.preview(dana, dataset_id=dataset_id, knowledge_base_ids=["kb_none"])
