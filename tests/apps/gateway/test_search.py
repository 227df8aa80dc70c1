"""Searches through their routes: one's own only, refused by name, steered like any job."""

from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.flows import search_training
from engine.kit.database import unit_of_work
from engine.training import searches
from engine.training.schemas import SearchView
from engine.training.search import Choice
from tests.support import make_person

Gateway = Callable[[Person | None], TestClient]
ROWS = "".join(f'{{"question": "Q{n}", "answer": "A{n}"}}\n' for n in range(20)).encode()


@pytest.fixture
def body(gateway: Gateway, developer: Person) -> dict[str, object]:
    answer = gateway(developer).post("/admin/datasets", files={"file": ("a.jsonl", ROWS)}, data={"name": "d"})
    return {"name": "Help desk", "dataset_id": answer.json()["id"]}


def test_a_search_is_started_watched_paused_resumed_and_cancelled(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    client = gateway(developer)
    wanted = {**body, "space": {"rank": [8, 16], "epochs": [1, 4]}, "trials": 5, "recipe": {"batch_size": 2}}
    answer = client.post("/admin/training/search", json=wanted)
    assert answer.status_code == 202
    started = answer.json()
    assert started["search"]["space"]["rank"] == [8, 16] and started["search"]["space"]["trials"] == 5
    assert started["search"]["recipe"]["batch_size"] == 2
    job_id, search = started["job_id"], SearchView.model_validate(started["search"])
    with unit_of_work() as uow:
        run = searches.begin(uow, search, 1, Choice(8, 1e-3, 2))
        searches.end(uow, run, "done", {"loss": 1.0, "eval_loss": 2.0, "seconds": 3.0})
    found = client.get(f"/admin/training/search/{job_id}").json()
    assert found["job"]["id"] == job_id and found["best"] == run.id
    (trial,) = found["trials"]
    assert (trial["rank"], trial["epochs"], trial["ended"], trial["eval_loss"]) == (8, 2, "done", 2.0)
    assert client.get(f"/api/jobs/{job_id}").json()["line"]["number"] == 1
    for verb, state in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        assert client.post(f"/admin/training/{job_id}/{verb}").json()["state"] == state


@pytest.mark.parametrize(
    ("given", "param", "code"),
    [
        ({"trials": 1}, "trials", "search.bad_trials"),
        ({"trials": "many"}, "trials", "gateway.invalid"),
        ({"space": {"rank": []}}, "rank", "search.bad_ranks"),
        ({"space": {"epochs": [3]}}, "epochs", "search.no_range"),
        ({"space": {"alpha": [1, 2]}}, "alpha", "search.unknown_field"),
        ({"space": [1]}, "space", "gateway.invalid"),
        ({"trial": 3}, "trial", "gateway.invalid"),
        ({"name": " "}, "name", "training.bad_name"),
    ],
)
def test_what_cannot_be_searched_is_refused_at_its_field(
    gateway: Gateway,
    developer: Person,
    body: dict[str, object],
    given: dict[str, object],
    param: str,
    code: str,
) -> None:
    answer = gateway(developer).post("/admin/training/search", json={**body, **given})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code)
    assert search_training.listing(developer) == []


def test_another_tenant_finds_neither_search_nor_data(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    job_id = gateway(developer).post("/admin/training/search", json=body).json()["job_id"]
    rival = gateway(make_person("rival@example.com", "developer"))
    assert rival.post("/admin/training/search", json=body).status_code == 404
    for method, path in (
        ("GET", f"/admin/training/search/{job_id}"),
        ("GET", f"/admin/training/{job_id}/report"),
        ("POST", f"/admin/training/{job_id}/pause"),
        ("POST", f"/admin/training/{job_id}/cancel"),
    ):
        assert rival.request(method, path).status_code == 404, path
    consumer = gateway(make_person("con@example.com", "consumer"))
    assert consumer.get(f"/admin/training/search/{job_id}").status_code == 403
