"""Checkpoints that exist once their manifest does, on this machine and in the object store.

Files come first and reach the disk, then `COMPLETE.json` appears by rename; in the store it is put last.
Whoever looks for a checkpoint looks for manifests and checks every file against its hash, so a process
that dies at any moment leaves either a whole checkpoint or none.
"""

import hashlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.kit.blobs import BlobStore
from engine.kit.errors import NotFound
from engine.kit.logs import logger

MANIFEST = "COMPLETE.json"
KEPT_FILES = frozenset(
    {
        "adapter_config.json",
        "adapter_model.safetensors",
        "optimizer.pt",
        "rng_state.pth",
        "scheduler.pt",
        "trainer_state.json",
    }
)
KEPT_NEWEST = 2
PIECE = 1 << 20

log = logger(__name__)


class Identity(BaseModel):
    """What a training depends on; a checkpoint of another identity is not continued.

    Three SHA-256: of the rows, of the recipe, and of the base model (see `base_digest`).
    """

    model_config = ConfigDict(frozen=True)

    data: str
    recipe: str
    base: str


class Manifest(BaseModel):
    """What `COMPLETE.json` says. `files` maps names to SHA-256; `seconds` and `tokens` count so far.

    `size` is the bytes of all files; 0 in manifests from before it was counted.
    """

    model_config = ConfigDict(frozen=True)

    step: int = Field(ge=0)
    identity: Identity
    eval_loss: float | None
    seconds: float
    tokens: int
    files: dict[str, str]
    size: int = 0


