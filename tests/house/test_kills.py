"""What happens when processes are killed without warning."""

import os
import signal
import threading
import time

from tests.house.conftest import House, Story, ask, eventually, start_training, top_up


def test_a_worker_killed_during_training_costs_no_checkpointed_step(house: House, story: Story) -> None:
    """kill -9 of the worker: the job's process dies with it, another worker goes on from the checkpoint.

    The demo must be over: its jobs would die too, and lose time.
    """
    developer = house.enter("developer")
    job_id = start_training(developer, epochs=4)

    def job() -> dict:  # type: ignore[type-arg]
        return dict(developer.get(f"/api/jobs/{job_id}").json())

    eventually("a checkpoint", lambda: bool(job()["checkpoint"]) or job()["state"] == "failed")
    before = job()
    assert before["state"] == "running", before["error"]
    children = house.descendants("engine.jobs.child")
    for worker in house.descendants("engine.worker"):
        worker.kill()
    eventually("the job's process to die with its worker", lambda: not any(c.is_running() for c in children))
    eventually("the training to finish", lambda: job()["state"] in ("succeeded", "failed"))
    after = job()
    assert after["state"] == "succeeded", after["error"]
    assert after["attempt"] == 2
    steps = [p["step"] for p in developer.get(f"/admin/training/{job_id}/status").json()["curve"]]
    assert steps == sorted(set(steps)), "a step was recorded twice"
    assert steps[-1] == after["total"]


def test_a_model_server_killed_during_a_chat_costs_nothing_undelivered_and_comes_back(
    house: House, expert: str
) -> None:
    consumer = house.enter("consumer")
    top_up(consumer)
    before = len(consumer.get("/api/receipts", params={"limit": 500}).json())
    servers = house.descendants("vllm.entrypoints") + house.descendants("engine.inference.fallback")
    assert servers

    answers: list[int] = []
    asking = threading.Thread(
        target=lambda: [answers.append(ask(consumer, expert).status_code) for _ in range(20)]
    )
    asking.start()
    time.sleep(0.3)
    for process in servers:
        os.kill(process.pid, signal.SIGKILL)
    asking.join()
    assert set(answers) <= {200, 502, 503}
    assert 200 not in answers[-1:], "the server died, yet the last call was answered"
    wallet = consumer.get("/api/wallet").json()
    assert wallet["held_micro"] == 0, "a hold was left behind"
    receipts = consumer.get("/api/receipts", params={"limit": 500}).json()
    for receipt in receipts[: len(receipts) - before]:
        assert receipt["charged_micro"] == 0 or receipt["usage"]["output_tokens"] > 0
    eventually("the model server to come back", lambda: ask(consumer, expert).status_code == 200)
    assert consumer.get("/api/ledger/sum").json() == {"sum_micro": 0}


def test_a_caller_who_leaves_pays_once_for_the_words_that_came(house: House, expert: str) -> None:
    consumer = house.enter("consumer")
    top_up(consumer)
    before = {receipt["id"] for receipt in consumer.get("/api/receipts", params={"limit": 500}).json()}
    body = {
        "model": expert,
        "stream": True,
        "temperature": 1.5,
        "max_tokens": 1000,
        "stop": ["never said"],
        "messages": [{"role": "user", "content": "Tell me everything."}],
    }
    with consumer.stream("POST", "/v1/chat/completions", json=body) as answer:
        for line in answer.iter_lines():
            if '"content": "' in line and '"content": ""' not in line:
                break

    def new() -> list[dict]:  # type: ignore[type-arg]
        found = consumer.get("/api/receipts", params={"limit": 500}).json()
        return [receipt for receipt in found if receipt["id"] not in before]

    eventually("the call to be settled", lambda: bool(new()), patience=30)
    (receipt,) = new()
    assert receipt["state"] == "settled"
    assert 0 < receipt["charged_micro"] <= receipt["held_micro"]
    assert consumer.get("/api/wallet").json()["held_micro"] == 0
