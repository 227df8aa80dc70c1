"""Starting, watching and steering a fine-tuning."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from apps.gateway.identity import Caller
from engine.flows import compare_trainings, prompt_expert
from engine.flows import preview_training as previews
from engine.flows import train_expert as flow
from engine.flows.compare_trainings import Comparison
from engine.flows.prepare_knowledge import change_job
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView

router = APIRouter(prefix="/admin/training", tags=["training"])


class Wanted(BaseModel):
    """What to train on, what it may quote, and how.

    `method` is "sft" (learn the answers), "dpo" (pairs of a better and a worse answer) or "kto" (answers
    found good or bad). `recipe` overrides single values of the preset.
    """

    # A misspelled name would train for hours without its knowledge.
    model_config = ConfigDict(extra="forbid")

    dataset_id: str
    kb_ids: list[str] = Field(default_factory=list)
    method: str = "sft"
    preset: str = "balanced"
    recipe: dict[str, Any] = Field(default_factory=dict)


class NewPrompt(BaseModel):
    """An expert without training: the base model with a prompt.

    `template` may have places for {question}, {context} (passages) and {history}; without any it is a system
    message. The rows set aside of `dataset_id` measure it.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    template: str
    dataset_id: str
    kb_ids: list[str] = Field(default_factory=list)
    questions: list[str] = Field(default_factory=list)


class NewTraining(Wanted):
    """The same, with the name that the expert gets.

    Up to 5 `questions` of at most 500 characters are answered by the model while it learns; see `status`.
    """

    name: str
    questions: list[str] = Field(default_factory=list)


@router.post("/preview")
def preview(given: Wanted, caller: Caller) -> dict[str, object]:
    """Say what `start` would train with the same values: tokens, what is cut, memory, time."""
    found = previews.preview(
        caller,
        dataset_id=given.dataset_id,
        knowledge_base_ids=given.kb_ids,
        method=given.method,
        preset=given.preset,
        changes=given.recipe,
    )
    return {**asdict(found), "fits": found.estimate.fits}


@router.post("/start", status_code=202)
def start(given: NewTraining, caller: Caller) -> dict[str, object]:
    """Start a LoRA fine-tuning."""
    run, job = flow.start(
        caller,
        name=given.name,
        dataset_id=given.dataset_id,
        knowledge_base_ids=given.kb_ids,
        questions=given.questions,
        method=given.method,
        preset=given.preset,
        changes=given.recipe,
    )
    return {"job_id": job.id, "run": run.model_dump(mode="json"), "job": job.model_dump(mode="json")}


@router.post("/prompt", status_code=202)
def prompt(given: NewPrompt, caller: Caller) -> dict[str, object]:
    """Measure a prompt and enter it as an expert; status, pause and cancel are those of a training."""
    run, job = prompt_expert.start(
        caller,
        name=given.name,
        template=given.template,
        dataset_id=given.dataset_id,
        knowledge_base_ids=given.kb_ids,
        questions=given.questions,
    )
    return {"job_id": job.id, "run": run.model_dump(mode="json"), "job": job.model_dump(mode="json")}


@router.get("/{job_id}/status")
def status(job_id: str, caller: Caller) -> dict[str, object]:
    """Return job, run, loss curve and answers to the run's questions so far."""
    run, job, points = flow.watch_job(caller, job_id)
    return {
        "job": job.model_dump(mode="json"),
        "run": run.model_dump(mode="json"),
        "curve": [point.model_dump(mode="json") for point in points],
        "samples": [sample.model_dump(mode="json") for sample in flow.samples(caller, run.id)],
    }


@router.get("/compare")
def compare(caller: Caller, runs: str) -> Comparison:
    """Return two to four runs side by side: `runs` are their ids with commas between them."""
    return compare_trainings.compare(caller, [run.strip() for run in runs.split(",") if run.strip()])


@router.post("/{job_id}/pause")
def pause(job_id: str, caller: Caller) -> JobView:
    """Save a checkpoint and stop."""
    return change_job(caller, job_id, jobs.pause)


@router.post("/{job_id}/resume")
def resume(job_id: str, caller: Caller) -> JobView:
    """Go on from the newest checkpoint."""
    return change_job(caller, job_id, jobs.resume)


@router.post("/{job_id}/cancel")
def cancel(job_id: str, caller: Caller) -> JobView:
    """End the training for good; nothing is published."""
    return change_job(caller, job_id, jobs.cancel)
