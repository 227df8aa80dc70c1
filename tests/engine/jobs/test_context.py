from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text

from engine.jobs import context as context_module
from engine.jobs import registry, service
from engine.jobs.context import Fenced, JobContext, StopJob
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound


@pytest.fixture
def ctx(db: str) -> JobContext:
    """A context that holds a running job."""
    with unit_of_work() as uow:
        job = service.submit(
            uow, kind="count", person_id="per_1", tenant_id="ten_1", title="Count", params={"n": 1}
        )
        claim = service.claim(uow, job.id)
    assert claim
    return JobContext(claim.job, claim.token)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stops the time that the rate limits read; call it to let seconds pass."""
    time = [100.0]
    monkeypatch.setattr(context_module, "time", SimpleNamespace(monotonic=lambda: time[0]))

    def pass_by(seconds: float) -> None:
        time[0] += seconds

    return pass_by


def see(ctx: JobContext) -> JobView:
    with unit_of_work() as uow:
        return service.get(uow, ctx.job.id, "ten_1")


def ask(ctx: JobContext, verb: str) -> None:
    with unit_of_work() as uow:
        getattr(service, verb)(uow, ctx.job.id, "ten_1")


def test_progress_is_merged_and_written_a_few_times_a_second(ctx: JobContext, clock: Any) -> None:
    ctx.report(done=1, total=10, message="step 1/10", metrics={"loss": 3.0})
    assert (see(ctx).done, see(ctx).total, see(ctx).metrics) == (1, 10, {"loss": 3.0})
    clock(0.1)
    ctx.report(done=2, metrics={"rate": 7})
    ctx.report(done=3, message="step 3/10")
    assert (see(ctx).done, see(ctx).message) == (1, "step 1/10")
    clock(0.2)
    ctx.report(metrics={"loss": 2.0})
    seen = see(ctx)
    assert (seen.done, seen.message, seen.metrics) == (3, "step 3/10", {"loss": 2.0, "rate": 7})
    ctx.report(done=10)
    assert see(ctx).done == 10


def test_numbers_that_json_cannot_hold_become_empty(ctx: JobContext) -> None:
    ctx.report(metrics={"loss": float("nan"), "deep": [{"x": float("inf")}, 1.5]})
    assert see(ctx).metrics == {"loss": None, "deep": [{"x": None}, 1.5]}


def test_a_checkpoint_takes_unwritten_progress_with_it(ctx: JobContext, clock: Any) -> None:
    ctx.report(done=1)
    ctx.report(done=2)
    ctx.save_checkpoint({"at": 2})
    assert (see(ctx).done, see(ctx).checkpoint, ctx.checkpoint) == (2, {"at": 2}, {"at": 2})


def test_a_checkpoint_shares_the_fate_of_the_work_it_stands_for(ctx: JobContext) -> None:
    with pytest.raises(ZeroDivisionError), unit_of_work() as uow:
        uow.execute(text("create table work (n int)"))
        ctx.save_checkpoint({"at": 1}, uow=uow)
        raise ZeroDivisionError
    assert see(ctx).checkpoint is None
    with unit_of_work() as uow:
        uow.execute(text("create table work (n int)"))
        ctx.save_checkpoint({"at": 1}, uow=uow)
    assert see(ctx).checkpoint == {"at": 1}


def test_a_wish_is_seen_soon_and_ends_the_handler(ctx: JobContext, clock: Any) -> None:
    ctx.check_stop()
    ask(ctx, "pause")
    assert ctx.stop_requested() is None
    clock(0.3)
    assert ctx.stop_requested() == "pause"
    ask(ctx, "cancel")
    clock(0.3)
    with pytest.raises(StopJob):
        ctx.check_stop()
    assert ctx.stop_requested() == "cancel"


def test_a_stopping_worker_looks_like_a_pause(ctx: JobContext) -> None:
    ctx.hand_back()
    assert ctx.stop_requested() == "pause"
    assert see(ctx).state == "running"


def test_a_holder_whose_job_was_given_away_can_do_nothing(ctx: JobContext, clock: Any) -> None:
    with unit_of_work() as uow:
        uow.execute(text("update jobs set heartbeat_at = now() - interval '1 minute'"))
    with unit_of_work() as uow:
        assert service.rescue(uow, 20) == [ctx.job.id]
    before = see(ctx)
    writes: list[Callable[[], object]] = [
        lambda: ctx.report(done=9),
        lambda: ctx.save_checkpoint({"at": 9}),
        ctx.stop_requested,
    ]
    for write in writes:
        with pytest.raises(Fenced):
            write()
    with pytest.raises(Fenced), unit_of_work() as uow:
        uow.execute(text("create table work (n int)"))
        ctx.succeed(uow, {"late": True})
    assert see(ctx) == before
    with unit_of_work() as uow:
        assert uow.scalar(text("select to_regclass('work')")) is None


def test_stop_and_fence_pass_through_a_handlers_own_error_handling(ctx: JobContext) -> None:
    ctx.hand_back()
    with pytest.raises(StopJob):
        try:
            ctx.check_stop()
        except Exception:
            pytest.fail("a handler swallowed the stop")


def test_the_scratch_folder_belongs_to_the_job(ctx: JobContext) -> None:
    assert ctx.workdir.is_dir() and ctx.workdir.name == ctx.job.id
    assert ctx.workdir.parent == context_module.workdirs()


def test_a_kind_without_a_handler_is_named() -> None:
    with pytest.raises(NotFound) as error:
        registry.find("no.such.kind")
    assert "no.such.kind" in error.value.message("en")
