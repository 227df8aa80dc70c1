"""A training done again gives the same weights; one whose data or base changed is refused at once."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import pytest
from typer.testing import CliRunner

from engine import cli
from engine.accounts import keys
from engine.accounts.schemas import KeyTerms, Person
from engine.flows import import_dataset, publish_expert, report_training, reproduce_training, train_expert
from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, EngineError, NotFound
from engine.kit.settings import settings
from engine.training import registry
from engine.training.registry import RunRecord
from tests.engine.training.conftest import tiny_base
from tests.engine.training.records import record as made_up
from tests.support import make_person, run_queued_jobs

__all__ = ["tiny_base"]


def import_rows(person: Person, last: str = "Row 3.", name: str = "Talks") -> str:
    rows = [{"question": f"Shelf {n}?", "answer": f"Row {n % 5}."} for n in range(23)]
    data = "\n".join(json.dumps(row) for row in [*rows, {"question": "Shelf 23?", "answer": last}])
    source = BytesIO(data.encode())
    return import_dataset.import_file(person, name=name, filename="t.jsonl", source=source).id


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path, db: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the base model that this product trains; the test may change it."""
    folder = tmp_path / "base"
    shutil.copytree(tiny_base, folder)
    monkeypatch.setenv("MBE_BASE_MODEL", str(folder))
    settings.cache_clear()
    return folder


def again(person: Person, record: RunRecord, folder: Path) -> reproduce_training.Reproduction:
    folder.mkdir(exist_ok=True)
    return reproduce_training.reproduce(person, record, folder, lambda done, total: None)


@pytest.mark.model
def test_a_training_done_again_gives_the_same_weights_until_data_or_base_change(
    dana: Person, base: Path, tmp_path: Path
) -> None:
    dataset_id = import_rows(dana)
    changes = {"epochs": 2, "rank": 4, "alpha": 8, "dropout": 0.1}
    _, job = train_expert.start(dana, name="Shelves", dataset_id=dataset_id, preset="quick", changes=changes)
    run_queued_jobs()
    (expert,) = publish_expert.mine(dana)
    record = reproduce_training.find(dana, expert.id)
    found = again(dana, record, tmp_path / "one")
    assert found.largest == 0.0 and found.same_file and found.same
    assert found.changed == [] and found.data_known and found.base_known
    assert (found.loss, found.eval_loss) == (record.results.loss, record.results.eval_loss)
    assert "same (largest difference 0.0)" in found.words("en")[-1]
    assert publish_expert.mine(dana) == [expert] and len(train_expert.runs(dana)) == 1

    elsewhere = record.model_copy(update={"run_id": "run_none", "versions": {"torch": "1.0"}})
    found = again(dana, elsewhere, tmp_path / "elsewhere")
    assert (found.largest, found.same_file, found.same) == (None, True, True)
    assert [what for what, _, _ in found.changed] == ["torch"]
    assert any("torch was 1.0" in line for line in found.words("en"))

    # From the exported file, by the command, after the same rows were imported again.
    path = tmp_path / "shelves.yaml"
    path.write_text(report_training.registry(dana, job.id, "yaml").text, "utf-8")
    import_dataset.delete(dana, dataset_id)
    import_rows(dana, name="Once more")
    with unit_of_work() as uow:
        key = keys.create(uow, person=dana, terms=KeyTerms(name="cli"))[1]
    ended = CliRunner().invoke(cli.app, ["reproduce", str(path), "--key", key])
    assert ended.exit_code == 0, ended.output
    assert "largest difference 0.0" in ended.stdout

    # Another adapter under the same run, as if the first one had come out otherwise.
    kept = record.adapter.prefix
    (tmp_path / "one" / "changed").write_bytes(blobs().read(f"{kept}/adapter_model.safetensors"))
    nudge(tmp_path / "one" / "changed")
    blobs().put(f"{kept}/adapter_model.safetensors", tmp_path / "one" / "changed")
    ended = CliRunner().invoke(cli.app, ["reproduce", str(path), "--key", key, "--language", "zh"])
    assert ended.exit_code == 1 and "权重        不同，最大差值 0.5" in ended.stdout

    (base / "config.json").write_text((base / "config.json").read_text() + "\n")
    with pytest.raises(Conflict, match="not the one of the recorded"):
        again(dana, record, tmp_path / "two")
    (other,) = import_dataset.listing(dana)
    import_dataset.delete(dana, other.id)
    ended = CliRunner().invoke(cli.app, ["reproduce", record.run_id, "--key", key])
    assert ended.exit_code == 1


def nudge(path: Path) -> None:
    """Move one number of a safetensors file by a half."""
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    first = next(iter(weights))
    weights[first].view(-1)[0] += 0.5
    save_file(weights, path)


@pytest.fixture
def record(dana: Person, base: Path) -> RunRecord:
    """What is known of a training that has begun: its digests as they would be recorded."""
    run, _ = train_expert.start(dana, name="Shelves", dataset_id=import_rows(dana), preset="quick")
    found = report_training.record(dana, run.id)
    from engine.training.checkpoints import base_digest

    base_model = found.base_model.model_copy(update={"digest": base_digest(base)})
    return found.model_copy(update={"base_model": base_model})


def refused(person: Person, record: RunRecord, folder: Path) -> EngineError:
    with pytest.raises(EngineError) as caught:
        again(person, record, folder / "again")
    assert not (folder / "again" / "again").exists(), "it began to train"
    assert caught.value.message("zh") != caught.value.message("en")
    return caught.value


def test_data_that_is_gone_or_another_is_refused(dana: Person, record: RunRecord, tmp_path: Path) -> None:
    data = record.dataset
    other = data.model_copy(update={"id": import_rows(dana, "Elsewhere.")})
    assert refused(dana, record.model_copy(update={"dataset": other}), tmp_path).key.endswith("data_changed")
    digest = data.model_copy(update={"digest": "0" * 64})
    assert refused(dana, record.model_copy(update={"dataset": digest}), tmp_path).key.endswith("data_changed")
    import_dataset.delete(dana, data.id)
    assert refused(dana, record, tmp_path).key == "reproduce.data_gone"


def test_another_tenants_data_is_as_if_it_were_gone(dana: Person, record: RunRecord, tmp_path: Path) -> None:
    rival = make_person("rival@example.com", "developer")
    assert refused(rival, record, tmp_path).key == "reproduce.data_gone"
    with pytest.raises(NotFound):
        reproduce_training.find(rival, record.run_id)


def test_a_base_that_is_gone_or_another_is_refused(
    dana: Person, record: RunRecord, base: Path, tmp_path: Path
) -> None:
    (base / "config.json").write_text((base / "config.json").read_text() + " ")
    assert refused(dana, record, tmp_path).key == "reproduce.base_changed"
    shutil.rmtree(base)
    assert refused(dana, record, tmp_path).key == "reproduce.base_gone"


def test_an_entry_is_chosen_by_its_name(dana: Person, tmp_path: Path) -> None:
    path = tmp_path / "all.json"
    path.write_text(registry.to_json([made_up(), made_up(version="1.3.0")]), "utf-8")
    with pytest.raises(BadInput, match="shop-helper:1.3.0"):
        reproduce_training.find(dana, str(path))
    found = reproduce_training.find(dana, str(path), "shop-helper:1.3.0")
    assert found.version == "1.3.0"
    with pytest.raises(BadInput, match="cannot be read"):
        reproduce_training.find(dana, str(tmp_path / "none.yaml"))