class CheckpointStore:
    """The checkpoints of one run: `folder/checkpoint-N` here, `prefix/step-N` in the object store."""

    def __init__(self, folder: Path, blobs: BlobStore, prefix: str, identity: Identity) -> None:
        self.folder, self._blobs, self._prefix, self._identity = folder, blobs, prefix, identity
        folder.mkdir(parents=True, exist_ok=True)

    def seal(self, step: int, *, eval_loss: float | None, seconds: float, tokens: int) -> Manifest:
        """Make the files in `folder/checkpoint-<step>` a checkpoint, here and in the store.

        Files that a resume does not need are dropped, older checkpoints than the newest two and the
        best are deleted.
        """
        source = self.local(step)
        for path in source.iterdir():
            if path.name not in KEPT_FILES:
                path.unlink()
        files = {path.name: _digest_and_sync(path) for path in sorted(source.iterdir())}
        manifest = Manifest(
            step=step,
            identity=self._identity,
            eval_loss=eval_loss,
            seconds=seconds,
            tokens=tokens,
            files=files,
            size=sum((source / name).stat().st_size for name in files),
        )
        text = manifest.model_dump_json().encode()
        _write_by_rename(source / MANIFEST, text)
        remote = self.remote(step)
        self._blobs.delete(f"{remote}/{MANIFEST}")
        for name in files:
            self._blobs.put(f"{remote}/{name}", source / name)
        self._blobs.put(f"{remote}/{MANIFEST}", text)
        self._prune()
        return manifest

    def newest(self) -> Manifest | None:
        """Return the newest complete checkpoint of this identity; its files are in `local(step)` then.

        A checkpoint that is missing or damaged here is fetched from the store; one that is damaged
        there too is skipped. Local leftovers without a whole manifest are deleted.
        """
        here = {manifest.step: manifest for manifest in self._local_manifests()}
        for step in set(self._local_steps()) - set(here):
            shutil.rmtree(self.local(step))
        there = {manifest.step: manifest for manifest in self._remote_manifests()}
        for step in sorted({*here, *there}, reverse=True):
            if step in here and self._whole(here[step]):
                return here[step]
            if step in there and self._fetch(there[step]):
                return there[step]
            log.warning("checkpoint skipped", step=step, prefix=self._prefix)
        return None

    def local(self, step: int) -> Path:
        """Return the folder of a checkpoint on this machine."""
        return self.folder / f"checkpoint-{step}"

    def remote(self, step: int) -> str:
        """Return the prefix of a checkpoint in the object store."""
        return place(self._prefix, step)

    def _local_steps(self) -> Iterator[int]:
        for path in self.folder.glob("checkpoint-*"):
            if found := re.fullmatch(r"checkpoint-(\d+)", path.name):
                yield int(found[1])

    def _local_manifests(self) -> Iterator[Manifest]:
        for step in list(self._local_steps()):
            path = self.local(step) / MANIFEST
            manifest = _parsed(path.read_bytes(), step) if path.is_file() else None
            if manifest and manifest.identity == self._identity:
                yield manifest

    def _remote_manifests(self) -> Iterator[Manifest]:
        found = stored(self._blobs, self._prefix)
        return (manifest for manifest in found if manifest.identity == self._identity)

    def _whole(self, manifest: Manifest) -> bool:
        folder = self.local(manifest.step)
        return all(
            (folder / name).is_file() and _digest(folder / name) == sha256
            for name, sha256 in manifest.files.items()
        )

    def _fetch(self, manifest: Manifest) -> bool:
        folder = self.local(manifest.step)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        try:
            for name in manifest.files:
                key = f"{self.remote(manifest.step)}/{name}"
                with self._blobs.open(key) as source, (folder / name).open("wb") as out:
                    shutil.copyfileobj(source, out, PIECE)
        except NotFound:
            return False
        if not self._whole(manifest):
            return False
        _write_by_rename(folder / MANIFEST, manifest.model_dump_json().encode())
        return True

    def _prune(self) -> None:
        """Keep the newest checkpoints and the one with the lowest validation loss."""
        manifests = {manifest.step: manifest for manifest in self._remote_manifests()}
        keep = set(sorted(manifests)[-KEPT_NEWEST:])
        measured = [m for m in manifests.values() if m.eval_loss is not None]
        if measured:
            keep.add(min(measured, key=lambda m: (m.eval_loss, m.step)).step)
        for step in set(manifests) - keep:
            # The manifest goes first: what is half deleted must not look whole.
            self._blobs.delete(f"{self.remote(step)}/{MANIFEST}")
            self._blobs.delete(self.remote(step))
        for step in set(self._local_steps()) - keep:
            (self.local(step) / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(self.local(step))


def place(prefix: str, step: int) -> str:
    """Return where a checkpoint lies below the prefix of its training."""
    return f"{prefix}/step-{step}"


def stored(blobs: BlobStore, prefix: str) -> Iterator[Manifest]:
    """Yield the manifests in the object store below `prefix`, of any identity; no other file is read."""
    for key in blobs.keys(prefix):
        found = re.fullmatch(rf"step-(\d+)/{re.escape(MANIFEST)}", key[len(prefix) + 1 :])
        with suppress(NotFound):  # deleted since the keys were listed
            if found and (manifest := _parsed(blobs.read(key), int(found[1]))):
                yield manifest


def _parsed(text: bytes, step: int) -> Manifest | None:
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError:
        return None
    return manifest if manifest.step == step and set(manifest.files) <= KEPT_FILES else None


def data_digest(*paths: Path) -> str:
    """Return SHA-256 over the hashes of the given files of rows, in order."""
    return hashlib.sha256("\n".join(_digest(path) for path in paths).encode()).hexdigest()


def base_digest(folder: Path) -> str:
    """Return SHA-256 over a base model's config and the size and both ends of each weights file.

    Reading only the ends tells retrained weights apart without reading many gigabytes.
    """
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for path in sorted(folder.glob("*.safetensors")):
        size = path.stat().st_size
        digest.update(f"{path.name}:{size}".encode())
        with path.open("rb") as file:
            digest.update(file.read(PIECE))
            file.seek(max(0, size - PIECE))
            digest.update(file.read(PIECE))
    return digest.hexdigest()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest_and_sync(path: Path) -> str:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_by_rename(target: Path, content: bytes) -> None:
    temporary = target.with_name(target.name + ".part")
    with temporary.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    temporary.rename(target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
