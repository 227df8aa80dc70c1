"""The job of merging: whole or not at all, and only of what was trained."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.kit.blobs import blobs
from engine.kit.errors import Conflict, NotFound
from engine.training import packing
from engine.training.checkpoints import MANIFEST, base_digest
from engine.training.packing import MergeOrder, make_merge_job, merged_model, public_name
from tests.experts import plain_adapter, random_adapter, sha256


@pytest.fixture
def order(home: Path, tiny_base: Path, tmp_path: Path) -> MergeOrder:
    """An order whose adapter is stored, with two files that nobody asked for."""
    folder = random_adapter(tiny_base, tmp_path / "adapter")
    (folder / "adapter_model.bin").write_bytes(b"a pickle")
    stored = {info.key.rpartition("/")[2]: info for info in blobs().upload_folder("adapters/r", folder)}
    return MergeOrder(
        run_id="r",
        adapter_prefix="adapters/r",
        base_model="tiny",
        base_digest=base_digest(tiny_base),
        files={name: stored[name].sha256 for name in (packing.CONFIG, packing.WEIGHTS)},
    )


@pytest.fixture
def job(tiny_base: Path) -> Callable[[Any], dict[str, Any]]:
    return make_merge_job({"tiny": tiny_base}.__getitem__)


@pytest.mark.model
def test_a_merge_is_stored_with_hashes_and_its_manifest_last(
    order: MergeOrder, job: Callable[[Any], dict[str, Any]], make_context: Callable[..., Any], tmp_path: Path
) -> None:
    context = make_context(order.model_dump())
    blobs().put("merged/r/from_before.safetensors", b"old")
    result = job(context)
    model = merged_model("r")
    assert model is not None and model.model_dump() == result and "model.safetensors" in model.files
    keys = {key.removeprefix("merged/r/") for key in blobs().keys("merged/r")}
    assert keys == {*model.files, MANIFEST}
    for name, file in model.files.items():
        data = blobs().read(f"merged/r/{name}")
        assert (len(data), sha256(data)) == (file.size, file.sha256)
    assert not (context.workdir / "adapter" / "adapter_model.bin").exists()
    assert context.reports[-1] == {"done": 4, "message": ""}
    packing.fetch_merged("r", model, tmp_path)
    blobs().put("merged/r/model.safetensors", b"damaged")
    with pytest.raises(Conflict) as caught:
        packing.fetch_merged("r", model, tmp_path)
    assert caught.value.facts["file"] == "model.safetensors"


@pytest.mark.model
@pytest.mark.parametrize("stop", ["pause", "cancel"])
def test_a_merge_that_is_cut_while_storing_leaves_no_model_and_begins_again(
    order: MergeOrder, job: Callable[[Any], dict[str, Any]], make_context: Callable[..., Any], stop: Any
) -> None:
    context = make_context(order.model_dump())
    context.stop, context.stop_after = stop, 4  # while the parts are stored
    with pytest.raises(BaseException, match="stopped"):
        job(context)
    assert merged_model("r") is None and (stop == "pause" or not blobs().keys("merged/r"))
    (context.workdir / "merged" / "half.safetensors").write_bytes(b"half")
    context.stop, context.done = None, 0
    job(context)
    model = merged_model("r")
    assert model is not None and "half.safetensors" not in model.files


def test_another_adapter_or_another_base_is_refused(
    home: Path, tiny_base: Path, tmp_path: Path, make_context: Callable[..., Any]
) -> None:
    def ordered(**changes: Any) -> dict[str, Any]:
        wanted = {"run_id": "r", "adapter_prefix": "adapters/r", "base_model": "/srv/tiny", **changes}
        return MergeOrder.model_validate(wanted).model_dump()

    job = make_merge_job(lambda name: tiny_base)
    with pytest.raises(NotFound):
        job(make_context(ordered()))
    blobs().upload_folder("adapters/r", plain_adapter(tmp_path / "adapter"))
    for changes in ({"files": {packing.WEIGHTS: "0" * 64}}, {"base_digest": "0" * 64}):
        with pytest.raises(Conflict) as caught:
            job(make_context(ordered(**changes)))
        assert "/srv" not in caught.value.message("en")
    assert merged_model("r") is None


@pytest.mark.parametrize(
    ("name", "told"),
    [("starter", "starter"), ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-0.6B"), ("/srv/models/secret", "secret")],
)
def test_a_folder_of_this_machine_is_not_told(name: str, told: str, tmp_path: Path) -> None:
    assert public_name(name) == told
    folder = plain_adapter(tmp_path)
    packing.tell_publicly(name, folder)
    assert f'"{told}"' in (folder / packing.CONFIG).read_text()


def test_a_manifest_that_is_none_counts_as_no_model(home: Path) -> None:
    blobs().put(f"merged/r/{MANIFEST}", b'{"files": 3}')
    assert merged_model("r") is None


def test_the_handler_can_be_registered_without_torch() -> None:
    code = "import sys, engine.training.packing; sys.exit('torch' in sys.modules)"
    root = Path(__file__).resolve().parents[3]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
