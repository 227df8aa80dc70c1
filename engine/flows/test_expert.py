"""The quality gate: an expert answers its held-out questions as it will be served."""

import asyncio
import time
from typing import Any, Protocol

from sqlalchemy.orm import Session

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.datasets import service as datasets
from engine.evals import quality
from engine.evals.schemas import Answered, Case
from engine.flows import speak
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.prompts import Message
from engine.kit.settings import settings
from engine.market import service as market
from engine.market.schemas import SYSTEM, ExpertView
from engine.training import service as training

TEST = "market.quality"
MOST_CASES = 40
MOST_READ = 400


class Context(Protocol):
    """What this handler needs of a job."""

    params: dict[str, Any]

    def report(self, *, done: int, total: int, message: str) -> None:
        """Show how far the test is."""

    def check_stop(self) -> None:
        """Raise when the person asked to pause or cancel."""


def start(person: Person, expert_id: str) -> JobView:
    """Submit the quality test of a trained (or rejected, or already tested) expert of one's own."""
    accounts.require(person, "developer")
    with unit_of_work() as uow:
        expert = market.get(uow, expert_id, viewer=person)
        if expert.state == "testing" and not _under_way(uow, person, expert_id):
            # The last test broke down or was cancelled; it left no result.
            market.change_state(uow, expert_id, "trained", by=person, reason="Test ended early")
        market.change_state(uow, expert_id, "testing", by=person, reason="Quality test started")
        return jobs.submit(
            uow,
            kind=TEST,
            person_id=person.id,
            tenant_id=person.tenant_id,
            title=expert.title,
            subject_id=expert.id,
            params={"expert_id": expert.id, "tenant_id": person.tenant_id},
        )


def _under_way(uow: Session, person: Person, expert_id: str) -> bool:
    found = jobs.listing(uow, person.tenant_id, kinds=(TEST,), subject_id=expert_id, limit=1)
    return bool(found) and not found[0].finished


def latest_job(person: Person, expert_id: str) -> JobView | None:
    """Return the newest quality test of an expert of the tenant."""
    with unit_of_work() as uow:
        found = jobs.listing(uow, person.tenant_id, kinds=(TEST,), subject_id=expert_id, limit=1)
    return found[0] if found else None


def _held_out(expert: ExpertView, tenant_id: str) -> list[Case]:
    with unit_of_work() as uow:
        run = training.get_run(uow, expert.run_id, tenant_id)
        rows = datasets.rows(uow, run.dataset_id, tenant_id, "validation", limit=MOST_READ)
    # What was found bad is no answer to expect.
    rows = [row for row in rows if row.get("label", True)][:MOST_CASES]
    return [
        Case(id=f"held-out {n}", messages=row["messages"][:-1], expected=row["messages"][-1]["content"])
        for n, row in enumerate(rows, 1)
    ]


def run_job(ctx: Context) -> dict[str, Any]:
    """Job handler: ask every case, score the answers, return the report."""
    tenant_id, expert_id = str(ctx.params["tenant_id"]), str(ctx.params["expert_id"])
    with unit_of_work() as uow:
        expert = market.get(uow, expert_id, viewer=SYSTEM)
    cases = _held_out(expert, tenant_id)
    total = len(cases) + len(quality.SAFETY_CASES)
    speak.wait_until_ready(ctx, total)
    speaker = speak.Speaker.of(expert)

    def answer(messages: list[Message]) -> Answered:
        started = time.monotonic()
        text = runner.run(speak.whole_answer(speaker, messages))
        return Answered(text=text, seconds=time.monotonic() - started)

    def progress(done: int, total: int) -> None:
        ctx.check_stop()
        ctx.report(done=done, total=total, message=f"question {done}/{total}")

    marks = quality.PassMarks(
        accuracy=settings().gate_accuracy,
        response_p95=settings().gate_seconds,
        safety=settings().gate_safety,
    )
    with asyncio.Runner() as runner:  # one loop for all questions, so that connections are kept
        report = quality.run_gate(cases, answer, quality.SAFETY_CASES, marks, on_progress=progress)
    return report.model_dump(mode="json")


def finish(uow: Session, job: JobView, result: dict[str, Any]) -> None:
    """Record the report and move the expert to tested or rejected; with the end of the job."""
    market.record_quality(
        uow, str(job.params["expert_id"]), quality=result, passed=bool(result["passed"]), by=SYSTEM
    )
