"""The second index of a knowledge base: built, compared, switched to, removed."""

from fastapi import APIRouter
from pydantic import BaseModel

from apps.gateway.identity import Caller
from engine.flows import compare_indexes as flow
from engine.jobs.schemas import JobView
from engine.knowledge.schemas import CheckView, IndexView

router = APIRouter(prefix="/admin/knowledge/{kb_id}/indexes", tags=["knowledge"])


class NewIndex(BaseModel):
    """How to cut and embed the documents: an embedder by name, and the tokens that a passage aims at."""

    embedder: str
    target_tokens: int


@router.get("")
def comparison(kb_id: str, caller: Caller) -> flow.Comparison:
    """Show the index that answers and the one beside it, with what the saved questions found in both."""
    return flow.comparison(caller, kb_id)


@router.post("", status_code=202)
def build(kb_id: str, given: NewIndex, caller: Caller) -> JobView:
    """Build a second index beside the one that answers."""
    return flow.build(caller, kb_id, embedder=given.embedder, target_tokens=given.target_tokens)


@router.post("/update", status_code=202)
def update(kb_id: str, caller: Caller) -> JobView:
    """Give the second index the documents that came since."""
    return flow.update(caller, kb_id)


@router.post("/compare", status_code=201)
def compare(kb_id: str, caller: Caller) -> list[CheckView]:
    """Ask the saved questions of both; first what they find in the index that answers."""
    return list(flow.compare(caller, kb_id))


@router.post("/switch")
def switch(kb_id: str, caller: Caller) -> IndexView:
    """Answer from the second index from now on; the former stays beside it."""
    return flow.switch(caller, kb_id)


@router.delete("/second")
def discard(kb_id: str, caller: Caller) -> dict[str, bool]:
    """Remove the second index."""
    flow.discard(caller, kb_id)
    return {"deleted": True}
