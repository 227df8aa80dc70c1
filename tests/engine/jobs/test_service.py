from typing import Any

import pytest
from sqlalchemy import text

from engine.jobs import service
from engine.jobs.schemas import Claim, Fenced, JobView, StopJob
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, NotFound


def submit(**changes: Any) -> JobView:
    values = {
        "kind": "count",
        "person_id": "per_1",
        "tenant_id": "ten_1",
        "title": "Count",
        "params": {"steps": 3},
    }
    with unit_of_work() as uow:
        return service.submit(uow, **(values | changes))


def messages() -> list[tuple[str, str, str]]:
    """What waits in the queue: (job id, queue, status), in the order of delivery."""
    query = "select args->>'job_id', queue_name, status::text from procrastinate_jobs order by id"
    with unit_of_work() as uow:
        return [(row[0], row[1], row[2]) for row in uow.execute(text(query))]


def deliver(job_id: str) -> Claim | None:
    """Claim a job as a worker would that chose it."""
    with unit_of_work() as uow:
        return service.claim(uow, job_id)


def running(**changes: Any) -> Claim:
    claim = deliver(submit(**changes).id)
    assert claim
    return claim


def do(verb: str, job_id: str, tenant_id: str = "ten_1") -> JobView:
    with unit_of_work() as uow:
        view: JobView = getattr(service, verb)(uow, job_id, tenant_id)
    return view


def end(claim: Claim, code: int, *, handed_back: bool = False, stopping: bool = False) -> JobView:
    with unit_of_work() as uow:
        service.ended(uow, claim.job.id, claim.token, code=code, handed_back=handed_back, stopping=stopping)
    return do("get", claim.job.id)


def grow_silent(job_id: str, seconds: int) -> None:
    with unit_of_work() as uow:
        uow.execute(
            text("update jobs set heartbeat_at = now() - make_interval(secs => :s) where id = :id"),
            {"s": seconds, "id": job_id},
        )


def rescue(seconds: float = 20) -> list[str]:
    with unit_of_work() as uow:
        return service.rescue(uow, seconds)


def test_a_job_and_its_message_commit_together(db: str) -> None:
    job = submit(params={"a": [1, "二"]})
    assert (job.state, job.params, job.attempt, job.error) == ("queued", {"a": [1, "二"]}, 0, None)
    assert messages() == [(job.id, "normal", "todo")]


def test_a_job_that_is_rolled_back_leaves_no_message(db: str) -> None:
    with pytest.raises(ZeroDivisionError), unit_of_work() as uow:
        service.submit(uow, kind="count", person_id="per_1", tenant_id="ten_1", title="Count", params={})
        raise ZeroDivisionError
    assert messages() == []
    with unit_of_work() as uow:
        assert service.listing(uow, "ten_1") == []


def test_an_unknown_queue_is_refused(db: str) -> None:
    with pytest.raises(ValueError):
        submit(queue="fast")
    assert messages() == []


def test_listing_is_newest_first_and_filtered(db: str) -> None:
    one = submit(subject_id="kb_1")
    two = submit(kind="train", subject_id="run_1")
    submit(tenant_id="ten_2")
    with unit_of_work() as uow:
        assert [job.id for job in service.listing(uow, "ten_1")] == [two.id, one.id]
        assert [job.id for job in service.listing(uow, "ten_1", limit=1)] == [two.id]
        assert [job.id for job in service.listing(uow, "ten_1", kinds=["count"])] == [one.id]
        assert [job.id for job in service.listing(uow, "ten_1", subject_id="run_1")] == [two.id]
        assert service.listing(uow, "ten_1", kinds=[]) == []


def test_another_tenants_job_does_not_exist(db: str) -> None:
    job = submit()
    for verb in ("get", "pause", "resume", "cancel"):
        with pytest.raises(NotFound) as refused:
            do(verb, job.id, "ten_2")
        assert job.id in refused.value.message("zh")
    assert do("get", job.id).state == "queued"


