"""Looking into retrieval: one question, the saved questions, and what they measure."""

from fastapi import APIRouter
from pydantic import BaseModel

from apps.gateway.identity import Caller
from engine.flows import check_retrieval as flow
from engine.knowledge.schemas import CheckView, Only, QuestionView, Trace

router = APIRouter(prefix="/admin/knowledge/{kb_id}", tags=["knowledge"])


class Asked(BaseModel):
    """A question; with `labels` or `kinds` ("pdf") only documents that have one of them are searched."""

    question: str
    labels: list[str] = []
    kinds: list[str] = []


class SavedQuestion(BaseModel):
    """A question and the chunk that answers it; null when nothing in the base does."""

    question: str
    chunk_id: str | None = None


@router.post("/trace")
def trace(kb_id: str, given: Asked, caller: Caller) -> Trace:
    """Show what full-text search and the vectors find, and how both are put together."""
    only = Only(labels=tuple(given.labels), kinds=tuple(given.kinds))
    return flow.trace(caller, kb_id, given.question, only)


@router.get("/questions")
def questions(kb_id: str, caller: Caller) -> list[QuestionView]:
    """List the saved questions."""
    return flow.questions(caller, kb_id)


@router.post("/questions", status_code=201)
def save_question(kb_id: str, given: SavedQuestion, caller: Caller) -> QuestionView:
    """Save a question with its answer; the same question is replaced."""
    return flow.save_question(caller, kb_id, given.question, given.chunk_id)


@router.delete("/questions/{question_id}")
def delete_question(kb_id: str, question_id: str, caller: Caller) -> dict[str, bool]:
    """Forget a saved question."""
    flow.delete_question(caller, kb_id, question_id)
    return {"deleted": True}


@router.get("/checks")
def history(kb_id: str, caller: Caller) -> list[CheckView]:
    """List what the saved questions found so far, oldest first."""
    return flow.history(caller, kb_id)


@router.post("/checks", status_code=201)
def check(kb_id: str, caller: Caller) -> CheckView:
    """Ask every saved question now."""
    return flow.check(caller, kb_id)


@router.post("/calibration", status_code=201)
def calibrate(kb_id: str, caller: Caller) -> CheckView:
    """Set the threshold below which the base has no answer from its saved questions."""
    return flow.calibrate(caller, kb_id)
