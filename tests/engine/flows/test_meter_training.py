"""Trainings are charged for their time, asked for before they start, and paused without credits."""

import json
import math
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from sqlalchemy import text

from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.flows import (
    import_dataset,
    meter_training,
    preview_training,
    price_training,
    prompt_expert,
    reconcile,
    schedule_jobs,
    search_training,
    train_expert,
)
from engine.flows.prepare_knowledge import change_job
from engine.jobs import machines
from engine.jobs import service as jobs
from engine.jobs.schemas import Claim, FoundDevice, JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import InsufficientCredit
from engine.kit.messages import LANGUAGES
from engine.kit.settings import settings
from tests.support import make_person

HOUR = 3_600_000
CPU_HOUR, GPU_HOUR = 300_000, 6_000_000


@pytest.fixture(autouse=True)
def prices(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_CPU_HOUR_MICRO", str(CPU_HOUR))
    monkeypatch.setenv("MBE_GPU_HOUR_MICRO", str(GPU_HOUR))
    settings.cache_clear()


@pytest.fixture
def dataset_id(dana: Person) -> str:
    rows = [{"question": f"Question {n}?", "answer": f"Answer {n}."} for n in range(40)]
    data = "\n".join(map(json.dumps, rows)).encode()
    return import_dataset.import_file(dana, name="Talks", filename="t.jsonl", source=BytesIO(data)).id


def fill(person: Person, amount: int, key: str = "top") -> None:
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=person.tenant_id, amount_micro=amount, key=key, by=person.id)


def free(person: Person) -> int:
    with unit_of_work() as uow:
        return billing.balance(uow, person.tenant_id)


def submit(person: Person, *, resource: str = "training", **changes: Any) -> JobView:
    values: dict[str, Any] = {"kind": "training.sft", "title": "Shop", "params": {}, "queue": "training"}
    with unit_of_work() as uow:
        values |= {"person_id": person.id, "tenant_id": person.tenant_id, "resource": resource}
        return jobs.submit(uow, **(values | changes))


def see(job: JobView) -> JobView:
    with unit_of_work() as uow:
        return jobs.get(uow, job.id, job.tenant_id)


def take() -> Claim:
    claim = schedule_jobs.next_job(("training",), "here")
    assert claim is not None
    return claim


def measure(claim: Claim, cpu_ms: int) -> None:
    with unit_of_work() as uow:
        jobs.beat(uow, claim.job.id, claim.token, cpu_ms=cpu_ms)


def end(claim: Claim, code: int = -9) -> str | None:
    with unit_of_work() as uow:
        state = jobs.ended(uow, claim.job.id, claim.token, code=code, handed_back=False, stopping=False)
    meter_training.ended(claim.job.id, claim.token)
    return state


