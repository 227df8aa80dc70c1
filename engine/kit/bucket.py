"""Blobs as objects of an S3 bucket. Needs obstore, which is installed when MBE_BLOB_URL asks for it."""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import chain, islice
from typing import Any, BinaryIO, cast

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store
from pydantic import HttpUrl, ValidationError

from engine.kit.errors import NotReady
from engine.kit.logs import logger

SMALL = 5  # pieces of a megabyte: what has fewer travels in one request
PIECE = 1 << 20
REFUSALS = ("401 Unauthorized", "403 Forbidden", "NoSuchBucket")

log = logger(__name__)


class Bucket:
    """One object per key below `s3://bucket/prefix`.

    Endpoint and credentials are found where every S3 program looks: AWS_ENDPOINT_URL, AWS_REGION,
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, or the role of the machine. Nothing is cached: what another
    process stores is seen at once. Methods raise NotReady when the store refuses or does not answer.
    """

    def __init__(self, url: str) -> None:
        _check_endpoint()
        self._store = S3Store.from_url(
            url,
            # A store in the same house may speak plain HTTP; whoever names an https endpoint gets TLS.
            client_options={"allow_http": True, "connect_timeout": "5s", "timeout": "120s"},
            retry_config={"max_retries": 5, "retry_timeout": timedelta(seconds=30)},
        )

    def write(self, key: str, pieces: Iterable[bytes]) -> None:
        """Store the pieces under `key`; when they break off, what was there stays.

        S3 shows an object when its last byte has arrived, so nothing is written aside and moved.
        """
        rest = iter(pieces)
        first = list(islice(rest, SMALL))
        with _talking():
            if len(first) < SMALL:
                self._store.put(key, b"".join(first))
            else:
                self._store.put(key, chain(first, rest), max_concurrency=4)

    def open(self, key: str) -> BinaryIO:
        """Open an object for reading from its beginning to its end. Raises FileNotFoundError."""
        with _talking():
            pieces = iter(self._store.get(key).stream(min_chunk_size=PIECE))
        return cast(BinaryIO, io.BufferedReader(_Download(pieces), PIECE))

    def exists(self, key: str) -> bool:
        """Return whether there is an object of this key."""
        try:
            with _talking():
                self._store.head(key)
        except FileNotFoundError:
            return False
        return True

    def keys(self, prefix: str) -> list[str]:
        """Return the key `prefix`, if it is one, and those below it, in no order."""
        with _talking():
            below = [found["path"] for page in self._store.list(prefix) for found in page]
        return [prefix, *below] if self.exists(prefix) else below

    def delete(self, prefix: str) -> None:
        """Delete the object `prefix`, and those below it, up to 1,000 in a request."""
        found = self.keys(prefix)
        with _talking():
            self._store.delete(found)


class _Download(io.RawIOBase):
    """The bytes of an object as they arrive."""

    def __init__(self, pieces: Iterator[Any]) -> None:
        self._pieces, self._left = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any, /) -> int:
        with _talking():
            while not self._left and (piece := next(self._pieces, None)) is not None:
                self._left = memoryview(piece)
        into = memoryview(target)
        count = min(len(into), len(self._left))
        into[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _check_endpoint() -> None:
    """Raise NotReady for an address that is none: the library panics at it, past every `except Exception`."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
        try:
            if given := os.environ.get(name):
                HttpUrl(given)
        except ValidationError as error:
            raise NotReady("kit.bad_endpoint", retry_after=60, name=name) from error


@contextmanager
def _talking() -> Iterator[None]:
    """Say in words for people what went wrong with the store, and to the log what it said."""
    try:
        yield
    except (BaseError, FileNotFoundError) as error:
        said = str(error)
        refused = isinstance(error, PermissionDeniedError | UnauthenticatedError)
        refused = refused or any(reason in said for reason in REFUSALS)
        if isinstance(error, FileNotFoundError) and not refused:
            raise
        log.error("object store", said=" ".join(said.split())[:400])
        if refused:
            raise NotReady("kit.store_refused", retry_after=60) from error
        raise NotReady("kit.store_silent", retry_after=10) from error
