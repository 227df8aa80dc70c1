import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from engine import worker
from engine.billing import service as billing
from engine.flows import meter_training, reconcile
from engine.jobs import service
from engine.jobs.schemas import JobView
from engine.kit import logs
from engine.kit.database import unit_of_work
from engine.kit.errors import InsufficientCredit
from engine.kit.money import CREDIT
from engine.kit.settings import settings

Start = Callable[[], "subprocess.Popen[bytes]"]


def submit(kind: str, **changes: Any) -> str:
    values = {"kind": kind, "person_id": "per_1", "tenant_id": "ten_1", "title": kind, "params": {}}
    with unit_of_work() as uow:
        return service.submit(uow, **(values | changes)).id


def see(job_id: str) -> JobView:
    with unit_of_work() as uow:
        return service.get(uow, job_id, "ten_1")


def do(verb: str, job_id: str) -> None:
    with unit_of_work() as uow:
        getattr(service, verb)(uow, job_id, "ten_1")


def wait(job_id: str, until: Callable[[JobView], bool], seconds: float = 120) -> JobView:
    deadline = time.monotonic() + seconds
    while not until(job := see(job_id)):
        assert time.monotonic() < deadline, job
        time.sleep(0.05)
    return job


def wait_for(job_id: str, *states: str) -> JobView:
    return wait(job_id, lambda job: job.state in states)