def test_each_attempt_is_charged_while_it_runs_and_at_its_end_whatever_ends_it(dana: Person) -> None:
    fill(dana, 1_000_000)
    job = submit(dana)
    first = take()
    measure(first, HOUR // 10)
    assert meter_training.chore() == 1 and meter_training.chore() == 1
    assert free(dana) == 970_000
    measure(first, HOUR // 5)
    assert end(first) == "queued"  # its process was killed: the attempt costs what it had measured
    assert free(dana) == 940_000
    second = take()
    measure(second, 1)
    end(second, code=1)
    assert schedule_jobs.cost(see(job)).charged_micro == 60_001 and free(dana) == 939_999
    assert meter_training.chore() == 0


def test_an_attempt_whose_worker_is_lost_is_charged_by_the_next(dana: Person) -> None:
    fill(dana, 1_000_000)
    job = submit(dana)
    claim = take()
    measure(claim, HOUR)
    with unit_of_work() as uow:
        uow.execute(text("update jobs set heartbeat_at = now() - interval '5 minutes'"))
        uow.execute(text("update job_attempts set started_at = now() - interval '9 minutes'"))
    with unit_of_work() as uow:
        assert jobs.rescue(uow, 60) == [job.id]
    assert meter_training.chore() == 1 and meter_training.chore() == 0
    assert free(dana) == 1_000_000 - CPU_HOUR


def test_a_gpu_is_charged_by_the_clock_with_the_processor_that_feeds_it(dana: Person) -> None:
    fill(dana, 10_000_000)
    with unit_of_work() as uow:
        machines.register(uow, "here", 1, [FoundDevice(number=0, name="Card", memory=2**34)])
    submit(dana, memory=2**30)
    claim = take()
    assert claim.job.device_id == "here/0"
    measure(claim, HOUR // 10)
    with unit_of_work() as uow:
        uow.execute(text("update job_attempts set started_at = now() - interval '1 hour'"))
        uow.execute(text("update jobs set heartbeat_at = now() - interval '30 minutes'"))
    meter_training.chore()
    # While it runs, the GPU's time counts up to the last sign of life.
    half = GPU_HOUR // 2 + CPU_HOUR // 10
    assert half <= 10_000_000 - free(dana) <= half + GPU_HOUR // 3600
    end(claim)
    with unit_of_work() as uow:
        query = "select extract(epoch from ended_at - started_at) * 1000 from job_attempts"
        took = round(uow.scalar(text(query)) or 0)
    exact = math.ceil((took * GPU_HOUR + HOUR // 10 * CPU_HOUR) / HOUR)
    assert 10_000_000 - free(dana) == exact


def test_other_jobs_cost_nothing(dana: Person) -> None:
    submit(dana, kind="training.merge", resource="other", queue="low")
    claim = schedule_jobs.next_job(("low",), "here")
    assert claim is not None and not schedule_jobs.cost(claim.job).charged_micro
    measure(claim, HOUR)
    end(claim, code=1)
    assert meter_training.chore() == 0 and free(dana) == 0


def test_a_training_whose_wallet_runs_dry_is_paused_and_goes_on_once_it_is_filled(dana: Person) -> None:
    fill(dana, 100_000)
    job = submit(dana)
    claim = take()
    with unit_of_work() as uow:
        jobs.write(uow, job.id, claim.token, {"done": 7, "checkpoint": {"step": 7}})
    measure(claim, HOUR // 2)
    meter_training.chore()
    pausing = see(job)
    assert pausing.state == "pausing" and "at step 7." in (pausing.error or "")
    with unit_of_work() as uow:
        jobs.write(uow, job.id, claim.token, {"done": 8})
    measure(claim, HOUR * 3 // 5)
    assert end(claim, code=75) == "paused"
    paused = see(job)
    assert paused.checkpoint == {"step": 7} and "第 8 步" in (paused.error_text("zh") or "")
    cost = schedule_jobs.cost(paused)
    assert (cost.charged_micro, cost.unpaid_micro, free(dana)) == (100_000, 80_000, 0)

    with pytest.raises(InsufficientCredit) as refusal:
        change_job(dana, job.id, jobs.resume)
    soon = CPU_HOUR // 12
    assert refusal.value.facts == {"needed": "0.105", "balance": "0.00", "missing": "0.105"}
    fill(dana, 80_000 + soon - 1, "nearly")
    with pytest.raises(InsufficientCredit, match="0.000001"):
        change_job(dana, job.id, jobs.resume)
    assert schedule_jobs.cost(paused).unpaid_micro == 80_000
    fill(dana, 1, "enough")
    resumed = change_job(dana, job.id, jobs.resume)
    assert (resumed.state, resumed.error, free(dana)) == ("queued", None, soon)
    assert schedule_jobs.cost(resumed).charged_micro == 180_000
    claim = take()
    measure(claim, HOUR // 100)
    with unit_of_work() as uow:
        done = jobs.succeed(uow, job.id, claim.token, {})
    meter_training.ended(job.id, claim.token)
    assert done.error is None and free(dana) == soon - CPU_HOUR // 100


def test_a_training_that_ends_before_it_could_be_paused_has_ended(dana: Person) -> None:
    fill(dana, 30_000)
    job = submit(dana)
    claim = take()
    measure(claim, HOUR)
    meter_training.chore()
    with unit_of_work() as uow:
        jobs.succeed(uow, job.id, claim.token, {})
    meter_training.ended(job.id, claim.token)
    assert (see(job).state, see(job).error) == ("succeeded", None)
    # What it was not paid is asked for by whatever the tenant trains next.
    with unit_of_work() as uow, pytest.raises(InsufficientCredit):
        price_training.require(uow, dana.tenant_id, 0, device=False)
    fill(dana, 290_000, "more")
    with unit_of_work() as uow:
        price_training.require(uow, dana.tenant_id, 5, device=False)
    assert free(dana) == 20_000 and schedule_jobs.cost(see(job)).unpaid_micro == 0


def test_the_rest_of_an_estimate_is_enough_to_go_on(dana: Person) -> None:
    fill(dana, 1_000)
    job = submit(dana, params={"estimate_micro": 1_000})
    assert take().job.id == job.id


def test_a_waiting_training_without_credits_is_paused_and_keeps_nobody_back(dana: Person) -> None:
    rich = make_person("rich@example.com", "developer")
    fill(rich, 1_000_000)
    poor, other = submit(dana), submit(rich)
    assert take().job.id == other.id
    assert see(poor).state == "paused" and "too few credits" in (see(poor).error or "")
    assert schedule_jobs.next_job(("training",), "here") is None


def test_the_price_is_said_before_and_asked_for_at_every_door(dana: Person, dataset_id: str) -> None:
    given: dict[str, Any] = {"dataset_id": dataset_id, "preset": "quick", "changes": {"epochs": 20}}
    price = preview_training.preview(dana, **given).price
    assert not price.free and price.estimate_micro and price.missing_micro == price.needed_micro
    assert (price.needed_micro, price.balance_micro) == (price.estimate_micro, 0)
    several = search_training.outlook(dana, **given, space={"trials": 8}).price
    assert several.needed_micro > 0
    template = "Answer {question}."
    starts = (
        lambda: train_expert.start(dana, name="Shop", **given),
        lambda: search_training.start(dana, name="Shop", **given, space={"trials": 8}),
        lambda: prompt_expert.start(dana, name="Shop", template=template, dataset_id=dataset_id),
    )
    for begin in starts:
        with pytest.raises(InsufficientCredit) as refusal:
            begin()
        assert set(refusal.value.facts) == {"needed", "balance", "missing"}
        assert "play credits" in refusal.value.message("en") and "体验点数" in refusal.value.message("zh")
    with unit_of_work() as uow:
        assert jobs.listing(uow, dana.tenant_id) == []
    fill(dana, 5_000_000)
    _, job = train_expert.start(dana, name="Shop", **given)
    assert job.params["estimate_micro"] > 0 and free(dana) == 5_000_000
    for begin in starts[1:]:
        begin()


def test_without_an_estimate_five_minutes_are_asked_for(dana: Person, dataset_id: str) -> None:
    with unit_of_work() as uow:
        machines.register(uow, "gpu", 2, [FoundDevice(number=0, name="Card", memory=24 * 2**30)])
    price = preview_training.preview(dana, dataset_id=dataset_id).price
    assert price.estimate_micro is None and price.needed_micro == (GPU_HOUR + CPU_HOUR) // 12
    fill(dana, price.needed_micro - 1)
    with pytest.raises(InsufficientCredit, match="Nobody can tell"):
        train_expert.start(dana, name="Shop", dataset_id=dataset_id)
    fill(dana, 1, "more")
    assert "estimate_micro" not in train_expert.start(dana, name="Shop", dataset_id=dataset_id)[1].params


@pytest.mark.parametrize("language", LANGUAGES)
def test_where_credits_are_sold_nobody_is_sent_for_play_credits(
    dana: Person, dataset_id: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_PLAY_CREDITS", "false")
    settings.cache_clear()
    with pytest.raises(InsufficientCredit) as refusal:
        train_expert.start(dana, name="Shop", dataset_id=dataset_id)
    words = refusal.value.message(language)
    assert "play credits" not in words and "体验点数" not in words


def test_where_machine_time_is_free_nothing_is_asked_or_charged(
    dana: Person, dataset_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MBE_CPU_HOUR_MICRO", "MBE_GPU_HOUR_MICRO"):
        monkeypatch.setenv(name, "0")
    settings.cache_clear()
    price = preview_training.preview(dana, dataset_id=dataset_id).price
    assert price.free and (price.estimate_micro, price.needed_micro) == (None, 0)
    _, job = train_expert.start(dana, name="Shop", dataset_id=dataset_id)
    claim = take()
    measure(claim, HOUR)
    meter_training.chore()
    assert see(job).state == "running" and schedule_jobs.cost(see(job)).charged_micro == 0


def test_the_books_agree_with_what_was_measured_and_find_what_does_not(
    dana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "LAG", timedelta(0))
    fill(dana, 1_000_000)
    submit(dana)
    claim = take()
    measure(claim, HOUR)
    meter_training.chore()
    assert reconcile.compare().agrees
    end(claim, code=1)
    first = reconcile.compare()
    assert first.agrees and first.checked
    key = f"{claim.job.id}:{claim.token}"
    for statement, kind, micro in (
        ("update job_attempts set cpu_ms = cpu_ms + 3600", "meter", 300),
        ("update billing_meters set charged_micro = charged_micro + 7, updated_at = now()", "charge", 7),
    ):
        with unit_of_work() as uow:
            uow.execute(text(statement))
        found = {each.kind: each for each in reconcile.compare().differences}
        assert found[kind].id == key and found[kind].micro == micro
    last = reconcile.latest(make_person("op@example.com", "operator"))
    assert last is not None and not reconcile.compare(last).agrees
    with unit_of_work() as uow:
        uow.execute(text("update billing_meters set charged_micro = charged_micro - 7"))
        uow.execute(text("update job_attempts set cpu_ms = cpu_ms - 3600"))
    assert reconcile.compare(last).agrees


def test_an_attempt_that_nobody_charges_is_found(dana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "LAG", timedelta(0))
    fill(dana, 1_000_000)
    submit(dana)
    end(take(), code=1)
    job = submit(dana)
    with unit_of_work() as uow:
        claim = jobs.claim(uow, job.id)
    assert claim is not None and reconcile.compare().agrees
    measure(claim, HOUR)
    [found] = reconcile.compare().differences
    assert (found.kind, found.micro, found.id) == ("no_meter", CPU_HOUR, f"{job.id}:{claim.token}")
