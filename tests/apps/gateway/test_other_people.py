"""Somebody else's things look as if they did not exist; a missing role is refused by name."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from tests.support import make_person, run_queued_jobs

Gateway = Callable[[Person | None], TestClient]


@pytest.fixture
def rival(db: str) -> Person:
    return make_person("rival@example.com", "developer")


def test_knowledge_data_and_jobs_of_another_tenant_are_not_found(
    gateway: Gateway, developer: Person, rival: Person
) -> None:
    mine, other = gateway(developer), gateway(rival)
    base = mine.post("/admin/knowledge", json={"name": "Help", "language": "en"}).json()["id"]
    document = mine.post(
        f"/admin/knowledge/{base}/documents", files={"file": ("a.md", b"# Returns\n\nThirty days.")}
    ).json()["id"]
    job = mine.post(f"/admin/knowledge/{base}/chunking/start").json()["id"]
    data = b'{"question": "a?", "answer": "b."}\n{"question": "c?", "answer": "d."}\n'
    dataset = mine.post("/admin/datasets", files={"file": ("a.jsonl", data)}, data={"name": "d"}).json()["id"]
    for method, path in (
        ("GET", f"/admin/knowledge/{base}"),
        ("GET", f"/admin/knowledge/{base}/documents"),
        ("GET", f"/admin/knowledge/{base}/chunks"),
        ("GET", f"/admin/knowledge/{base}/chunking/status"),
        ("GET", f"/admin/knowledge/{base}/indexing/snapshots"),
        ("GET", f"/admin/knowledge/{base}/questions"),
        ("GET", f"/admin/knowledge/{base}/checks"),
        ("POST", f"/admin/knowledge/{base}/checks"),
        ("POST", f"/admin/knowledge/{base}/calibration"),
        ("POST", f"/admin/knowledge/{base}/chunking/start"),
        ("GET", f"/admin/knowledge/{base}/indexes"),
        ("POST", f"/admin/knowledge/{base}/indexes/update"),
        ("POST", f"/admin/knowledge/{base}/indexes/compare"),
        ("POST", f"/admin/knowledge/{base}/indexes/switch"),
        ("DELETE", f"/admin/knowledge/{base}/indexes/second"),
        ("DELETE", f"/admin/knowledge/{base}/documents/{document}"),
        ("GET", f"/api/jobs/{job}"),
        ("POST", f"/api/jobs/{job}/cancel"),
        ("GET", f"/admin/datasets/{dataset}"),
        ("DELETE", f"/admin/datasets/{dataset}"),
    ):
        assert mine.get(f"/api/jobs/{job}").status_code == 200
        assert other.request(method, path).status_code == 404, (method, path)
    answer = other.post(f"/admin/knowledge/{base}/search", json={"question": "How many days?"})
    assert answer.status_code == 404
    started = other.post("/admin/training/start", json={"name": "x", "dataset_id": dataset})
    assert started.status_code == 404
    assert other.get("/admin/knowledge").json() == [] and other.get("/admin/datasets").json() == []


def test_a_knowledge_base_answers_once_it_is_prepared(gateway: Gateway, developer: Person) -> None:
    mine = gateway(developer)
    base = mine.post("/admin/knowledge", json={"name": "Help", "language": "zh"}).json()["id"]
    text = "# 退货\n\n云杉家电支持签收后三十天内退货。\n\n# 保修\n\n整机保修期为两年。"
    mine.post(f"/admin/knowledge/{base}/documents", files={"file": ("帮助.md", text.encode())})
    mine.post(f"/admin/knowledge/{base}/chunking/start")
    run_queued_jobs()
    mine.post(f"/admin/knowledge/{base}/indexing/start")
    run_queued_jobs()
    found = mine.post(f"/admin/knowledge/{base}/search", json={"question": "保修多久？"}).json()
    assert "两年" in found[0]["text"]
    assert text[found[0]["start"] : found[0]["end"]] == found[0]["text"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/admin/knowledge", {"name": "x", "language": "en"}),
        ("/admin/training/start", {"name": "x", "dataset_id": "y"}),
        ("/api/human-eval/campaigns", {"title": "x", "expert_ids": [], "questions": []}),
    ],
)
def test_a_consumer_is_not_a_developer(
    gateway: Gateway, consumer: Person, path: str, body: dict[str, object]
) -> None:
    answer = gateway(consumer).post(path, json=body)
    assert answer.status_code == 403
    assert "developer" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("amount", "code"),
    [("0", "billing.top_up_zero"), ("-1", "money.negative"), ("NaN", "money.not_a_number"), ("99999", None)],
)
def test_a_top_up_that_is_none_is_refused(
    gateway: Gateway, consumer: Person, amount: str, code: str | None
) -> None:
    answer = gateway(consumer).post("/api/wallet/top-up", json={"amount": amount, "key": "k"})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "amount"
    assert code is None or answer.json()["error"]["code"] == code
    assert gateway(consumer).get("/api/wallet").json()["balance_micro"] == 0


def test_a_repeated_top_up_counts_once(gateway: Gateway, consumer: Person) -> None:
    client = gateway(consumer)
    for _ in range(3):
        client.post("/api/wallet/top-up", json={"amount": "2.5", "key": "same click"})
    assert client.get("/api/wallet").json() == {"balance_micro": 2_500_000, "held_micro": 0, "owed_micro": 0}


@pytest.mark.parametrize(
    ("name", "data", "status"),
    [
        ("empty.md", b"", 400),
        ("picture.md", b"\x89PNG\r\n\x1a\n\xff\xfe\x00", 400),
        ("tool.exe", b"MZ", 400),
        ("../../etc/passwd.md", b"# Text\n\nHello there.", 201),
    ],
)
def test_documents_are_checked_and_stored_under_a_clean_name(
    gateway: Gateway, developer: Person, name: str, data: bytes, status: int
) -> None:
    mine = gateway(developer)
    base = mine.post("/admin/knowledge", json={"name": "Help", "language": "en"}).json()["id"]
    answer = mine.post(f"/admin/knowledge/{base}/documents", files={"file": (name, data)})
    assert answer.status_code == status
    assert len(mine.get(f"/admin/knowledge/{base}/documents").json()) == (status == 201)
    if status == 201:
        assert "/" not in answer.json()["name"] and ".." not in answer.json()["name"]


def test_a_dataset_without_a_usable_row_says_what_is_wrong(gateway: Gateway, developer: Person) -> None:
    mine = gateway(developer)
    rows = b'{"question": "a?", "answer": ""}\nnot json\n'
    answer = mine.post("/admin/datasets", files={"file": ("a.jsonl", rows)}, data={"on_bad": "keep_good"})
    assert answer.status_code == 400
    assert mine.get("/admin/datasets").json() == []


@pytest.mark.parametrize("price", ["-1", "NaN", "1e9", "a lot"])
def test_an_absurd_price_is_refused_by_name(
    gateway: Gateway, developer: Person, published: object, price: str
) -> None:
    mine = gateway(developer)
    expert = mine.get("/api/market/mine").json()[0]["id"]
    listing = {
        "title": "Help desk",
        "description": "Answers questions about orders.",
        "category": "customer-service",
        "input_price": price,
        "output_price": "1",
        "example": "How long do returns take?",
    }
    answer = mine.put(f"/api/market/experts/{expert}/listing", json=listing)
    assert answer.status_code in (400, 409)


def test_an_id_that_cannot_be_stored_is_refused_like_any_bad_value(
    gateway: Gateway, developer: Person
) -> None:
    answer = gateway(developer).get("/admin/knowledge/kb%00")
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "kit.unstorable"
