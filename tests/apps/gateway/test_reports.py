"""What a training leaves behind, through its routes: for its own tenant, as files, on both doors."""

from collections.abc import Callable

import pytest
import yaml
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.flows import train_expert
from engine.jobs.models import Job
from engine.kit.database import unit_of_work
from tests.support import make_person

Gateway = Callable[[Person | None], TestClient]
ROWS = b'{"question": "a?", "answer": "b."}\n{"question": "c?", "answer": "d."}\n'
RESULT = {"adapter_prefix": "adapters/r", "steps": 9, "loss": 0.5, "eval_loss": None}
FILES = ("report", "report?format=md&language=zh", "card", "registry", "registry?format=json")


@pytest.fixture
def job_id(gateway: Gateway, developer: Person) -> str:
    """A finished training of the developer's."""
    client = gateway(developer)
    answer = client.post("/admin/datasets", files={"file": ("a.jsonl", ROWS)}, data={"name": "<i>d</i>"})
    _, job = train_expert.start(developer, name="<b>Help</b>", dataset_id=answer.json()["id"])
    result = {**RESULT, "seconds": 1.0, "tokens": 90}
    with unit_of_work() as uow:
        row = uow.get(Job, job.id)
        assert row is not None
        row.state, row.result = "succeeded", result
        train_expert.finish(uow, job, result)
    return job.id


@pytest.mark.parametrize("file", FILES)
def test_every_file_comes_as_an_attachment_that_cannot_act(
    door: Gateway, developer: Person, job_id: str, file: str
) -> None:
    answer = door(developer).get(f"/admin/training/{job_id}/{file}")
    assert answer.status_code == 200 and "Help" in answer.text
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "sandbox" in policy and "script-src" not in policy
    assert "<b>Help" not in answer.text or not file.startswith(("report", "card"))


@pytest.mark.parametrize("file", FILES)
def test_nobody_else_gets_a_file(door: Gateway, developer: Person, job_id: str, file: str) -> None:
    path = f"/admin/training/{job_id}/{file}"
    assert door(make_person("rival@example.com", "developer")).get(path).status_code == 404
    assert door(make_person("guest@example.com", "consumer")).get(path).status_code == 403
    assert door(None).get(path).status_code == 401
    assert door(developer).get(path.replace(job_id, "job_none")).status_code == 404


def test_the_registry_of_all_holds_ones_own_experts_only(
    door: Gateway, developer: Person, job_id: str
) -> None:
    answer = door(developer).get("/admin/training/registry?format=yaml")
    assert [entry["title"] for entry in yaml.safe_load(answer.text)["models"]] == ["<b>Help</b>"]
    rival = door(make_person("rival@example.com", "developer")).get("/admin/training/registry?format=json")
    assert rival.json()["models"] == [] and rival.headers["content-type"].startswith("application/json")
    assert door(None).get("/admin/training/registry").status_code == 401


def test_languages_and_formats(door: Gateway, developer: Person, job_id: str) -> None:
    client, path = door(developer), f"/admin/training/{job_id}"
    assert 'lang="zh-CN"' in client.get(f"{path}/report?language=zh").text
    assert "基础模型" in client.get(f"{path}/card?language=zh").text
    for wrong in (f"{path}/report?format=exe", f"{path}/registry?format=xml"):
        refused = client.get(wrong)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "format")


def test_a_training_under_way_has_no_card_yet(gateway: Gateway, developer: Person) -> None:
    client = gateway(developer)
    answer = client.post("/admin/datasets", files={"file": ("a.jsonl", ROWS)}, data={"name": "d"})
    _, job = train_expert.start(developer, name="Help", dataset_id=answer.json()["id"])
    assert client.get(f"/admin/training/{job.id}/report").status_code == 200
    assert client.get(f"/admin/training/{job.id}/card").status_code == 409
    assert client.get(f"/admin/training/{job.id}/registry").status_code == 409