def wait_gone(pid: int, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


def rows(query: str) -> list[Any]:
    with unit_of_work() as uow:
        return list(uow.scalars(text(query)))


@pytest.fixture(autouse=True)
def tables(db: str) -> None:
    statements = (
        "create table counted (job_id text, step int, pid int)",
        "create table applause (job_id text)",
    )
    with unit_of_work() as uow:
        for statement in statements:
            uow.execute(text(statement))


@pytest.fixture
def prices(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor costs 1,000 credits an hour: the start of a process takes more than a tenth of one."""
    monkeypatch.setenv("MBE_CPU_HOUR_MICRO", str(1_000 * CREDIT))
    settings.cache_clear()
    with unit_of_work() as uow:
        uow.execute(
            text("insert into tenants (id, name, plan, created_at) values ('ten_1', 'One', 'pro', now())")
        )


def fill(amount_micro: int) -> None:
    with unit_of_work() as uow:
        key = f"top {amount_micro}"
        billing.top_up(uow, tenant_id="ten_1", amount_micro=amount_micro, key=key, by="per_1")


def charge_until_closed(meters: int) -> None:
    deadline = time.monotonic() + 60
    while len(rows("select key from billing_meters where state = 'closed'")) < meters:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert reconcile.compare().agrees


TRAINING: dict[str, Any] = {"queue": "training", "resource": "training"}


def test_a_training_whose_wallet_runs_dry_is_paused_by_its_worker_and_goes_on_when_it_is_filled(
    prices: None, start_worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "LAG", timedelta(0))
    fill(50_000)
    job = submit("count", params={"steps": 60, "pause": 0.1, "estimate_micro": 50_000}, **TRAINING)
    start_worker()
    wait(job, lambda job: bool(meter_training.chore()) and job.state != "running" and job.attempt == 1)
    paused = wait_for(job, "paused", "succeeded")
    assert paused.state == "paused" and paused.checkpoint == {"at": paused.done}
    assert f"at step {paused.done}." in (paused.error or "")
    charge_until_closed(1)
    assert rows("select balance_micro from billing_wallets") == [0]
    with pytest.raises(InsufficientCredit), unit_of_work() as uow:
        meter_training.resume(uow, job, "ten_1")
    fill(1_000 * CREDIT)
    with unit_of_work() as uow:
        meter_training.resume(uow, job, "ten_1")
    assert wait_for(job, "succeeded", "failed").state == "succeeded"
    charge_until_closed(2)
    assert rows("select sum(unpaid_micro) from billing_meters") == [0]


def test_an_attempt_that_is_killed_costs_what_it_had_measured(
    prices: None, start_worker: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "LAG", timedelta(0))
    fill(1_000 * CREDIT)
    job = submit("count", params={"steps": 20, "pause": 0.1, "die_after": 15}, **TRAINING)
    start_worker()
    assert wait_for(job, "succeeded", "failed").state == "succeeded"
    charge_until_closed(2)
    charged = rows("select charged_micro from billing_meters where unpaid_micro = 0")
    assert len(charged) == 2 and all(charged)
    assert rows("select balance_micro from billing_wallets") == [1_000 * CREDIT - sum(charged)]


def test_each_way_a_job_can_end(start_worker: Start, home: Path) -> None:
    trace = logs.bind_trace("tr-of-this-test")
    count = submit("count", params={"steps": 5, "pause": 0.3})
    train = submit("count", params={"steps": 1}, queue="training")
    refuse, crash, leave, spoil = (submit(kind) for kind in ("refuse", "crash", "leave", "spoil"))
    unknown, shoot = submit("dance"), submit("shoot")
    start_worker()

    halfway = wait(count, lambda job: 0 < job.done < 5)
    assert halfway.state == "running" and halfway.total == 5
    assert halfway.message == f"step {halfway.done}/5" and halfway.metrics == {"last": halfway.done - 1}
    done = wait_for(count, "succeeded", "failed")
    assert (done.state, done.done, done.result) == ("succeeded", 5, {"counted": 5, "loss": None})
    assert wait_for(train, "succeeded", "failed").state == "succeeded"

    refused = wait_for(refuse, "failed")
    assert "“refused”" in (refused.error or "") and "“refused”类型" in (refused.error_text("zh") or "")
    crashed = wait_for(crash, "failed")
    assert crash in (crashed.error or "") and "detail" not in (crashed.error or "")
    log = (home / "logs" / "jobs" / f"{crash}.log").read_text("utf-8")
    assert "a detail for the log only" in log
    assert json.loads(log.splitlines()[0])["trace_id"] == trace
    assert "exit code 7" in (wait_for(leave, "failed").error or "")
    assert "“boo”" in (wait_for(spoil, "failed").error or "")
    assert "“dance”" in (wait_for(unknown, "failed").error or "")
    shot = wait_for(shoot, "failed")
    assert shot.attempt == 3 and "signal 9" in (shot.error or "")

    assert sorted(rows("select job_id from applause")) == sorted([count, train])
    assert rows("select step from counted where job_id = '" + count + "' order by step") == [0, 1, 2, 3, 4]
    wait(count, lambda job: not (home / "jobs" / count).exists())
    wait(count, lambda job: rows("select status::text from procrastinate_jobs") == [])


def test_pause_then_resume_continues_from_the_checkpoint(start_worker: Start, home: Path) -> None:
    job = submit("count", params={"steps": 8, "pause": 0.15})
    start_worker()
    wait(job, lambda job: job.done >= 1)
    do("pause", job)
    paused = wait_for(job, "paused", "succeeded")
    assert paused.state == "paused" and paused.checkpoint == {"at": paused.done}
    assert (home / "jobs" / job / "note").exists()
    do("resume", job)
    assert wait_for(job, "succeeded", "failed").state == "succeeded"
    assert rows("select step from counted order by step") == list(range(8))
    assert len(rows("select distinct pid from counted")) == 2


def test_cancel_stops_a_running_job_for_good(start_worker: Start, home: Path) -> None:
    job = submit("count", params={"steps": 1000, "pause": 0.05})
    start_worker()
    wait(job, lambda job: job.done >= 1)
    do("cancel", job)
    cancelled = wait_for(job, "cancelled", "succeeded")
    assert cancelled.state == "cancelled" and cancelled.done < 1000 and cancelled.result is None
    assert rows("select job_id from applause") == []
    wait(job, lambda job: not (home / "jobs" / job.id).exists())


def test_a_cancelled_job_that_does_not_listen_is_ended(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_JOB_HEARTBEAT_TIMEOUT", "0.4")
    settings.cache_clear()
    monkeypatch.setattr(worker, "LINGER_GRACE", 0.3)
    job = submit("sleep")
    with unit_of_work() as uow:
        claim = service.claim(uow, job)
    assert claim

    async def watch_a_deaf_process() -> int:
        process = await asyncio.create_subprocess_exec("sleep", "60")
        watching = asyncio.create_task(worker.watch(process, claim, asyncio.Event()))
        await asyncio.sleep(1)
        assert not watching.done()
        await asyncio.to_thread(do, "cancel", job)
        return await asyncio.wait_for(watching, 20)

    assert asyncio.run(watch_a_deaf_process()) == -signal.SIGKILL


def test_a_killed_process_is_replaced_and_continues(start_worker: Start) -> None:
    job = submit("count", params={"steps": 4, "die_after": 1})
    start_worker()
    done = wait_for(job, "succeeded", "failed")
    assert (done.state, done.attempt) == ("succeeded", 2)
    assert rows("select step from counted order by step") == [0, 1, 2, 3]
    assert rows("select job_id from applause") == [job]


def test_kill_9_of_the_worker_loses_nothing_and_repeats_nothing(start_worker: Start) -> None:
    job = submit("count", params={"steps": 10, "pause": 0.15})
    first = start_worker()
    wait(job, lambda job: job.done >= 3)
    child = rows("select pid from counted limit 1")[0]
    first.kill()
    wait_gone(child)
    kept = see(job)
    assert kept.state == "running" and kept.checkpoint
    waiting = submit("count", params={"steps": 1})
    start_worker()
    start_worker()
    done = wait_for(job, "succeeded", "failed")
    assert (done.state, done.attempt) == ("succeeded", 2)
    assert rows(f"select step from counted where job_id = '{job}' order by step") == list(range(10))
    assert len(rows(f"select distinct pid from counted where job_id = '{job}'")) == 2
    assert wait_for(waiting, "succeeded", "failed").state == "succeeded"
    assert sorted(rows("select job_id from applause")) == sorted([job, waiting])
    wait(job, lambda job: rows("select status::text from procrastinate_jobs") == [])


def test_a_worker_that_comes_back_late_changes_nothing(start_worker: Start) -> None:
    job = submit("count", params={"steps": 16, "pause": 0.1})
    late = start_worker()
    wait(job, lambda job: job.done >= 1)
    child = rows("select pid from counted limit 1")[0]
    for pid in (late.pid, child):
        os.kill(pid, signal.SIGSTOP)
    try:
        start_worker()
        wait(job, lambda job: job.attempt == 2 and job.done >= 4)
    finally:
        for pid in (child, late.pid):
            os.kill(pid, signal.SIGCONT)
    wait_gone(child)
    assert wait_for(job, "succeeded", "failed").state == "succeeded"
    steps = "select step from counted order by step"
    assert rows(steps) == list(range(16))
    assert rows("select job_id from applause") == [job]


def test_a_stopped_worker_gives_its_jobs_back(start_worker: Start) -> None:
    polite = submit("count", params={"steps": 1000, "pause": 0.1})
    deaf = submit("sleep")
    process = start_worker()
    wait(polite, lambda job: job.done >= 2)
    pid = wait(deaf, lambda job: job.message == "asleep").metrics["pid"]
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert time.monotonic() - began < 6
    wait_gone(pid)
    for job in (polite, deaf):
        assert see(job).state == "queued"
    assert see(polite).checkpoint == {"at": len(rows("select step from counted"))}
    assert rows("select distinct status::text from procrastinate_jobs") == ["todo"]
    do("cancel", polite)
    do("cancel", deaf)
