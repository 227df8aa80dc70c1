"""Who gives out jobs, against a real database, with simulated machines and devices."""

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text

from engine.accounts.schemas import Person
from engine.flows import plan_limits, schedule_jobs
from engine.jobs import machines
from engine.jobs import service as jobs
from engine.jobs.schemas import Claim, FoundDevice, JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from tests.support import make_person

SHORT, TRAINING = ("high", "normal", "low"), ("training",)
GB = 2**30


@pytest.fixture
def dana(db: str) -> Person:
    return make_person("dana@example.com", "developer")


@pytest.fixture
def rui(db: str) -> Person:
    return make_person("rui@example.com", "operator")


def submit(person: Person, **changes: Any) -> JobView:
    values: dict[str, Any] = {"kind": "count", "title": "Count", "params": {}, "resource": "indexing"}
    with unit_of_work() as uow:
        return jobs.submit(uow, person_id=person.id, tenant_id=person.tenant_id, **(values | changes))


def has_devices(machine: str, *memories: int) -> None:
    found = [FoundDevice(number=n, name="Card", memory=gb * GB) for n, gb in enumerate(memories)]
    with unit_of_work() as uow:
        machines.register(uow, machine, 2, found)


def take(*queues: str, machine: str = "here") -> Claim:
    claim = schedule_jobs.next_job(queues or SHORT, machine)
    assert claim is not None
    return claim


def end(claim: Claim) -> None:
    with unit_of_work() as uow:
        jobs.succeed(uow, claim.job.id, claim.token, {})


def set_plan(person: Person, plan: str) -> None:
    with unit_of_work() as uow:
        uow.execute(text("update tenants set plan = :p where id = :t"), {"p": plan, "t": person.tenant_id})


def spend(claim: Claim, *, cpu_hours: float = 0, began: str = "now()") -> None:
    with unit_of_work() as uow:
        jobs.count_cpu(uow, claim.job.id, claim.token, round(cpu_hours * 3_600_000))
        uow.execute(
            text(f"update job_attempts set started_at = {began} where job_id = :j"), {"j": claim.job.id}
        )


def test_the_larger_plan_goes_first_and_each_tenant_has_its_own_limit(dana: Person) -> None:
    small = make_person("small@example.com", "developer")
    set_plan(small, "free")
    first, second = submit(small), submit(small)
    large = submit(dana)
    claim = take()
    assert claim.job.id == large.id and claim.job.machine == "here"
    assert take().job.id == first.id
    assert schedule_jobs.next_job(SHORT, "here") is None
    place = schedule_jobs.place(second)
    assert place and (place.number, place.reason) == (1, "concurrent")
    with unit_of_work() as uow:
        jobs.cancel(uow, first.id, small.tenant_id)
        jobs.ended(uow, first.id, 1, code=0, handed_back=False, stopping=False)
    assert take().job.id == second.id
    assert schedule_jobs.place(second) is None


def test_lanes_do_not_mix(dana: Person) -> None:
    training = submit(dana, queue="training", resource="training")
    assert schedule_jobs.next_job(SHORT, "here") is None
    assert take("training").job.id == training.id


def test_used_up_hours_stop_the_next_job_until_the_month_is_over(dana: Person) -> None:
    spend(claim := _taken(submit(dana)), cpu_hours=500)
    end(claim)
    waiting = submit(dana)
    assert schedule_jobs.next_job(SHORT, "here") is None
    place = schedule_jobs.place(waiting)
    assert place and place.reason == "hours"
    with pytest.raises(Forbidden, match="500"), unit_of_work() as uow:
        plan_limits.require_time(uow, dana.tenant_id)
    spend(claim, cpu_hours=500, began="date_trunc('month', now()) - interval '9 hours'")
    with unit_of_work() as uow:
        uow.execute(text("update job_attempts set ended_at = date_trunc('month', now()) - interval '1 hour'"))
    assert take().job.id == waiting.id


def _taken(job: JobView) -> Claim:
    claim = take()
    assert claim.job.id == job.id
    return claim


def test_the_time_on_a_device_is_counted_from_claim_to_end(dana: Person) -> None:
    has_devices("here", 24)
    submit(dana, queue="training", resource="training", memory=GB)
    claim = take("training")
    assert claim.job.device_id == "here/0"
    spend(claim, began="now() - interval '90 seconds'")
    end(claim)
    with unit_of_work() as uow:
        spent = machines.spent(uow, [dana.tenant_id], claim.job.created_at - timedelta(days=1))
    assert 90 <= spent[dana.tenant_id].gpu < 100 and spent[dana.tenant_id].cpu == 0


