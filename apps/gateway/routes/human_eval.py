"""Human evaluation over the API: campaigns of a developer, tasks of an evaluator."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from apps.gateway.identity import Caller
from engine.evals.schemas import CampaignResults, CampaignView, TaskView
from engine.flows import judge_by_hand as flow
from engine.jobs.schemas import JobView

router = APIRouter(prefix="/api/human-eval", tags=["human evaluation"])


class NewCampaign(BaseModel):
    """Whose answers to which questions, and how many people judge each."""

    title: str
    expert_ids: list[str]
    questions: list[str]
    judgements_each: int = 1


class Rating(BaseModel):
    """Scores from 1 to 5 for accuracy, helpfulness and tone."""

    scores: dict[str, int]
    comment: str = Field("", max_length=2000)


@router.post("/campaigns", status_code=202)
def start(given: NewCampaign, caller: Caller) -> JobView:
    """Gather answers, then open them for rating."""
    return flow.start(caller, **given.model_dump())


@router.get("/campaigns")
def campaigns(caller: Caller) -> list[CampaignView]:
    """List my tenant's campaigns."""
    return flow.campaigns(caller)


@router.get("/campaigns/{campaign_id}/results")
def results(campaign_id: str, caller: Caller) -> CampaignResults:
    """Return how the experts were judged."""
    return flow.results(caller, campaign_id)


@router.post("/tasks/next")
def next_task(caller: Caller) -> TaskView | None:
    """Take the next answer to rate; null when there is none."""
    return flow.next_task(caller)


@router.get("/tasks")
def my_tasks(caller: Caller) -> list[TaskView]:
    """List what I rated or have in hand."""
    return flow.my_tasks(caller)


@router.post("/tasks/{task_id}/submit")
def submit(task_id: str, given: Rating, caller: Caller) -> TaskView:
    """Rate an answer."""
    return flow.submit(caller, task_id, given.scores, given.comment)


@router.post("/tasks/{task_id}/skip")
def skip(task_id: str, caller: Caller) -> dict[str, bool]:
    """Give a task back."""
    flow.skip(caller, task_id)
    return {"skipped": True}
