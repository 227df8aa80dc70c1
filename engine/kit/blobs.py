"""The object store: named blobs in a folder, or in a bucket of S3 or of a server that speaks like it."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Protocol, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from engine.kit.errors import BadInput, NotFound, NotReady
from engine.kit.folder import PART, Folder
from engine.kit.settings import settings

PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class BlobInfo:
    """What was stored: its key, size in bytes and SHA-256 in hex."""

    key: str
    size: int
    sha256: str


class Place(Protocol):
    """Where blobs lie: `Folder` or `Bucket`. Keys are checked before they come here."""

    def write(self, key: str, pieces: Iterable[bytes]) -> None:
        """Store the pieces under `key`, all or nothing."""

    def open(self, key: str) -> BinaryIO:
        """Open a blob for reading. Raises FileNotFoundError."""

    def exists(self, key: str) -> bool:
        """Return whether `key` is stored."""

    def keys(self, prefix: str) -> list[str]:
        """Return the key `prefix`, if it is one, and those below it."""

    def delete(self, prefix: str) -> None:
        """Delete what `keys` returns."""


def _checked(key: str) -> str:
    parts = key.split("/")
    bad = any(part in ("", ".", "..") or part.startswith(PART) for part in parts)
    if bad or "\\" in key or "\0" in key:
        raise BadInput("kit.bad_key", field="key", key=key[:80])
    return key


class BlobStore:
    """Blobs by key. Keys are made by the product (ids), never taken from a person's file name.

    `url` is a path, `file:///folder` or `s3://bucket/prefix`. Behind S3, methods raise NotReady when
    the store refuses or does not answer.
    """

    def __init__(self, url: str) -> None:
        self._place = _place(url)

    def put(self, key: str, source: bytes | Path | BinaryIO) -> BlobInfo:
        """Store `source` under `key`, replacing what was there, and return its size and hash.

        When reading `source` fails, what was there stays.
        """
        digest, size = hashlib.sha256(), 0

        def passing() -> Iterator[bytes]:
            nonlocal size
            for piece in _pieces(source):
                digest.update(piece)
                size += len(piece)
                yield piece

        self._place.write(_checked(key), passing())
        return BlobInfo(key=key, size=size, sha256=digest.hexdigest())

    def open(self, key: str) -> BinaryIO:
        """Open a blob for reading. Raises NotFound."""
        try:
            return self._place.open(_checked(key))
        except FileNotFoundError as error:
            raise NotFound("kit.no_blob", key=key) from error

    def read(self, key: str) -> bytes:
        """Return a whole blob. Raises NotFound."""
        with self.open(key) as source:
            return source.read()

    def exists(self, key: str) -> bool:
        """Return whether `key` is stored."""
        return self._place.exists(_checked(key))

    def keys(self, prefix: str) -> list[str]:
        """Return the keys below the folder `prefix`, sorted; a key itself returns itself."""
        return sorted(self._place.keys(_checked(prefix)))

    def delete(self, prefix: str) -> None:
        """Delete a blob, or all blobs below a folder; nothing happens when it is not there."""
        self._place.delete(_checked(prefix))

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


def _place(url: str) -> Place:
    if not url.startswith("s3://"):
        return Folder(Path(url2pathname(urlsplit(url).path) if url.startswith("file:") else url))
    try:
        from engine.kit.bucket import Bucket
    except ModuleNotFoundError as error:
        raise NotReady("kit.no_s3", retry_after=60) from error
    return Bucket(url)


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
    return BlobStore(settings().blob_url or str((settings().home / "blobs").resolve()))
