"""A file that arrives in parts, through the routes that people's programs use."""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from obstore.store import S3Store

from engine.accounts.plans import PLANS
from engine.accounts.schemas import Person
from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.settings import settings
from engine.knowledge import service as knowledge
from engine.uploads import service
from tests.support import make_person, run_queued_jobs

Gateway = Callable[[Person | None], TestClient]
ROUTE = "/admin/knowledge/upload-chunk"
TEXT = "".join(f"Line {n} of a long document.\n" for n in range(150)).encode()


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "PART_SIZE", 1000)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Uploading:
    """A developer with a base and a file of five parts, the last of them short."""

    def __init__(self, http: TestClient, text: bytes = TEXT, base: str = "") -> None:
        self.http, self.text = http, text
        self.base = base or http.post("/admin/knowledge", json={"name": "B", "language": "en"}).json()["id"]

    def begin(self, **other: Any) -> Response:
        given = {"filename": "long.txt", "size": len(self.text), "sha256": sha(self.text), **other}
        return self.http.post(f"{ROUTE}/init/{self.base}", json=given)

    def part(self, upload: dict[str, Any], number: int) -> bytes:
        return self.text[number * upload["part_size"] : (number + 1) * upload["part_size"]]

    def send(
        self, upload: dict[str, Any], number: int, data: bytes | None = None, hashed: str = ""
    ) -> Response:
        data = self.part(upload, number) if data is None else data
        return self.http.post(
            f"{ROUTE}/{upload['upload_id']}/{number}",
            content=data,
            headers={"X-Chunk-SHA256": hashed or sha(data), "Content-Type": "application/octet-stream"},
        )

    def status(self, upload: dict[str, Any]) -> dict[str, Any]:
        return dict(self.http.get(f"{ROUTE}/status/{upload['upload_id']}").json())

    def complete(self, upload: dict[str, Any]) -> Response:
        return self.http.post(f"{ROUTE}/complete/{upload['upload_id']}")

    def documents(self) -> list[dict[str, Any]]:
        return list(self.http.get(f"/admin/knowledge/{self.base}/documents").json())


@pytest.fixture
def mine(gateway: Gateway, developer: Person) -> Uploading:
    return Uploading(gateway(developer))


def test_parts_in_any_order_and_twice_become_one_document(mine: Uploading) -> None:
    begun = mine.begin()
    upload = begun.json()
    assert begun.status_code == 201 and upload["parts"] == 5 and upload["missing"] == [0, 1, 2, 3, 4]
    for number in (3, 0, 4, 0, 2):
        assert mine.send(upload, number).status_code == 200
    assert mine.status(upload)["missing"] == [1] and mine.status(upload)["state"] == "uploading"
    early = mine.complete(upload)
    assert early.status_code == 409 and "1" in early.json()["error"]["message"] and mine.documents() == []
    mine.send(upload, 1)
    document = mine.complete(upload).json()
    assert document["sha256"] == sha(TEXT) and document["size"] == len(TEXT)
    assert mine.complete(upload).json() == document == mine.documents()[0]
    assert mine.status(upload)["state"] == "complete"
    assert mine.http.get(f"{ROUTE}/unfinished/{mine.base}").json() == []
    assert blobs().keys("uploads") == []


