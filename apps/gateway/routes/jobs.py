"""One status API for every kind of job."""

from dataclasses import asdict

from fastapi import APIRouter

from apps.gateway.identity import Caller
from engine.flows import prepare_knowledge as flow
from engine.flows import schedule_jobs
from engine.jobs import service as jobs
from engine.jobs.costs import Cost
from engine.jobs.schemas import JobView

router = APIRouter(prefix="/api/jobs", tags=["jobs"])


class CostedJob(JobView):
    """A job, what was spent on it so far, and how much of that no checkpoint holds.

    `charged_micro` is what its machine time was charged so far, in micro-credits: trainings, searches and
    the measuring of prompts cost credits, by the minute.
    """

    cost: Cost
    charged_micro: int


def costed(job: JobView) -> CostedJob:
    """Return a job with its cost."""
    cost = schedule_jobs.cost(job)
    return CostedJob(**dict(job), cost=cost, charged_micro=cost.charged_micro)


@router.get("/{job_id}")
def status(job_id: str, caller: Caller) -> dict[str, object]:
    """Return a job of mine as it stands; `line` is its place, and what it waits for, while it waits."""
    job = flow.change_job(caller, job_id, jobs.get)
    place = schedule_jobs.place(job) if job.state == "queued" else None
    return {**costed(job).model_dump(mode="json"), "line": asdict(place) if place else None}


@router.post("/{job_id}/pause")
def pause(job_id: str, caller: Caller) -> CostedJob:
    """Ask a job to stop at its next checkpoint."""
    return costed(flow.change_job(caller, job_id, jobs.pause))


@router.post("/{job_id}/resume")
def resume(job_id: str, caller: Caller) -> JobView:
    """Let a paused or failed job go on from its checkpoint; 402 while a training's wallet is too empty."""
    return flow.change_job(caller, job_id, jobs.resume)


@router.post("/{job_id}/cancel")
def cancel(job_id: str, caller: Caller) -> CostedJob:
    """End a job for good."""
    return costed(flow.change_job(caller, job_id, jobs.cancel))
