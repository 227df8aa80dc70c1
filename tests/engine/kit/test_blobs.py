import hashlib
import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest
from pydantic import ValidationError

from engine.kit.blobs import PIECE, BlobStore
from engine.kit.errors import BadInput, NotFound, NotReady
from engine.kit.folder import PART
from engine.kit.settings import REPOSITORY, Settings

LARGE = os.urandom(7 * PIECE + 1)  # several parts of an upload to S3, the last of them short


@pytest.fixture(params=["folder", "s3"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same behaviour in a folder and in a bucket."""
    if request.param == "s3":
        return str(request.getfixturevalue("bucket"))
    return (tmp_path / "blobs 库").as_uri()


@pytest.fixture
def store(url: str) -> BlobStore:
    return BlobStore(url)


class Broken(io.BytesIO):
    """A source that fails after `LARGE`."""

    def __init__(self) -> None:
        super().__init__(LARGE)

    def read(self, size: int | None = -1, /) -> bytes:
        if piece := super().read(size):
            return piece
        raise ConnectionResetError("the sender is gone")


@pytest.mark.parametrize("content", [b"", b"hello", LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("kind", ["bytes", "path", "stream"])
def test_what_is_put_can_be_read_and_is_hashed(
    store: BlobStore, tmp_path: Path, content: bytes, kind: str
) -> None:
    path = tmp_path / "source"
    path.write_bytes(content)
    sources: dict[str, bytes | Path | BinaryIO] = {
        "bytes": content,
        "path": path,
        "stream": io.BytesIO(content),
    }
    info = store.put("a/b", sources[kind])
    assert info.sha256 == hashlib.sha256(content).hexdigest() and info.size == len(content)
    assert store.read("a/b") == content and store.keys("a") == ["a/b"]


def test_a_blob_is_read_piece_by_piece_and_line_by_line(store: BlobStore) -> None:
    store.put("large", LARGE)
    with store.open("large") as source:
        assert source.read(3) + source.read() == LARGE and source.read() == b""
    store.put("lines", b"one\ntwo\nthree")
    with store.open("lines") as source:
        assert list(source) == [b"one\n", b"two\n", b"three"]
    with store.open("lines") as source:
        assert source.readline() == b"one\n"  # whoever stops early harms nobody


def test_the_newest_content_counts_for_every_process(store: BlobStore, url: str) -> None:
    store.put("a/b", b"old")
    assert store.keys("a") == ["a/b"] and store.read("a/b") == b"old" and not store.exists("a/c")
    code = "from engine.kit.blobs import BlobStore as B; s = B(%r); s.put('a/b', b'new'); s.put('a/c', b'x')"
    subprocess.run([sys.executable, "-c", code % url], cwd=REPOSITORY, check=True)
    assert store.read("a/b") == b"new" and store.keys("a") == ["a/b", "a/c"] and store.exists("a/c")
    BlobStore(url).delete("a/c")
    assert store.keys("a") == ["a/b"] and not store.exists("a/c")


@pytest.mark.parametrize("key", ["missing", "a", "a/b/c"])
def test_a_missing_blob_is_not_found(store: BlobStore, key: str) -> None:
    store.put("a/b", b"")
    with pytest.raises(NotFound):
        store.open(key)
    with pytest.raises(NotFound):
        store.read(key)
    assert not store.exists(key)
    store.delete("missing")
    assert store.keys("missing") == [] and store.keys("a") == ["a/b"]


def test_a_source_that_breaks_off_changes_nothing(store: BlobStore) -> None:
    store.put("a/b", b"former")
    for key in ("a/b", "a/new"):
        with pytest.raises(ConnectionResetError):
            store.put(key, Broken())
    assert store.keys("a") == ["a/b"] and store.read("a/b") == b"former"
    with pytest.raises(FileNotFoundError):
        store.put("a/b", Path("nowhere"))
    assert store.read("a/b") == b"former"


def test_deleting_takes_a_blob_or_a_folder_and_nothing_beside_it(store: BlobStore) -> None:
    for key in ("a/1", "a/2", "a/deep/3", "ab/1", "a.b"):
        store.put(key, b"x")
    store.delete("a/1")
    assert store.keys("a") == ["a/2", "a/deep/3"]
    store.delete("a")
    assert store.keys("a") == [] and store.keys("ab") == ["ab/1"] and store.keys("a.b") == ["a.b"]


def test_a_folder_travels_whole(store: BlobStore, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "x.txt").write_text("x")
    (source / "y 文.txt").write_text("y")
    infos = store.upload_folder("kept", source)
    assert [info.key for info in infos] == store.keys("kept") == ["kept/deep/x.txt", "kept/y 文.txt"]
    store.download_folder("kept", target)
    assert (target / "deep" / "x.txt").read_text() == "x" and (target / "y 文.txt").read_text() == "y"
    store.delete("kept")
    assert store.keys("kept") == []
    with pytest.raises(NotFound):
        store.download_folder("kept", target)


@pytest.mark.parametrize("key", ["", "../x", "a/../b", "/etc/passwd", "a//b", "a\\b", "a/\0", "a/.part-1"])
def test_keys_never_leave_the_store(store: BlobStore, key: str) -> None:
    with pytest.raises(BadInput):
        store.put(key, b"")


def test_a_folder_is_where_its_url_or_path_says(tmp_path: Path) -> None:
    folder = tmp_path / "blobs 库"
    BlobStore(folder.as_uri()).put("a", b"x")
    assert BlobStore(str(folder)).keys("a") == ["a"] and [*folder.iterdir()] == [folder / "a"]


def test_what_a_killed_process_left_is_no_blob(tmp_path: Path) -> None:
    store = BlobStore(str(tmp_path))
    store.put("a/b", b"x")
    (tmp_path / "a" / f"{PART}1").write_bytes(b"half")
    assert store.keys("a") == ["a/b"]
    store.delete("a")
    assert not (tmp_path / "a").exists()


def unreachable() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


ATTEMPTS: dict[str, Callable[[BlobStore], object]] = {
    "put": lambda store: store.put("a", b"x"),
    "read": lambda store: store.read("a"),
    "exists": lambda store: store.exists("a"),
    "keys": lambda store: store.keys("a"),
    "delete": lambda store: store.delete("a"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("wrong", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_store_that_refuses_says_so(
    bucket: str, monkeypatch: pytest.MonkeyPatch, wrong: str, attempt: str
) -> None:
    monkeypatch.setenv(wrong, "wrong")
    with pytest.raises(NotReady) as raised:
        ATTEMPTS[attempt](BlobStore(bucket))
    assert raised.value.key == "kit.store_refused" and "MBE_BLOB_URL" in raised.value.message("zh")


def test_a_bucket_that_is_not_there_is_a_refusal(bucket: str) -> None:
    with pytest.raises(NotReady, match="bucket"):
        BlobStore("s3://nowhere/x").put("a", b"x")


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "http://", "http://a b", "http://x:99999999"])
def test_an_endpoint_that_is_no_address_is_named(
    bucket: str, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(NotReady, match="AWS_ENDPOINT_URL must be"):
        BlobStore(bucket)


def test_a_store_that_is_silent_says_so(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", unreachable())
    with pytest.raises(NotReady) as raised:
        BlobStore(bucket).read("a")
    assert raised.value.key == "kit.store_silent" and "10 秒" in raised.value.message("zh")


def test_without_its_library_s3_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "engine.kit.bucket", raising=False)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(NotReady, match="make install"):
        BlobStore("s3://bucket")


@pytest.mark.parametrize("url", ["blobs", "s3://", "s3://a b", "s3://a?b=c", "gs://b", "file://b"])
def test_another_kind_of_url_is_refused_at_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_BLOB_URL", url)
    with pytest.raises(ValidationError, match="blob_url"):
        Settings()