def test_a_waiting_job_pauses_and_cancels_at_once_and_cannot_be_claimed(db: str) -> None:
    job, other = submit(), submit()
    assert do("pause", job.id).state == "paused"
    assert do("cancel", other.id).state == "cancelled"
    assert deliver(job.id) is None and deliver(other.id) is None
    before = do("get", job.id).queued_at
    resumed = do("resume", job.id)
    assert resumed.state == "queued" and resumed.queued_at > before
    assert [row[0] for row in messages()] == [job.id, other.id, job.id]


def test_a_job_is_claimed_once(db: str) -> None:
    job = submit()
    claim = deliver(job.id)
    assert claim and claim.job.state == "running" and claim.job.heartbeat_at
    assert deliver(job.id) is None


def test_an_operator_can_make_a_waiting_job_urgent(db: str) -> None:
    job = submit()
    with unit_of_work() as uow:
        assert service.hurry(uow, job.id).urgent
    assert deliver(job.id)
    with pytest.raises(Conflict), unit_of_work() as uow:
        service.hurry(uow, job.id)
    with pytest.raises(NotFound), unit_of_work() as uow:
        service.hurry(uow, "job_none")


def test_requests_to_a_running_job_reach_its_handler(db: str) -> None:
    claim = running()
    with unit_of_work() as uow:
        assert service.wish(uow, claim.job.id, claim.token) is None
    assert do("pause", claim.job.id).state == "pausing"
    with unit_of_work() as uow:
        assert service.wish(uow, claim.job.id, claim.token) == "pause"
    assert do("cancel", claim.job.id).state == "cancelling"
    with unit_of_work() as uow:
        assert service.wish(uow, claim.job.id, claim.token) == "cancel"
    assert end(claim, 0).state == "cancelled"


def test_a_request_that_the_state_does_not_allow_is_a_conflict(db: str) -> None:
    refusals = {
        "running": ["resume"],
        "pausing": ["pause", "resume"],
        "paused": ["pause"],
        "cancelling": ["pause", "resume", "cancel"],
        "cancelled": ["pause", "resume", "cancel"],
        "succeeded": ["pause", "resume", "cancel"],
        "failed": ["pause", "cancel"],
    }
    job = running().job
    for state, refused in refusals.items():
        with unit_of_work() as uow:
            uow.execute(text("update jobs set state = :s"), {"s": state})
        for verb in refused:
            with pytest.raises(Conflict) as conflict:
                do(verb, job.id)
            assert "Count" in conflict.value.message("en")
            assert do("get", job.id).state == state


def test_a_result_that_arrives_after_cancel_is_dropped(db: str) -> None:
    claim = running()
    do("cancel", claim.job.id)
    with pytest.raises(StopJob), unit_of_work() as uow:
        service.succeed(uow, claim.job.id, claim.token, {"count": 3})
    assert end(claim, 0).result is None


def test_a_killed_process_is_retried_until_it_makes_no_progress_three_times(db: str) -> None:
    job = submit()
    for _ in range(2):
        claim = deliver(job.id)
        assert claim
        assert end(claim, -9).state == "queued"
    claim = deliver(job.id)
    assert claim
    with unit_of_work() as uow:
        service.write(uow, job.id, claim.token, {"checkpoint": {"at": 1}, "silent_ends": 0})
    for _ in range(2):
        assert end(claim, -9).state == "queued"
        claim = deliver(job.id)
        assert claim
    failed = end(claim, -9)
    assert (failed.state, failed.attempt, failed.checkpoint) == ("failed", 5, {"at": 1})
    assert failed.error == (
        "The job's process ended unexpectedly (signal 9). Its last checkpoint is kept; resume to continue."
    )
    assert "信号 9" in (failed.error_text("zh") or "")
    assert do("resume", job.id).error is None
    claim = deliver(job.id)
    assert claim and claim.job.checkpoint == {"at": 1}
    assert end(claim, -9).state == "queued"


def test_a_process_that_exits_without_a_word_has_failed(db: str) -> None:
    failed = end(running(), 3)
    assert failed.state == "failed" and "exit code 3" in (failed.error or "")