def test_a_document_goes_through_s3_and_leaves_nothing_there(
    mine: Uploading, developer: Person, bucket: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_BLOB_URL", bucket)
    settings.cache_clear()
    blobs.cache_clear()
    upload = mine.begin().json()
    with ThreadPoolExecutor(5) as pool:
        assert {one.status_code for one in pool.map(lambda n: mine.send(upload, n), range(5))} == {200}
    in_bucket = S3Store.from_url(bucket, client_options={"allow_http": True})
    assert len(in_bucket.list().collect()) == 5
    document = mine.complete(upload).json()
    assert document["sha256"] == sha(TEXT) and len(in_bucket.list().collect()) == 1
    assert mine.http.post(f"/admin/knowledge/{mine.base}/chunking/start").status_code == 202
    assert run_queued_jobs() == 1
    chunks = mine.http.get(f"/admin/knowledge/{mine.base}/chunks").json()
    assert chunks and all(TEXT.decode()[one["start"] : one["end"]] == one["text"] for one in chunks)
    with unit_of_work() as uow:
        assert knowledge.document_text(uow, document["id"], developer.tenant_id).encode() == TEXT
        knowledge.delete_base(uow, mine.base, developer.tenant_id)
    assert in_bucket.list().collect() == [] and not (home / "blobs").exists()


def test_whoever_drops_the_file_again_goes_on_with_it(mine: Uploading) -> None:
    first = mine.begin().json()
    mine.send(first, 2)
    again = mine.begin(filename="renamed.txt").json()
    assert again["upload_id"] == first["upload_id"] and again["received"] == [2]
    assert mine.http.get(f"{ROUTE}/unfinished/{mine.base}").json() == [again]


def test_a_content_that_the_base_holds_is_complete_at_once(mine: Uploading) -> None:
    upload = mine.begin().json()
    for number in range(5):
        mine.send(upload, number)
    document = mine.complete(upload).json()
    again = mine.begin(filename="copy.txt").json()
    assert again["state"] == "complete" and again["result_id"] == document["id"] and again["missing"] == []
    assert mine.complete(again).json()["id"] == document["id"] and len(mine.documents()) == 1


def test_a_part_that_is_not_what_it_says_is_refused_and_changes_nothing(mine: Uploading) -> None:
    upload = mine.begin().json()
    good = mine.part(upload, 0)
    for number, data, hashed, field in (
        (0, good[:-1] + b"!", sha(good), "X-Chunk-SHA256"),
        (0, good[:-1], "", "chunk_index"),
        (4, good, "", "chunk_index"),
        (5, good, "", "chunk_index"),
        (-1, good, "", "chunk_index"),
        (0, good, "abc", "sha256"),
    ):
        answer = mine.send(upload, number, data, hashed)
        assert answer.status_code == 400 and answer.json()["error"]["param"] == field, answer.text
    assert mine.status(upload)["received"] == [] and blobs().keys("uploads") == []


def test_a_whole_that_is_not_what_was_promised_keeps_its_parts(mine: Uploading) -> None:
    upload = mine.begin().json()
    for number in range(5):
        mine.send(upload, number, b"x" * 1000 if number == 1 else None)
    refused = mine.complete(upload)
    assert refused.status_code == 400 and refused.json()["error"]["code"] == "uploads.wrong_whole"
    assert mine.status(upload)["missing"] == [] and mine.documents() == []
    mine.send(upload, 1)
    assert mine.complete(upload).status_code == 200


def test_two_who_complete_at_once_get_the_same_document(mine: Uploading) -> None:
    upload = mine.begin().json()
    with ThreadPoolExecutor(5) as pool:
        assert {one.status_code for one in pool.map(lambda n: mine.send(upload, n), range(5))} == {200}
        answers = list(pool.map(lambda _: mine.complete(upload), range(4)))
    assert {one.status_code for one in answers} == {200} and len(mine.documents()) == 1
    assert {one.json()["id"] for one in answers} == {mine.documents()[0]["id"]}


@pytest.mark.parametrize(
    ("given", "status", "field"),
    [
        ({"filename": "a.exe"}, 400, "file"),
        ({"size": 0}, 400, "size"),
        ({"size": 2**40}, 413, "size"),
        ({"sha256": "zz"}, 400, "sha256"),
        ({"sha256": sha(TEXT).upper()}, 400, "sha256"),
        ({"size": "many"}, 400, "size"),
    ],
)
def test_what_cannot_arrive_is_refused_before_it_is_sent(
    mine: Uploading, given: dict[str, Any], status: int, field: str
) -> None:
    answer = mine.begin(**given)
    assert answer.status_code == status and answer.json()["error"]["param"] == field


@pytest.mark.parametrize(("blob_url", "copies"), [("", 2), ("s3://bucket", 1)])
def test_the_disk_must_hold_what_lies_on_it(
    mine: Uploading, monkeypatch: pytest.MonkeyPatch, blob_url: str, copies: int
) -> None:
    monkeypatch.setenv("MBE_BLOB_URL", blob_url)
    settings.cache_clear()
    free = SimpleNamespace(free=copies * len(TEXT) - 1)
    monkeypatch.setattr(service.shutil, "disk_usage", lambda _: free)
    assert mine.begin().json()["error"]["code"] == "uploads.no_disk"
    free.free += 1
    assert mine.begin().status_code == 201


def test_space_is_reserved_when_an_upload_begins(mine: Uploading, monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(PLANS["pro"], storage_bytes=2 * len(TEXT) - 1)
    monkeypatch.setitem(PLANS, "pro", small)
    first = mine.begin().json()
    other = TEXT.replace(b"long", b"tall")
    second = Uploading(mine.http, other, mine.base)
    refused = second.begin()
    assert refused.status_code == 413 and refused.json()["error"]["code"] == "uploads.no_share"
    assert mine.http.delete(f"{ROUTE}/{first['upload_id']}").json() == {"cancelled": True}
    assert second.begin().status_code == 201


def test_an_upload_that_nobody_goes_on_with_expires(mine: Uploading, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = mine.begin().json()
    mine.send(upload, 0)
    monkeypatch.setenv("MBE_UPLOAD_DAYS", "0.0000000001")
    settings.cache_clear()
    later = mine.begin().json()
    assert later["upload_id"] != upload["upload_id"] and later["received"] == []
    assert mine.http.get(f"{ROUTE}/status/{upload['upload_id']}").status_code == 404
    assert blobs().keys("uploads") == []


def test_an_upload_of_another_tenant_is_not_found(mine: Uploading, gateway: Gateway) -> None:
    upload = mine.begin().json()
    rival = Uploading(gateway(make_person("rival@example.com", "developer")), base=mine.base)
    assert rival.begin().status_code == 404
    assert rival.send(upload, 0).status_code == rival.complete(upload).status_code == 404
    assert rival.http.get(f"{ROUTE}/unfinished/{mine.base}").status_code == 404
    for method, path in (("GET", f"{ROUTE}/status/"), ("DELETE", f"{ROUTE}/")):
        assert rival.http.request(method, path + upload["upload_id"]).status_code == 404
    assert mine.status(upload)["received"] == []


def test_only_a_developer_uploads(mine: Uploading, gateway: Gateway, consumer: Person) -> None:
    assert Uploading(gateway(consumer), base=mine.base).begin().status_code == 403
    assert Uploading(gateway(None), base=mine.base).begin().status_code == 401
