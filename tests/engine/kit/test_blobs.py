import hashlib
from pathlib import Path

import pytest

from engine.kit.blobs import BlobStore
from engine.kit.errors import BadInput, NotFound


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> BlobStore:
    """The same behaviour on a folder and on another fsspec file system."""
    return BlobStore(tmp_path.as_uri() if request.param == "file" else f"memory://{tmp_path.name}")


def test_what_is_put_can_be_read_and_is_hashed(store: BlobStore) -> None:
    info = store.put("a/b", b"hello")
    assert (store.read("a/b"), info.size) == (b"hello", 5)
    assert info.sha256 == hashlib.sha256(b"hello").hexdigest()


def test_a_folder_travels_whole(store: BlobStore, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "x.txt").write_text("x")
    (source / "y.txt").write_text("y")
    store.upload_folder("kept", source)
    assert store.keys("kept") == ["kept/deep/x.txt", "kept/y.txt"]
    store.download_folder("kept", target)
    assert (target / "deep" / "x.txt").read_text() == "x"
    store.delete("kept")
    assert store.keys("kept") == []
    with pytest.raises(NotFound):
        store.read("kept/y.txt")


@pytest.mark.parametrize("key", ["", "../x", "a/../b", "/etc/passwd", "a//b", "a\\b", "a/\0"])
def test_keys_never_leave_the_store(store: BlobStore, key: str) -> None:
    with pytest.raises(BadInput):
        store.put(key, b"")
