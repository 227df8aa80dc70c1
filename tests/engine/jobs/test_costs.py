"""What a job has cost and what no checkpoint holds, from its row and from the books of its attempts."""

from typing import Any

from sqlalchemy import text

from engine.jobs import machines, service
from engine.jobs.costs import Cost
from engine.jobs.schemas import JobView, Spent
from engine.kit.database import unit_of_work
from tests.apps.test_cards import job


def cost(spent: Spent = Spent(), **row: Any) -> tuple[int | None, int, float]:
    found = Cost.of(job(**row), spent)
    return found.kept_step, found.steps_since, found.seconds_since


def test_what_came_after_the_newest_checkpoint_is_counted_in_steps_and_seconds() -> None:
    measured = {"seconds": 60.0}
    assert cost(done=30, checkpoint={"step": 20}, metrics=measured) == (20, 10, 20.0)
    assert cost(done=30, checkpoint={"step": 0}, metrics=measured) == (0, 30, 60.0)
    assert cost(done=30, checkpoint={"step": 30}, metrics=measured) == (30, 0, 0.0)
    # A job that was taken over stands behind its last report.
    assert cost(done=18, checkpoint={"step": 20}, metrics=measured) == (20, 0, 0.0)
    assert cost(done=0, checkpoint={"step": 0}, metrics={}) == (0, 0, 0.0)
    assert cost(done=30, checkpoint={"step": 20}, metrics={"seconds": None}) == (20, 10, 0.0)


def test_a_job_whose_checkpoints_are_no_steps_has_none() -> None:
    assert cost(done=2, checkpoint={"trial": 3, "step": 40}) == (None, 0, 0.0)
    assert cost(done=30, checkpoint=None) == (None, 0, 0.0)
    assert cost(done=30, checkpoint={"indexed": 20}) == (None, 0, 0.0)


def test_what_was_spent_is_of_a_gpu_where_there_was_one() -> None:
    assert Cost.of(job(), Spent(cpu=7.06)).model_dump(include={"seconds_spent", "spent_of"}) == {
        "seconds_spent": 7.1,
        "spent_of": "cpu",
    }
    assert Cost.of(job(), Spent(cpu=7.0, gpu=3.0)).spent_of == "gpu"


def test_all_attempts_count_and_those_of_other_jobs_do_not(db: str) -> None:
    jobs = [submitted(), submitted()]
    for number in range(2):
        for one in jobs:
            with unit_of_work() as uow:
                claim = service.claim(uow, one.id)
                assert claim is not None
                service.count_cpu(uow, one.id, claim.token, 1500 + number)
                service.ended(uow, one.id, claim.token, code=-9, handed_back=False, stopping=True)
    with unit_of_work() as uow:
        assert machines.spent_on(uow, jobs[0].id) == Spent(cpu=3.001)
        assert machines.spent_on(uow, "job_none") == Spent()
        ninety = "device_id = 'gpu/0', started_at = ended_at - interval '90 seconds'"
        uow.execute(text(f"update job_attempts set {ninety} where job_id = '{jobs[0].id}'"))
        assert machines.spent_on(uow, jobs[0].id).gpu == 180


def submitted() -> JobView:
    with unit_of_work() as uow:
        return service.submit(uow, kind="count", person_id="p", tenant_id="t", title="Count", params={})
