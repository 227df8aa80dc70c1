"""What leaves the house of an expert: its adapter, or a whole model merged in a job; and where both lie.

A merged model exists once its manifest does, which is stored last.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.kit.blobs import PIECE, blobs
from engine.kit.errors import Conflict, NotFound
from engine.training.checkpoints import MANIFEST, base_digest
from engine.training.tasks import JobContext

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PARTS = 4
"""What a merge does one after another, as its progress counts: fetch, find the base, merge, store."""


class MergedFile(BaseModel):
    """One file of a merged model: its size in bytes and its SHA-256."""

    model_config = ConfigDict(frozen=True)

    size: int
    sha256: str


class MergedModel(BaseModel):
    """What the manifest of a merged model says: its files by name."""

    model_config = ConfigDict(frozen=True)

    files: dict[str, MergedFile]

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(file.size for file in self.files.values())


class MergeOrder(BaseModel):
    """What a merge is made of: the parameters of its job.

    `base_digest` is None, and `files` lacks hashes, where the training did not write them down.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    adapter_prefix: str
    base_model: str
    base_digest: str | None = None
    files: dict[str, str] = {}


def merged_prefix(run_id: str) -> str:
    """Return where the merged model of a run lies in the object store."""
    return f"merged/{run_id}"


def merged_model(run_id: str) -> MergedModel | None:
    """Return the merged model of a run, or None while there is no whole one."""
    try:
        return MergedModel.model_validate_json(blobs().read(f"{merged_prefix(run_id)}/{MANIFEST}"))
    except (NotFound, ValidationError):
        return None


def pieces(key: str, sha256: str | None) -> Iterator[bytes]:
    """Yield a blob in pieces. Raises NotFound, and Conflict at its end when it is not what was stored."""
    digest = hashlib.sha256()
    with blobs().open(key) as source:
        while piece := source.read(PIECE):
            digest.update(piece)
            yield piece
    if sha256 not in (None, digest.hexdigest()):
        raise Conflict("takealong.damaged", file=key.rpartition("/")[2])


def fetch_adapter(prefix: str, hashes: Mapping[str, str], folder: Path) -> None:
    """Write the two files of an adapter into `folder`, and nothing else. Raises as `pieces` does."""
    for name in (CONFIG, WEIGHTS):
        _write(folder / name, pieces(f"{prefix}/{name}", hashes.get(name)))


def fetch_merged(run_id: str, model: MergedModel, folder: Path) -> None:
    """Write a merged model into `folder`. Raises as `pieces` does."""
    for name, file in model.files.items():
        _write(folder / name, pieces(f"{merged_prefix(run_id)}/{name}", file.sha256))


def public_name(base: str) -> str:
    """Return the name of a base model for others: of a folder of this machine, its last part alone."""
    folder = Path(base).expanduser()
    return folder.name if folder.is_absolute() or folder.is_dir() else base


def tell_publicly(base: str, folder: Path) -> None:
    """Have the adapter in `folder` name its base model as others may read it; most do already."""
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    if config.get("base_model_name_or_path") != public_name(base):
        config["base_model_name_or_path"] = public_name(base)
        (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True), "utf-8")


def make_merge_job(resolve_base: Callable[[str], Path]) -> Callable[[JobContext], dict[str, Any]]:
    """Return the handler of "training.merge" jobs; `params` are a MergeOrder.

    `resolve_base` turns the name of a base model into its folder. The result is a MergedModel as a dict.
    An attempt that is cut begins again. Raises NotFound and Conflict, and what the context raises.
    """

    def merge_job(ctx: JobContext) -> dict[str, Any]:
        # torch is imported in the job's own process, not where the handler is registered.
        from engine.training.merging import merge

        order = MergeOrder.model_validate(ctx.params)
        adapter, folder = (_emptied(ctx.workdir / name) for name in ("adapter", "merged"))
        ctx.report(done=0, total=PARTS, message="adapter")
        fetch_adapter(order.adapter_prefix, order.files, adapter)
        _next(ctx, 1, "base model")
        base = resolve_base(order.base_model)
        if order.base_digest not in (None, base_digest(base)):
            raise Conflict("takealong.base_changed", name=public_name(order.base_model))
        _next(ctx, 2, "merging")
        merge(base, adapter, folder)
        _next(ctx, 3, "storing")
        return _store(ctx, merged_prefix(order.run_id), folder).model_dump()

    return merge_job


def _store(ctx: JobContext, prefix: str, folder: Path) -> MergedModel:
    """Put a model into the object store in place of the one before."""
    blobs().delete(f"{prefix}/{MANIFEST}")
    blobs().delete(prefix)
    paths = sorted(folder.iterdir())
    files = {}
    for number, path in enumerate(paths, 1):
        _stop_storing(ctx, prefix)
        ctx.report(message=f"storing {number}/{len(paths)}")
        stored = blobs().put(f"{prefix}/{path.name}", path)
        files[path.name] = MergedFile(size=stored.size, sha256=stored.sha256)
    _stop_storing(ctx, prefix)
    model = MergedModel(files=files)
    blobs().put(f"{prefix}/{MANIFEST}", model.model_dump_json().encode())
    ctx.report(done=PARTS, message="")
    return model


def _stop_storing(ctx: JobContext, prefix: str) -> None:
    """Raise when the job is asked to stop, or is with another worker; a cancelled model is taken back."""
    if ctx.stop_requested() == "cancel":
        blobs().delete(prefix)
    ctx.check_stop()


def _next(ctx: JobContext, done: int, message: str) -> None:
    ctx.check_stop()
    ctx.report(done=done, message=message)


def _emptied(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _write(target: Path, source: Iterator[bytes]) -> None:
    with target.open("wb") as out:
        for piece in source:
            out.write(piece)
