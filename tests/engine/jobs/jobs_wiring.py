"""Handlers for the tests of jobs, found by the job's process through MBE_WIRING."""

import os
import signal
import time
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from engine.jobs.context import JobContext
from engine.jobs.registry import register
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict


def count(ctx: JobContext) -> dict[str, Any]:
    """Count to `steps`, each step and its checkpoint in one transaction."""
    steps = ctx.params["steps"]
    (ctx.workdir / "note").write_text("scratch")
    for step in range((ctx.checkpoint or {}).get("at", 0), steps):
        time.sleep(ctx.params.get("pause", 0))
        with unit_of_work() as uow:
            uow.execute(
                text("insert into counted values (:job, :step, :pid)"),
                {"job": ctx.job.id, "step": step, "pid": os.getpid()},
            )
            ctx.save_checkpoint({"at": step + 1}, uow=uow)
        ctx.report(done=step + 1, total=steps, message=f"step {step + 1}/{steps}", metrics={"last": step})
        if step == ctx.params.get("die_after") and ctx.job.attempt == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        ctx.check_stop()
    return {"counted": steps, "loss": float("nan")}


def applaud(uow: Session, job: JobView, result: dict[str, Any]) -> None:
    assert job.state == "succeeded"
    uow.execute(text("insert into applause values (:job)"), {"job": job.id})


def boo(uow: Session, job: JobView, result: dict[str, Any]) -> None:
    applaud(uow, job, result)
    raise Conflict("jobs.cannot_pause", title="boo")


def refuse(ctx: JobContext) -> dict[str, Any]:
    raise BadInput("jobs.unknown_kind", kind="refused")


def crash(ctx: JobContext) -> dict[str, Any]:
    raise ValueError("a detail for the log only")


def leave(ctx: JobContext) -> dict[str, Any]:
    os._exit(7)


def shoot(ctx: JobContext) -> dict[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def sleep(ctx: JobContext) -> dict[str, Any]:
    ctx.report(message="asleep", metrics={"pid": os.getpid()})
    time.sleep(60)
    return {}


def register_jobs() -> None:
    register("count", count, on_success=applaud)
    register("spoil", lambda ctx: {}, on_success=boo)
    for handler in (refuse, crash, leave, shoot, sleep):
        register(handler.__name__, handler)
