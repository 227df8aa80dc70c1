"""The object store: named blobs in a folder, or behind any fsspec URL such as `s3://bucket/prefix`."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, cast

import fsspec

from engine.kit.errors import BadInput, NotFound
from engine.kit.settings import settings

PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class BlobInfo:
    """What was stored: its key, size in bytes and SHA-256 in hex."""

    key: str
    size: int
    sha256: str


def _checked(key: str) -> str:
    parts = key.split("/")
    if not key or any(part in ("", ".", "..") for part in parts) or "\\" in key or "\0" in key:
        raise BadInput("kit.bad_key", field="key", key=key[:80])
    return key


class BlobStore:
    """Blobs by key. Keys are made by the product (ids), never taken from a person's file name."""

    def __init__(self, url: str) -> None:
        self._fs, self._root = fsspec.core.url_to_fs(url)
        self._fs.makedirs(self._root, exist_ok=True)

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{_checked(key)}"

    def put(self, key: str, source: bytes | Path | BinaryIO) -> BlobInfo:
        """Store `source` under `key`, replacing what was there, and return its size and hash."""
        path = self._path(key)
        self._fs.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        digest, size = hashlib.sha256(), 0
        temporary = path + ".part"
        with self._fs.open(temporary, "wb") as out:
            for piece in _pieces(source):
                digest.update(piece)
                size += len(piece)
                out.write(piece)
        self._fs.mv(temporary, path)
        return BlobInfo(key=key, size=size, sha256=digest.hexdigest())

    def open(self, key: str) -> BinaryIO:
        """Open a blob for reading. Raises NotFound."""
        try:
            return cast(BinaryIO, self._fs.open(self._path(key), "rb"))
        except FileNotFoundError as error:
            raise NotFound("kit.no_blob", key=key) from error

    def read(self, key: str) -> bytes:
        """Return a whole blob. Raises NotFound."""
        with self.open(key) as source:
            return source.read()

    def exists(self, key: str) -> bool:
        """Return whether `key` is stored."""
        return bool(self._fs.exists(self._path(key)))

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below the folder `prefix`, sorted."""
        root = self._path(prefix)
        if not self._fs.exists(root):
            return []
        start = len(self._root.rstrip("/")) + 1
        return sorted(str(path)[start:] for path in self._fs.find(root))

    def delete(self, prefix: str) -> None:
        """Delete a blob, or all blobs below a folder; nothing happens when it is not there."""
        path = self._path(prefix)
        if self._fs.exists(path):
            self._fs.rm(path, recursive=True)

    def upload_folder(self, prefix: str, folder: Path) -> list[BlobInfo]:
        """Store every file of `folder` below `prefix`."""
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return [self.put(f"{prefix}/{path.relative_to(folder).as_posix()}", path) for path in files]

    def download_folder(self, prefix: str, folder: Path) -> None:
        """Write every blob below `prefix` into `folder`. Raises NotFound when there is none."""
        keys = self.keys(prefix)
        if not keys:
            raise NotFound("kit.no_blob", key=prefix)
        for key in keys:
            target = folder / key[len(prefix) + 1 :]
            target.parent.mkdir(parents=True, exist_ok=True)
            with self.open(key) as source, target.open("wb") as out:
                shutil.copyfileobj(source, out, PIECE)


def _pieces(source: bytes | Path | BinaryIO) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
    elif isinstance(source, Path):
        with source.open("rb") as file:
            yield from _pieces(cast(BinaryIO, file))
    else:
        while piece := source.read(PIECE):
            yield piece


@lru_cache(maxsize=1)
def blobs() -> BlobStore:
    """Return the object store of this process."""
    return BlobStore(settings().blob_url or (settings().home / "blobs").resolve().as_uri())
