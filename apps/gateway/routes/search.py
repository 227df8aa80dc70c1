"""Searching for good values of a fine-tuning; it is paused, resumed and cancelled as a training is."""

from typing import Any

from fastapi import APIRouter
from pydantic import Field

from apps.gateway.identity import Caller
from apps.gateway.routes.training import NewTraining
from engine.flows import search_training as flow
from engine.training.search import best

router = APIRouter(prefix="/admin/training", tags=["training"])


class NewSearch(NewTraining):
    """A training with ranges instead of single values, and how many trials it may take.

    `space` overrides fields of the space around the recipe: "rank" is a list to choose from, "learning_rate"
    and "epochs" are a lowest and a highest value, "seed" makes another search of it.
    """

    space: dict[str, Any] = Field(default_factory=dict)
    trials: int | None = None


@router.post("/search", status_code=202)
def start(given: NewSearch, caller: Caller) -> dict[str, object]:
    """Start a search; the best of its trainings becomes an expert. 402 as for a training."""
    space = {**given.space, **({} if given.trials is None else {"trials": given.trials})}
    search, job = flow.start(caller, **given.values(), space=space)
    return {"job_id": job.id, "search": search.model_dump(mode="json"), "job": job.model_dump(mode="json")}


@router.get("/search/{job_id}")
def trials(job_id: str, caller: Caller) -> dict[str, object]:
    """Return a search, its job and its trials so far; "best" is the id of the best run of those."""
    search, job, found = flow.watch_job(caller, job_id)
    winner = best(found)
    return {
        "job": job.model_dump(mode="json"),
        "search": search.model_dump(mode="json"),
        "trials": [trial.model_dump(mode="json") for trial in found],
        "best": winner.run_id if winner else None,
    }
