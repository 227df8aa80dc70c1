"""Taking an expert along through the routes of the gateway, and of the pages' own origin."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.market.schemas import ExpertView
from tests.experts import as_if_merged, plain_adapter, trained_expert
from tests.hub import TOKEN, Hub
from tests.support import make_person

Gateway = Callable[[Person | None], TestClient]
PUSH = {"repo": "dana/shop", "token": TOKEN}


@pytest.fixture
def expert(developer: Person, tmp_path: Path) -> ExpertView:
    return trained_expert(developer, plain_adapter(tmp_path / "adapter"))


def test_a_merge_is_started_watched_and_refused_a_second_time(
    door: Gateway, developer: Person, expert: ExpertView
) -> None:
    client, path = door(developer), f"/admin/models/{expert.id}"
    assert client.get(f"{path}/merged").json() == {"ready": False, "size": 0, "files": {}, "job": None}
    started = client.post(f"{path}/merge")
    assert (started.status_code, started.json()["kind"]) == (202, "training.merge")
    assert client.get(f"{path}/merged").json()["job"]["id"] == started.json()["id"]
    assert client.post(f"{path}/merge").status_code == 409


def test_the_zip_comes_whole_with_its_length(door: Gateway, developer: Person, expert: ExpertView) -> None:
    client, path = door(developer), f"/admin/models/{expert.id}"
    assert client.get(f"{path}/merged.zip").status_code == 409
    files = as_if_merged(expert)
    state = client.get(f"{path}/merged").json()
    assert state["ready"] and state["size"] == sum(map(len, files.values()))
    answer = client.get(f"{path}/merged.zip?language=zh")
    assert answer.status_code == 200 and answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["content-disposition"] == 'attachment; filename="shop-helper-1.0.0.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as zipped:
        names = {name.partition("/")[2] for name in zipped.namelist()}
        assert names == {*files, "README.md", "registry.yaml"}
        assert "基础模型" in zipped.read("shop-helper-1.0.0/README.md").decode()


def test_a_push_is_private_unless_asked_otherwise(
    door: Gateway, developer: Person, expert: ExpertView, hub: Hub
) -> None:
    client, path = door(developer), f"/admin/models/{expert.id}/push"
    answer = client.post(path, json=PUSH)
    assert answer.status_code == 200 and hub.repos["dana/shop"].private
    assert answer.json()["address"] == f"{hub.address}/dana/shop" and TOKEN not in answer.text
    client.post(path, json={**PUSH, "repo": "dana/open", "private": False}).raise_for_status()
    assert not hub.repos["dana/open"].private


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"repo": "shop"}, 400, "repo"),
        ({"token": ""}, 400, "token"),
        ({"token": ["hf_secret"]}, 400, "token"),
        ({"token": "hf_nobody"}, 400, "token"),
        ({"repo": "otto/shop"}, 403, "repo"),
        ({"what": "merged"}, 409, None),
        ({"what": "all"}, 400, "what"),
        ({"privat": False}, 400, "privat"),
    ],
)
def test_what_is_wrong_with_a_push_is_said_without_its_token(
    gateway: Gateway,
    developer: Person,
    expert: ExpertView,
    hub: Hub,
    change: dict[str, object],
    status: int,
    field: str | None,
) -> None:
    answer = gateway(developer).post(f"/admin/models/{expert.id}/push", json={**PUSH, **change})
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, field)
    assert "hf_" not in answer.text and not hub.repos


def test_nobody_else_takes_it_along(
    door: Gateway, developer: Person, reviewer: Person, expert: ExpertView, hub: Hub
) -> None:
    as_if_merged(expert)
    people = (
        (make_person("rival@example.com", "developer", "reviewer"), 404),
        (reviewer, 403),
        (make_person("guest@example.com", "consumer"), 403),
        (None, 401),
    )
    for person, status in people:
        client, path = door(person), f"/admin/models/{expert.id}"
        answers = [
            client.get(f"{path}/merged"),
            client.get(f"{path}/merged.zip"),
            client.post(f"{path}/merge"),
        ]
        answers.append(client.post(f"{path}/push", json=PUSH))
        assert [answer.status_code for answer in answers] == [status] * 4
    assert not hub.asked
    evil = {"Origin": "https://evil.example"}
    answer = door(developer).post(f"/admin/models/{expert.id}/push", json=PUSH, headers=evil)
    assert answer.status_code == 403 and not hub.asked
