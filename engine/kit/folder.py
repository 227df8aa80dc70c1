"""Blobs as files of a folder on this machine."""

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast
from uuid import uuid4

PART = ".part-"


class Folder:
    """One file per key. A file takes its name once it is whole and on the disk."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def write(self, key: str, pieces: Iterable[bytes]) -> None:
        """Store the pieces under `key`; when they break off, what was there stays."""
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(PART + uuid4().hex)
        try:
            with part.open("xb") as out:
                for piece in pieces:
                    out.write(piece)
                out.flush()
                os.fsync(out.fileno())
            part.replace(target)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def open(self, key: str) -> BinaryIO:
        """Open a file for reading. Raises FileNotFoundError."""
        try:
            return cast(BinaryIO, (self._root / key).open("rb"))
        except (IsADirectoryError, NotADirectoryError) as error:
            raise FileNotFoundError(key) from error

    def exists(self, key: str) -> bool:
        """Return whether there is a file of this key."""
        return (self._root / key).is_file()

    def keys(self, prefix: str) -> list[str]:
        """Return the key `prefix`, if it is one, and those below it, in no order."""
        start = self._root / prefix
        files = (path for path in (start, *start.rglob("*")) if path.is_file())
        return [path.relative_to(self._root).as_posix() for path in files if not path.name.startswith(PART)]

    def delete(self, prefix: str) -> None:
        """Delete the file `prefix`, or the folder, with what a killed process left in it."""
        target = self._root / prefix
        while target.is_dir():
            with suppress(FileNotFoundError):  # somebody else is deleting it too
                shutil.rmtree(target)
        with suppress(FileNotFoundError, NotADirectoryError):
            target.unlink()
