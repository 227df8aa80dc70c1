"""Documents and links through the routes of a knowledge base."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.flows import prepare_knowledge
from engine.kit.settings import settings
from tests.engine.knowledge import files
from tests.engine.knowledge.fakes import prepare
from tests.support import make_person, run_queued_jobs

Gateway = Callable[[Person | None], TestClient]


class Site(BaseHTTPRequestHandler):
    """A web page on this machine."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b"<h1>Opening hours</h1><p>We open at nine.</p>")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def page() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hours"
    server.shutdown()
    server.server_close()


@pytest.fixture
def http(gateway: Gateway, developer: Person) -> TestClient:
    return gateway(developer)


@pytest.fixture
def base(http: TestClient) -> str:
    return str(http.post("/admin/knowledge", json={"name": "B", "language": "en"}).json()["id"])


def test_a_web_page_becomes_a_document_that_knows_its_address(
    http: TestClient, base: str, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_FETCH_PRIVATE", "1")
    settings.cache_clear()
    for _ in range(2):
        made = http.post(f"/admin/knowledge/{base}/links", json={"link": page})
        assert made.status_code == 201, made.text
        assert (made.json()["name"], made.json()["source_url"]) == ("127.0.0.1 hours.html", page)
    assert len(http.get(f"/admin/knowledge/{base}/documents").json()) == 1


def test_a_link_into_the_own_network_is_refused_and_nothing_stored(
    http: TestClient, base: str, page: str
) -> None:
    refused = http.post(f"/admin/knowledge/{base}/links", json={"link": page})
    assert refused.status_code == 400 and "public" in refused.json()["error"]["message"]
    assert http.get(f"/admin/knowledge/{base}/documents").json() == []


def test_a_link_into_another_persons_base_is_not_even_opened(
    http: TestClient, base: str, gateway: Gateway, page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.flows.prepare_knowledge.fetch", lambda link: pytest.fail("opened"))
    other = gateway(make_person("other@example.com", "developer"))
    assert other.post(f"/admin/knowledge/{base}/links", json={"link": page}).status_code == 404


def test_a_pdf_is_accepted_as_it_is(http: TestClient, base: str) -> None:
    made = http.post(
        f"/admin/knowledge/{base}/documents", files={"file": ("handbook.pdf", files.pdf(), "application/pdf")}
    )
    assert made.status_code == 201 and made.json()["state"] == "stored"


def test_a_question_is_traced_saved_and_checked(http: TestClient, developer: Person) -> None:
    made = http.post("/admin/knowledge", json={"name": "Hilfe", "language": "zh"}).json()["id"]
    at = f"/admin/knowledge/{made}"
    http.post(f"{at}/documents", files={"file": ("a.md", "## 营业时间\n\n门店每天早上九点开门。".encode())})
    prepare(prepare_knowledge.base(developer, made))
    found = http.post(f"{at}/trace", json={"question": "门店几点开门？"}).json()
    assert found["used"] == [found["fused"][0]["chunk_id"]] and found["words"] and found["near"]
    saved = http.post(f"{at}/questions", json={"question": "门店几点开门？", "chunk_id": found["used"][0]})
    assert saved.status_code == 201 and saved.json()["document_name"] == "a.md"
    check = http.post(f"{at}/checks")
    assert check.status_code == 201 and check.json()["recall_1"] == 1.0
    assert http.get(f"{at}/checks").json() == [check.json()]
    assert http.post(f"{at}/calibration").status_code == 400
    assert http.delete(f"{at}/questions/{saved.json()['id']}").json() == {"deleted": True}
    assert http.get(f"{at}/questions").json() == []
    assert http.post(f"{at}/trace", json={"question": " "}).status_code == 400
    [kept] = http.get(f"{at}/indexing/snapshots").json()
    assert kept["chunks"] == 1
    assert http.post(f"{at}/indexing/restore", json={"version": kept["version"] + 9}).status_code == 404
    started = http.post(f"{at}/indexing/restore", json={"version": kept["version"]})
    assert started.status_code == 202 and run_queued_jobs() == 1
    assert http.post(f"{at}/search", json={"question": "门店几点开门？"}).json()


def test_a_chunk_is_edited_taken_out_and_shown_in_its_document(
    http: TestClient, base: str, gateway: Gateway
) -> None:
    text = "# Returns\n\nThirty days.\n\n# Delivery\n\nTwo days."
    http.post(f"/admin/knowledge/{base}/documents", files={"file": ("help.md", text.encode())})
    http.post(f"/admin/knowledge/{base}/chunking/start")
    run_queued_jobs()
    chunk = http.get(f"/admin/knowledge/{base}/chunks", params={"words": "THIRTY"}).json()[0]
    path = f"/admin/knowledge/{base}/chunks/{chunk['id']}"
    changed = http.patch(path, json={"text": "Sixty days.", "enabled": False})
    assert changed.status_code == 200, changed.text
    assert {**chunk, "text": "Sixty days.", "edited": True, "enabled": False} == changed.json()
    assert http.patch(path, json={}).json() == changed.json()
    shown = http.get(path).json()
    assert shown["chunk"] == changed.json()
    assert shown["before"] + shown["passage"] + shown["after"] == text and shown["passage"] == "Thirty days."
    assert http.get(f"/admin/knowledge/{base}").json()["disabled"] == 1
    assert http.get("/admin/knowledge/" + base + "/indexing/status").status_code == 404
    assert http.patch(path, json={"enabled": True}).json()["enabled"]
    assert http.get(f"/admin/knowledge/{base}/indexing/status").json()["state"] == "queued"
    refused = http.patch(path, json={"text": "  ", "enabled": False})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "text"
    assert http.get(path).json()["chunk"]["enabled"]
    other = gateway(make_person("other@example.com", "developer"))
    for answer in (other.get(path), other.patch(path, json={"enabled": False}), http.get(f"{path}x")):
        assert answer.status_code == 404 and answer.json()["error"]["code"].startswith("knowledge.unknown")


def test_a_second_index_is_built_compared_and_switched_to(
    http: TestClient, developer: Person, base: str
) -> None:
    at, question = f"/admin/knowledge/{base}", "When are goods brought?"
    text = "# Returns\n\nThirty days. Keep the receipt.\n\n# Delivery\n\nGoods are brought in two days."
    http.post(f"{at}/documents", files={"file": ("help.md", text.encode())})
    prepare(prepare_knowledge.base(developer, base))
    assert http.post(f"{at}/indexes/switch").status_code == 404
    for bad, field in (("x", "embedder"), ("ngram", "target_tokens")):
        given = {"embedder": bad, "target_tokens": 500}
        refused = http.post(f"{at}/indexes", json=given)
        assert refused.status_code == 400 and refused.json()["error"]["param"] == field
    started = http.post(f"{at}/indexes", json={"embedder": "ngram", "target_tokens": 40})
    assert started.status_code == 202 and run_queued_jobs() == 2
    assert http.post(f"{at}/indexes/compare").status_code == 400
    chunk = http.post(f"{at}/search", json={"question": question}).json()[0]["chunk_id"]
    http.post(f"{at}/questions", json={"question": question, "chunk_id": chunk})
    compared = http.post(f"{at}/indexes/compare")
    assert compared.status_code == 201
    assert [check["embedder"] for check in compared.json()] == [http.get(at).json()["embedder"], "ngram"]
    shown = http.get(f"{at}/indexes").json()
    assert (shown["lacking"], shown["left_behind"]) == (0, 0)
    assert shown["other_check"] == compared.json()[1] and shown["job"]["state"] == "succeeded"
    assert http.post(f"{at}/indexes/switch").json()["id"] == shown["other"]["id"]
    assert http.get(at).json()["index_id"] == shown["other"]["id"]
    assert http.delete(f"{at}/indexes/second").json() == {"deleted": True}
    assert http.get(f"{at}/indexes").json()["other"] is None


def test_documents_are_labelled_and_searches_kept_to_a_label(http: TestClient, base: str) -> None:
    at = f"/admin/knowledge/{base}"
    for name, text in (
        ("a.md", "# Price\n\nThe Heron tent is 289."),
        ("b.md", "# Price\n\nThe Wren tent is 99."),
    ):
        http.post(f"{at}/documents", files={"file": (name, text.encode())})
    http.post(f"{at}/chunking/start")
    run_queued_jobs()
    http.post(f"{at}/indexing/start")
    run_queued_jobs()
    first = http.get(f"{at}/documents").json()[0]
    labelled = http.patch(f"{at}/documents/{first['id']}", json={"labels": ["big"]})
    assert labelled.json() == first | {"labels": ["big"]}
    asked = {"question": "What is the price of the Wren tent?", "labels": ["big"]}
    assert [one["document_name"] for one in http.post(f"{at}/search", json=asked).json()] == ["a.md"]
    assert len(http.post(f"{at}/trace", json=asked).json()["words"]) == 1
    refused = http.post(f"{at}/search", json=asked | {"labels": ["small"]})
    assert refused.status_code == 400 and refused.json()["error"]["param"] == "labels"
