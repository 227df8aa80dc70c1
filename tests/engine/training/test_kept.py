"""Which checkpoints people see: those of the training as it goes now, with the best and the newest marked."""

from pathlib import Path

from engine.kit.blobs import BlobStore
from engine.training import kept
from engine.training.checkpoints import MANIFEST
from engine.training.kept import Kept
from tests.engine.training.test_checkpoints import IDENTITY, seal, store_at


def seen(folder: Path, newest: int) -> list[Kept]:
    blobs = BlobStore((folder / "blobs").as_uri())
    return kept.listing(kept.manifests(blobs, "checkpoints/r", newest), {2: 1.0, 5: 2.5})


def test_the_newest_stands_first_and_the_lowest_held_out_loss_is_the_best(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    for step, loss in ((1, 0.9), (2, 0.2), (4, 0.2), (5, None), (6, 0.6)):
        seal(store, step, loss)
    found = seen(tmp_path, 6)
    assert [(one.step, one.newest, one.best) for one in found] == [
        (6, True, False),
        (5, False, False),
        (2, False, True),
    ]
    assert [one.epoch for one in found] == [None, 2.5, 1.0]
    bytes_of_files = sum(path.stat().st_size for path in store.local(6).iterdir() if path.name != MANIFEST)
    assert found[0].size == bytes_of_files and found[0].tokens == 10


def test_without_a_measured_loss_none_is_the_best(tmp_path: Path) -> None:
    seal(store_at(tmp_path), 3)
    assert [(one.step, one.newest, one.best) for one in seen(tmp_path, 3)] == [(3, True, False)]
    assert seen(tmp_path / "elsewhere", 3) == []


def test_a_checkpoint_half_written_or_half_deleted_is_not_seen(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    for step in (1, 2):
        seal(store, step)
    place = tmp_path / "blobs" / store.remote(1)
    (place / MANIFEST).unlink()
    assert [one.step for one in seen(tmp_path, 2)] == [2]
    (place / MANIFEST).write_bytes(b"{}")
    assert [one.step for one in seen(tmp_path, 2)] == [2]


def test_what_was_learnt_from_other_data_before_the_training_began_anew_is_not_seen(tmp_path: Path) -> None:
    seal(store_at(tmp_path), 30)
    seal(store_at(tmp_path, "again", IDENTITY.model_copy(update={"data": "x" * 64})), 4)
    assert [one.step for one in seen(tmp_path, 4)] == [4]
    assert [one.step for one in seen(tmp_path, 30)] == [30]
    assert seen(tmp_path, 0) == []


def test_a_manifest_from_before_sizes_were_counted_is_read(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    seal(store, 3)
    path = tmp_path / "blobs" / store.remote(3) / MANIFEST
    path.write_text(path.read_text().replace(',"size":', ',"other":'))
    assert [(one.step, one.size) for one in seen(tmp_path, 3)] == [(3, 0)]
