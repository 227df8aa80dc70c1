"""Starting, watching and steering a fine-tuning."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from apps.gateway.answers import usage_of
from apps.gateway.identity import Caller
from apps.gateway.requests import Turn, messages_of
from apps.gateway.routes.jobs import CostedJob, costed
from engine.flows import compare_trainings, prompt_expert, schedule_jobs, try_checkpoint
from engine.flows import preview_training as previews
from engine.flows import train_expert as flow
from engine.flows.compare_trainings import Comparison
from engine.flows.prepare_knowledge import change_job
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.training.kept import Kept

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

    def values(self) -> dict[str, Any]:
        """Return the values by the names that the flows know them by."""
        return {
            "dataset_id": self.dataset_id,
            "knowledge_base_ids": self.kb_ids,
            "method": self.method,
            "preset": self.preset,
            "changes": self.recipe,
        }


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

    def values(self) -> dict[str, Any]:
        """Return the same with these."""
        return {**super().values(), "name": self.name, "questions": self.questions}


class Asked(BaseModel):
    """A conversation with a checkpoint; its last message is the question."""

    model_config = ConfigDict(extra="forbid")

    messages: list[Turn] = Field(min_length=1, max_length=200)


@router.post("/preview")
def preview(given: Wanted, caller: Caller) -> dict[str, object]:
    """Say what `start` would train with the same values: tokens, what is cut, memory, time, price.

    `price` is in micro-credits: `estimate_micro` is about what it costs (null where nothing tells how long it
    takes), `needed_micro` what the wallet must have to start, `missing_micro` what it lacks of that.
    """
    found = previews.preview(caller, **given.values())
    return {**asdict(found), "fits": found.estimate.fits}


@router.post("/start", status_code=202)
def start(given: NewTraining, caller: Caller) -> dict[str, object]:
    """Start a LoRA fine-tuning; 402, with what is missing, when the wallet has less than it will cost."""
    run, job = flow.start(caller, **given.values())
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
    """Return job, cost, run, loss curve and answers to the run's questions so far."""
    run, job, points = flow.watch_job(caller, job_id)
    return {
        "job": job.model_dump(mode="json"),
        "cost": schedule_jobs.cost(job).model_dump(mode="json"),
        "run": run.model_dump(mode="json"),
        "curve": [point.model_dump(mode="json") for point in points],
        "samples": [sample.model_dump(mode="json") for sample in flow.samples(caller, run.id)],
    }


@router.get("/compare")
def compare(caller: Caller, runs: str) -> Comparison:
    """Return two to four runs side by side: `runs` are their ids with commas between them."""
    return compare_trainings.compare(caller, [run.strip() for run in runs.split(",") if run.strip()])


@router.post("/{job_id}/pause")
def pause(job_id: str, caller: Caller) -> CostedJob:
    """Save a checkpoint and stop."""
    return costed(change_job(caller, job_id, jobs.pause))


@router.post("/{job_id}/resume")
def resume(job_id: str, caller: Caller) -> JobView:
    """Go on from the newest checkpoint; 402, with what is missing, while the wallet does not cover that."""
    return change_job(caller, job_id, jobs.resume)


@router.post("/{job_id}/cancel")
def cancel(job_id: str, caller: Caller) -> CostedJob:
    """End the training for good; nothing is published, and its checkpoints can still be talked to."""
    return costed(change_job(caller, job_id, jobs.cancel))


@router.get("/{job_id}/checkpoints")
def checkpoints(job_id: str, caller: Caller) -> list[Kept]:
    """List the checkpoints that are kept, newest first."""
    run, _, _ = flow.watch_job(caller, job_id)
    return try_checkpoint.listing(caller, run.id)


@router.post("/{job_id}/checkpoints/{step}/chat")
async def chat(job_id: str, step: int, given: Asked, caller: Caller) -> dict[str, object]:
    """Ask a checkpoint, with the passages that its expert would be given; nothing is billed."""
    run, _, _ = await run_in_threadpool(flow.watch_job, caller, job_id)
    messages = messages_of(given.messages)
    first, *words, last = [part async for part in try_checkpoint.answer(caller, run.id, step, messages)]
    return {
        "step": step,
        "text": "".join(part.text for part in words),
        "finish_reason": last.finish_reason,
        "usage": usage_of(last.usage),
        "passages": [passage.model_dump(mode="json") for passage in first.passages],
    }
