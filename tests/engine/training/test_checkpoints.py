import contextlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kit.blobs import BlobInfo, BlobStore
from engine.training.checkpoints import MANIFEST, CheckpointStore, Identity, base_digest, data_digest

IDENTITY = Identity(data="d" * 64, recipe="r" * 64, base="b" * 64)
FILES = ("adapter_model.safetensors", "optimizer.pt", "trainer_state.json")


class FailingStore(BlobStore):
    """Breaks off in the middle of the n-th write or deletion."""

    left = 10**9

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise ConnectionError

    def put(self, key: str, source: Any) -> BlobInfo:
        self._count()
        return super().put(key, source)

    def delete(self, prefix: str) -> None:
        self._count()
        super().delete(prefix)


def store_at(folder: Path, machine: str = "here", identity: Identity = IDENTITY) -> CheckpointStore:
    return CheckpointStore(
        folder / machine, BlobStore((folder / "blobs").as_uri()), "checkpoints/r", identity
    )


def write(store: CheckpointStore, step: int) -> None:
    folder = store.local(step)
    folder.mkdir(exist_ok=True)
    for name in FILES:
        (folder / name).write_bytes(f"{name} of {step}".encode() * 50)
    (folder / "training_args.bin").write_bytes(b"pickle")


def seal(store: CheckpointStore, step: int, eval_loss: float | None = None) -> None:
    write(store, step)
    store.seal(step, eval_loss=eval_loss, seconds=1.0, tokens=10)


def found(store: CheckpointStore) -> int | None:
    manifest = store.newest()
    if manifest is None:
        return None
    for name in FILES:
        assert (store.local(manifest.step) / name).read_bytes() == f"{name} of {manifest.step}".encode() * 50
    return manifest.step


def test_a_checkpoint_is_found_here_and_on_an_empty_machine(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    assert found(store) is None
    seal(store, 3)
    assert found(store) == 3
    assert not (store.local(3) / "training_args.bin").exists()
    elsewhere = store_at(tmp_path, "elsewhere")
    assert found(elsewhere) == 3
    shutil.rmtree(tmp_path / "blobs")
    assert found(elsewhere) == 3


def test_files_without_a_manifest_are_no_checkpoint(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    seal(store, 3)
    write(store, 7)
    (store.folder / "checkpoint-x").mkdir()
    assert found(store) == 3
    assert not store.local(7).exists()


def test_another_recipe_base_or_dataset_is_not_continued(tmp_path: Path) -> None:
    seal(store_at(tmp_path), 3)
    for part in ("data", "recipe", "base"):
        other = IDENTITY.model_copy(update={part: "x" * 64})
        assert found(store_at(tmp_path, f"machine-{part}", other)) is None


def test_the_newest_two_and_the_best_are_kept(tmp_path: Path) -> None:
    store = store_at(tmp_path)
    for step, loss in ((1, 0.9), (2, 0.2), (3, 0.5), (4, None), (5, 0.6)):
        seal(store, step, loss)
    keys = BlobStore((tmp_path / "blobs").as_uri()).keys("checkpoints/r")
    assert {key.split("/")[2] for key in keys} == {"step-2", "step-4", "step-5"}
    assert {path.name for path in store.folder.iterdir()} == {"checkpoint-2", "checkpoint-4", "checkpoint-5"}


@given(st.integers(0, 14))
@settings(max_examples=15, deadline=None)
def test_breaking_off_at_any_write_leaves_a_whole_checkpoint(
    tmp_path_factory: pytest.TempPathFactory, writes: int
) -> None:
    folder = tmp_path_factory.mktemp("broken")
    store = store_at(folder)
    for step in (1, 2):
        seal(store, step)
    failing = FailingStore((folder / "blobs").as_uri())
    failing.left = writes
    with contextlib.suppress(ConnectionError):
        seal(CheckpointStore(folder / "here", failing, "checkpoints/r", IDENTITY), 3)
    assert found(store_at(folder, "elsewhere")) in (2, 3)
    assert found(store) in (2, 3)
    seal(store, 3)
    assert found(store_at(folder, "third")) == 3


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "nothing": lambda folder: None,
    "flipped bit": lambda folder: flip(folder / FILES[0]),
    "cut file": lambda folder: (folder / FILES[1]).write_bytes(b"cut"),
    "lost file": lambda folder: (folder / FILES[2]).unlink(),
    "empty manifest": lambda folder: (folder / MANIFEST).write_bytes(b""),
    "nonsense manifest": lambda folder: (folder / MANIFEST).write_bytes(b'{"step": "\xff'),
    "no manifest": lambda folder: (folder / MANIFEST).unlink(),
    "all lost": shutil.rmtree,
}
HARMLESS = {"nothing"}


@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(DAMAGE)), st.sampled_from(sorted(DAMAGE))), min_size=1, max_size=3
    )
)
@settings(max_examples=60, deadline=None)
def test_the_newest_whole_checkpoint_is_found_whatever_is_damaged(
    tmp_path_factory: pytest.TempPathFactory, damages: list[tuple[str, str]]
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    store = store_at(folder)
    steps = [10 * (place + 1) for place in range(len(damages))]
    for place, step in enumerate(steps):
        seal(store, step, eval_loss=float(place))
    for step, (here, there) in zip(steps, damages, strict=True):
        DAMAGE[here](store.local(step))
        DAMAGE[there](folder / "blobs" / "checkpoints" / "r" / f"step-{step}")
    whole = [step for step, pair in zip(steps, damages, strict=True) if HARMLESS & set(pair)]
    assert found(store) == (max(whole) if whole else None)
    remote = [step for step, (_, there) in zip(steps, damages, strict=True) if there in HARMLESS]
    assert found(store_at(folder, "elsewhere")) == (max(remote) if remote else None)


def test_digests_tell_changes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"a" * 100)
    before = base_digest(tmp_path)
    assert base_digest(tmp_path) == before
    (tmp_path / "model.safetensors").write_bytes(b"a" * 99 + b"b")
    assert base_digest(tmp_path) != before
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    two.write_text("y")
    assert data_digest(one, two) != data_digest(two, one)
