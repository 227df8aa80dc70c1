"""Starting, steering and asking a training through its routes, and what is refused by name."""

from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.flows import meter_training, schedule_jobs, train_expert
from engine.jobs import service as jobs
from engine.jobs.models import Job
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.settings import settings
from engine.training import service as training
from engine.training.schemas import Point, Sample
from tests.engine.flows.test_try_checkpoint import write
from tests.support import make_person

Gateway = Callable[[Person | None], TestClient]
ROWS = b'{"question": "a?", "answer": "b."}\n{"question": "c?", "answer": "d."}\n'


def new_base(client: TestClient) -> str:
    return str(client.post("/admin/knowledge", json={"name": "Help", "language": "en"}).json()["id"])


@pytest.fixture
def body(gateway: Gateway, developer: Person) -> dict[str, object]:
    answer = gateway(developer).post("/admin/datasets", files={"file": ("a.jsonl", ROWS)}, data={"name": "d"})
    return {"name": "Help desk", "dataset_id": answer.json()["id"]}


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_training_takes_several_knowledge_bases(
    gateway: Gateway, developer: Person, body: dict[str, object], count: int
) -> None:
    client = gateway(developer)
    kb_ids = [new_base(client) for _ in range(count)]
    answer = client.post("/admin/training/start", json={**body, "kb_ids": kb_ids})
    assert answer.status_code == 202 and answer.json()["run"]["knowledge_base_ids"] == kb_ids
    status = client.get(f"/admin/training/{answer.json()['job_id']}/status").json()
    assert status["run"]["knowledge_base_ids"] == kb_ids