def test_of_an_attempt_across_the_first_each_month_gets_its_part(dana: Person) -> None:
    has_devices("here", 24)
    submit(dana, queue="training", resource="training", memory=GB)
    claim = take("training")
    spend(claim, cpu_hours=1, began="now() - interval '4 hours'")
    end(claim)
    with unit_of_work() as uow:
        ended = uow.scalar(text("select ended_at from job_attempts"))
        spent = machines.spent(uow, [dana.tenant_id], ended - timedelta(hours=1))[dana.tenant_id]
    assert spent.gpu == pytest.approx(3600, abs=1) and spent.cpu == pytest.approx(900, abs=1)


def test_a_device_is_free_again_however_its_job_ended(dana: Person) -> None:
    has_devices("here", 8)
    for way in ("succeed", "fail", "killed", "silent", "cancelled"):
        submit(dana, queue="training", resource="training", memory=8 * GB)
        claim = take("training")
        waiting = submit(dana, queue="training", resource="training", memory=8 * GB)
        assert schedule_jobs.next_job(TRAINING, "here") is None, way
        _end_by(way, claim, dana)
        assert take("training").job.device_id == "here/0", way
        with unit_of_work() as uow:
            uow.execute(text("update jobs set state = 'cancelled', device_id = null"))
        assert waiting


def _end_by(way: str, claim: Claim, person: Person) -> None:
    with unit_of_work() as uow:
        if way == "succeed":
            jobs.succeed(uow, claim.job.id, claim.token, {})
        elif way == "fail":
            jobs.fail(uow, claim.job.id, claim.token, "jobs.crashed", {"job_id": "x"})
        elif way == "silent":
            uow.execute(
                text("update jobs set heartbeat_at = now() - interval '1 minute' where state = 'running'")
            )
            assert jobs.rescue(uow, 20) == [claim.job.id]
        else:
            if way == "cancelled":
                jobs.cancel(uow, claim.job.id, person.tenant_id)
            jobs.ended(uow, claim.job.id, claim.token, code=-9, handed_back=False, stopping=False)


def test_a_worker_takes_only_what_its_own_devices_hold(dana: Person) -> None:
    has_devices("big", 24)
    has_devices("small", 8)
    job = submit(dana, queue="training", resource="training", memory=20 * GB)
    assert schedule_jobs.next_job(TRAINING, "small") is None
    assert take("training", machine="big").job.id == job.id
    fits = submit(dana, queue="training", resource="training", memory=4 * GB)
    assert take("training", machine="small").job.device_id == "small/0"
    assert fits


def test_a_silent_machine_gives_no_devices(dana: Person) -> None:
    has_devices("here", 24)
    with unit_of_work() as uow:
        uow.execute(text("update machines set seen_at = now() - interval '1 hour'"))
    job = submit(dana, queue="training", resource="training", memory=GB)
    assert schedule_jobs.next_job(TRAINING, "here") is None
    place = schedule_jobs.place(job)
    assert place and place.reason == "device"
    with unit_of_work() as uow:
        machines.alive(uow, "here", 2)
    assert take("training").job.id == job.id


def test_operators_see_all_and_can_put_a_job_first(dana: Person, rui: Person) -> None:
    has_devices("here", 24)
    first, second = submit(dana), submit(dana, title="Second")
    assert schedule_jobs.hurry(rui, second.id).urgent
    board = schedule_jobs.overview(rui)
    assert [each.job.id for each in board.waiting] == [second.id, first.id]
    assert [each.tenant.plan for each in board.waiting] == ["pro", "pro"]
    taken = take()
    assert taken.job.id == second.id
    board = schedule_jobs.overview(rui)
    assert [job.id for job, _ in board.running] == [second.id]
    assert board.machines[0].devices[0].memory == 24 * GB
    with pytest.raises(Conflict):
        schedule_jobs.hurry(rui, second.id)


def test_plans_are_changed_by_operators_alone(dana: Person, rui: Person) -> None:
    for call in (
        lambda: schedule_jobs.overview(dana),
        lambda: schedule_jobs.tenants(dana),
        lambda: schedule_jobs.hurry(dana, "job_x"),
        lambda: schedule_jobs.change_plan(dana, dana.tenant_id, "enterprise"),
    ):
        with pytest.raises(Forbidden):
            call()
    assert schedule_jobs.change_plan(rui, dana.tenant_id, "basic").plan == "basic"
    assert {tenant.id: tenant.plan for tenant, _ in schedule_jobs.tenants(rui)}[dana.tenant_id] == "basic"
    with pytest.raises(BadInput):
        schedule_jobs.change_plan(rui, dana.tenant_id, "golden")
    with pytest.raises(NotFound):
        schedule_jobs.change_plan(rui, "tn_none", "free")