def test_a_stopping_worker_gives_its_jobs_back_without_counting(db: str) -> None:
    job = submit()
    for _ in range(5):
        claim = deliver(job.id)
        assert claim
        assert end(claim, -15, stopping=True).state == "queued"
    assert [row[0] for row in messages()].count(job.id) == 6  # five were fetched, one waits


def test_a_requested_stop_is_complete_however_the_process_ended(db: str) -> None:
    for verb, state in (("pause", "paused"), ("cancel", "cancelled")):
        for code in (0, 1, -9):
            claim = running()
            do(verb, claim.job.id)
            assert end(claim, code).state == state


def test_silent_jobs_are_taken_over_and_their_old_holder_is_fenced(db: str) -> None:
    silent, alive, pausing = running(), running(), running()
    do("pause", pausing.job.id)
    grow_silent(silent.job.id, 21)
    grow_silent(pausing.job.id, 21)
    assert sorted(rescue()) == sorted([silent.job.id, pausing.job.id])
    assert do("get", silent.job.id).state == "queued"
    assert do("get", alive.job.id).state == "running"
    assert do("get", pausing.job.id).state == "paused"
    again = deliver(silent.job.id)
    assert again and again.token > silent.token
    for call in (
        lambda uow: service.write(uow, silent.job.id, silent.token, {"done": 99}),
        lambda uow: service.wish(uow, silent.job.id, silent.token),
        lambda uow: service.held(uow, silent.job.id, silent.token),
        lambda uow: service.succeed(uow, silent.job.id, silent.token, {"late": True}),
        lambda uow: service.fail(uow, silent.job.id, silent.token, "jobs.worker_lost", {"times": 1}),
    ):
        with pytest.raises(Fenced), unit_of_work() as uow:
            call(uow)
    assert end(silent, -9).state == "running"
    assert do("get", silent.job.id).done == 0


def test_a_job_that_takes_its_workers_down_fails_in_the_end(db: str) -> None:
    job = submit()
    for _ in range(3):
        assert deliver(job.id)
        grow_silent(job.id, 21)
        rescue()
    failed = do("get", job.id)
    assert failed.state == "failed" and "3 times" in (failed.error or "")


def test_two_rescuers_never_work_at_once(db: str) -> None:
    claim = running()
    grow_silent(claim.job.id, 21)
    with unit_of_work() as first, unit_of_work() as second:
        assert service.rescue(first, 20) == [claim.job.id]
        assert service.rescue(second, 20) == []
    assert rescue() == []


def test_a_lost_message_is_sent_again(db: str) -> None:
    submit(), submit(queue="low"), running(queue="high")
    with unit_of_work() as uow:
        uow.execute(text("delete from procrastinate_jobs where queue_name <> 'low'"))
    assert rescue() == []
    assert sorted(row[1] for row in messages()) == ["low", "normal"]
    rescue()
    assert sorted(row[1] for row in messages()) == ["low", "normal"]


def test_messages_of_a_silent_worker_are_dropped(db: str) -> None:
    submit()
    with unit_of_work() as uow:
        worker = uow.scalar(text("insert into procrastinate_workers default values returning id"))
        uow.execute(text("update procrastinate_jobs set status = 'doing', worker_id = :w"), {"w": worker})
    rescue()
    assert sorted(row[2] for row in messages()) == ["doing", "todo"]
    with unit_of_work() as uow:
        uow.execute(text("update procrastinate_workers set last_heartbeat = now() - interval '1 minute'"))
    rescue()
    assert [row[2] for row in messages()] == ["todo"]


def test_every_state_has_a_word_in_both_languages(db: str) -> None:
    job = submit()
    assert (job.state_text("en"), job.state_text("zh")) == ("Waiting", "等待中")


def test_the_text_of_an_error_survives_a_changed_catalog(db: str) -> None:
    claim = running()
    with unit_of_work() as uow:
        service.fail(uow, claim.job.id, claim.token, "gone.message", {})
    failed = do("get", claim.job.id)
    assert claim.job.id in (failed.error or "") and claim.job.id in (failed.error_text("zh") or "")