def test_without_the_field_a_training_has_no_knowledge(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    answer = gateway(developer).post("/admin/training/start", json=body)
    assert answer.status_code == 202 and answer.json()["run"]["knowledge_base_ids"] == []


@pytest.mark.parametrize(
    ("kb_ids", "status", "code"),
    [
        ([f"kb_{n}" for n in range(11)], 400, "training.too_many_bases"),
        (["kb_1", "kb_1"], 400, "training.base_twice"),
        (["kb_none"], 404, "training.unknown_base"),
        ([""], 404, "training.unknown_base"),
        ("kb_1", 400, "gateway.invalid"),
        (None, 400, "gateway.invalid"),
    ],
)
def test_what_are_no_bases_is_refused_at_the_field(
    gateway: Gateway, developer: Person, body: dict[str, object], kb_ids: object, status: int, code: str
) -> None:
    client = gateway(developer)
    answer = client.post("/admin/training/start", json={**body, "kb_ids": kb_ids})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (status, "kb_ids", code)
    assert train_expert.runs(developer) == []


def test_a_base_of_another_tenant_is_refused_beside_ones_own(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    client, other = gateway(developer), gateway(make_person("rival@example.com", "developer"))
    kb_ids = [new_base(client), new_base(other)]
    answer = client.post("/admin/training/start", json={**body, "kb_ids": kb_ids})
    assert (answer.status_code, answer.json()["error"]["param"]) == (404, "kb_ids")
    assert kb_ids[1] in answer.json()["error"]["message"]


def test_a_field_that_is_none_is_refused_instead_of_training_without_it(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    answer = gateway(developer).post("/admin/training/start", json={**body, "kb_id": "kb_1"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "kb_id")


def test_a_preview_says_what_would_be_trained_and_starts_nothing(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    client = gateway(developer)
    wanted = {"dataset_id": body["dataset_id"], "recipe": {"epochs": 2}}
    found = client.post("/admin/training/preview", json=wanted).json()
    assert found["fits"] and found["recipe"]["epochs"] == 2 and found["estimate"]["memory"] > 2**30
    assert any(piece["learnt"] for piece in found["shown"][0]["pieces"])
    assert train_expert.runs(developer) == []
    other = gateway(make_person("other@example.com", "developer"))
    assert other.post("/admin/training/preview", json=wanted).status_code == 404
    assert client.post("/admin/training/preview", json={**wanted, "name": "x"}).status_code == 400


def test_questions_are_kept_with_the_run_and_their_answers_come_with_its_status(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    client = gateway(developer)
    started = client.post("/admin/training/start", json={**body, "questions": ["Open on Sunday?"]}).json()
    run_id, path = started["run"]["id"], f"/admin/training/{started['job_id']}/status"
    assert client.get(path).json()["samples"] == []
    sample = Sample(step=3, number=0, question="Open on Sunday?", answer="Yes.")
    with unit_of_work() as uow:
        training.add_points(uow, run_id, [Point(step=3, epoch=1.0, loss=1.0, memory=7)])
        training.add_samples(uow, run_id, [sample])
    status = client.get(path).json()
    assert status["run"]["questions"] == ["Open on Sunday?"]
    assert status["samples"] == [sample.model_dump()] and status["curve"][0]["memory"] == 7


@pytest.mark.parametrize(
    ("questions", "code"),
    [
        (["?"] * 6, "training.too_many_questions"),
        (["x" * 501], "training.bad_question"),
        (["a", "a"], "training.question_twice"),
        ("a", "gateway.invalid"),
    ],
)
def test_what_are_no_questions_is_refused_at_the_field(
    gateway: Gateway, developer: Person, body: dict[str, object], questions: object, code: str
) -> None:
    answer = gateway(developer).post("/admin/training/start", json={**body, "questions": questions})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "questions", code)
    assert train_expert.runs(developer) == []


def test_trainings_are_compared_for_their_own_tenant_only(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    client = gateway(developer)
    recipes = [{"epochs": epochs} for epochs in (2, 3)]
    started = [client.post("/admin/training/start", json={**body, "recipe": recipe}) for recipe in recipes]
    ids = [answer.json()["run"]["id"] for answer in started]
    found = client.get("/admin/training/compare", params={"runs": ",".join(ids)}).json()
    assert [run["run_id"] for run in found["runs"]] == ids
    assert found["settings"] == [{"name": "epochs", "values": [2, 3]}]
    assert (found["comparable"], found["verdict"], found["lowest"]) == (True, "not_measured", None)
    rival = gateway(make_person("rival@example.com", "developer"))
    for asking, runs, status in (
        (rival, ",".join(ids), 404),
        (client, f"{ids[0]},run_none", 404),
        (client, ids[0], 400),
        (client, "", 400),
        (gateway(None), ",".join(ids), 401),
    ):
        answer = asking.get("/admin/training/compare", params={"runs": runs})
        assert answer.status_code == status
    assert client.get("/admin/training/compare").status_code == 400


def test_a_waiting_training_tells_its_place_in_line(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    client = gateway(developer)
    first, second = (client.post("/admin/training/start", json=body).json()["job_id"] for _ in range(2))
    line = client.get(f"/api/jobs/{second}").json()["line"]
    assert (line["number"], line["reason"], line["score"]) == (2, "turn", 100)
    assert client.post(f"/api/jobs/{first}/cancel").json()["state"] == "cancelled"
    assert client.get(f"/api/jobs/{second}").json()["line"]["number"] == 1
    assert client.get(f"/api/jobs/{first}").json()["line"] is None


PAIRS = (
    b'{"prompt": "a?", "chosen": "b.", "rejected": "x."}\n'
    b'{"prompt": "c?", "chosen": "d.", "rejected": "y."}\n'
)


@pytest.mark.parametrize(("file", "status"), [(PAIRS, 202), (ROWS, 400)])
def test_preferences_are_learnt_from_where_there_are_some(
    gateway: Gateway, developer: Person, file: bytes, status: int
) -> None:
    client = gateway(developer)
    dataset = client.post("/admin/datasets", files={"file": ("p.jsonl", file)}, data={"name": "p"}).json()
    body = {"name": "Polite", "dataset_id": dataset["id"], "method": "dpo", "recipe": {"beta": 0.3}}
    answer = client.post("/admin/training/start", json=body)
    assert answer.status_code == status
    if status == 202:
        recipe = answer.json()["run"]["recipe"]
        assert (recipe["method"], recipe["beta"]) == ("dpo", 0.3)
        seen = client.post("/admin/training/preview", json={k: v for k, v in body.items() if k != "name"})
        assert {one["good"] for one in seen.json()["shown"]} == {True, False}
    else:
        assert answer.json()["error"]["param"] == "method"


def test_a_prompt_is_measured_and_only_its_own_tenant_reads_it(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    client = gateway(developer)
    given = {**body, "template": "Be brief.", "questions": ["a?"]}
    answer = client.post("/admin/training/prompt", json=given)
    assert answer.status_code == 202
    job_id = answer.json()["job_id"]
    status = client.get(f"/admin/training/{job_id}/status").json()
    assert status["run"]["recipe"]["template"] == "Be brief." and status["job"]["kind"] == "training.prompt"
    other = gateway(make_person("rival@example.com", "developer"))
    assert other.get(f"/admin/training/{job_id}/status").status_code == 404
    assert other.post("/admin/training/prompt", json=given).status_code == 404
    assert client.post(f"/admin/training/{job_id}/cancel").json()["state"] == "cancelled"


@pytest.mark.parametrize(
    ("changes", "param"), [({"template": "{here} {question}"}, "template"), ({"prompt": "x"}, "prompt")]
)
def test_a_prompt_at_fault_is_refused_by_name(
    gateway: Gateway, developer: Person, body: dict[str, object], changes: dict[str, str], param: str
) -> None:
    answer = gateway(developer).post("/admin/training/prompt", json={**body, "template": "x", **changes})
    assert answer.status_code == 400 and param in answer.json()["error"]["param"]


QUESTION = {"messages": [{"role": "user", "content": "Open on Sunday?"}]}


def test_a_checkpoint_is_listed_and_answers_its_own_tenant(
    gateway: Gateway, developer: Person, body: dict[str, object], tmp_path: Path
) -> None:
    client = gateway(developer)
    job_id = client.post("/admin/training/start", json=body).json()["job_id"]
    path = f"/admin/training/{job_id}/checkpoints"
    assert client.get(path).json() == []
    run = train_expert.watch_job(developer, job_id)[0]
    write(run, 3, tmp_path / "work", eval_loss=1.5)
    (found,) = client.get(path).json()
    assert (found["step"], found["eval_loss"], found["best"], found["newest"]) == (3, 1.5, True, True)
    assert set(found) == {"step", "epoch", "eval_loss", "seconds", "tokens", "size", "newest", "best"}
    answer = client.post(f"{path}/3/chat", json=QUESTION).json()
    assert answer["text"] and answer["usage"]["total_tokens"] > 0 and answer["passages"] == []
    assert (answer["step"], answer["finish_reason"]) == (3, "stop")
    rival = gateway(make_person("rival@example.com", "developer"))
    assert rival.get(path).status_code == rival.post(f"{path}/3/chat", json=QUESTION).status_code == 404


@pytest.mark.parametrize(
    ("step", "given", "status", "code"),
    [
        ("3", {"messages": []}, 400, "gateway.invalid"),
        ("3", {}, 400, "gateway.invalid"),
        ("3", {**QUESTION, "model": "x"}, 400, "gateway.invalid"),
        ("3", {"messages": [{"role": "user", "content": " "}]}, 400, "chat.no_question"),
        ("3", {"messages": [{"role": "assistant", "content": "Yes."}]}, 400, "chat.no_question"),
        ("3", {"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 400, "chat.bad_message"),
        ("4", QUESTION, 404, "training.no_checkpoint"),
        ("-1", QUESTION, 404, "training.no_checkpoint"),
        ("last", QUESTION, 400, "gateway.invalid"),
    ],
)
def test_what_is_no_question_to_a_checkpoint_is_refused_by_name(
    gateway: Gateway,
    developer: Person,
    body: dict[str, object],
    step: str,
    given: object,
    status: int,
    code: str,
) -> None:
    client = gateway(developer)
    job_id = client.post("/admin/training/start", json=body).json()["job_id"]
    answer = client.post(f"/admin/training/{job_id}/checkpoints/{step}/chat", json=given)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_pausing_and_cancelling_state_their_cost(
    gateway: Gateway, developer: Person, body: dict[str, object]
) -> None:
    client = gateway(developer)
    job_id = client.post("/admin/training/start", json=body).json()["job_id"]
    with unit_of_work() as uow:
        row = uow.get(Job, job_id)
        assert row is not None
        row.done, row.checkpoint, row.metrics = 30, {"step": 20}, {"seconds": 60.0}
    cost = {
        "seconds_spent": 0.0,
        "spent_of": "cpu",
        "kept_step": 20,
        "steps_since": 10,
        "seconds_since": 20.0,
        "charged_micro": 0,
        "unpaid_micro": 0,
    }
    assert client.get(f"/admin/training/{job_id}/status").json()["cost"] == cost
    assert client.get(f"/api/jobs/{job_id}").json()["cost"] == cost
    for root in (f"/admin/training/{job_id}", f"/api/jobs/{job_id}"):
        paused = client.post(f"{root}/pause").json()
        assert (paused["state"], paused["cost"]) == ("paused", cost)
        assert "cost" not in client.post(f"{root}/resume").json()
    cancelled = client.post(f"/admin/training/{job_id}/cancel").json()
    assert (cancelled["state"], cancelled["id"], cancelled["cost"]) == ("cancelled", job_id, cost)


def test_a_training_says_its_price_before_asks_for_it_and_tells_what_it_was_charged(
    gateway: Gateway, developer: Person, body: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_CPU_HOUR_MICRO", "3600000")
    settings.cache_clear()
    client = gateway(developer)
    wanted = {name: value for name, value in body.items() if name != "name"}
    price = client.post("/admin/training/preview", json=wanted).json()["price"]
    assert price["free"] is False and price["missing_micro"] == price["needed_micro"] > 0
    assert price["estimate_micro"] == price["needed_micro"] and price["balance_micro"] == 0
    for path in ("start", "search"):
        refused = client.post(f"/admin/training/{path}", json=body)
        assert refused.status_code == 402
        assert refused.json()["error"]["code"] == "machine.too_little_to_start_add"
        assert "play credits" in refused.json()["error"]["message"]
    client.post("/api/wallet/top-up", json={"amount": "50", "key": "k"}).raise_for_status()
    job_id = client.post("/admin/training/start", json=body).json()["job_id"]
    claim = schedule_jobs.next_job(("training",), "here")
    assert claim is not None and claim.job.id == job_id
    with unit_of_work() as uow:
        jobs.beat(uow, job_id, claim.token, cpu_ms=60_000_000)
    meter_training.chore()
    seen = client.get(f"/api/jobs/{job_id}").json()
    assert (seen["state"], seen["charged_micro"]) == ("pausing", 50_000_000)
    assert seen["cost"]["unpaid_micro"] == 10_000_000 and "Credits ran out" in seen["error"]
    with unit_of_work() as uow:
        jobs.ended(uow, job_id, claim.token, code=75, handed_back=True, stopping=False)
    for path in (f"/api/jobs/{job_id}", f"/admin/training/{job_id}"):
        refused = client.post(f"{path}/resume")
        assert refused.status_code == 402 and "Resume" in refused.json()["error"]["message"]
    today = now().date().isoformat()
    movements = client.get("/api/statements", params={"from": today, "to": today}).json()["movements"]
    assert movements == {"top_up": 50_000_000, "training": -50_000_000}
    assert (
        gateway(make_person("other@example.com", "developer")).get(f"/api/jobs/{job_id}").status_code == 404
    )
