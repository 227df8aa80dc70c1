"""The passages that an answer cites, in their documents."""

from fastapi import APIRouter
from pydantic import BaseModel

from apps.gateway.identity import Caller
from engine.flows import open_citation
from engine.flows.open_citation import Citation
from engine.kit.settings import settings

router = APIRouter(prefix="/v1", tags=["OpenAI"])


class CitedPassage(BaseModel):
    """A passage and the text around it; `page` counts from 1, offsets are characters of the document.

    `passage` stands at characters `start` to `end` of the document, which is `length` long, and is its own
    text unless it was `edited`. What was edited or taken out beside it is left out.
    """

    document: str
    document_id: str
    chunk_id: str
    heading: str
    page: int | None
    text: str
    edited: bool
    start: int
    end: int
    length: int
    before: str
    passage: str
    after: str


def address(model: str, chunk_id: str) -> str:
    """Return where a passage that `model` has cited can be got; both need no quoting."""
    return f"{settings().gateway_url}/v1/models/{model}/passages/{chunk_id}"


@router.get("/models/{model}/passages/{chunk_id}")
def passage(model: str, chunk_id: str, caller: Caller) -> CitedPassage:
    """Return a cited passage with the text around it in its document."""
    return _shown(open_citation.published(caller, model, chunk_id))


def _shown(cited: Citation) -> CitedPassage:
    place, chunk = cited.place, cited.place.chunk
    return CitedPassage(
        document=chunk.document_name,
        document_id=chunk.document_id,
        chunk_id=chunk.id,
        heading=chunk.heading,
        page=chunk.page,
        text=chunk.text,
        edited=chunk.edited,
        start=chunk.start,
        end=chunk.end,
        length=place.length,
        before=place.before,
        passage=place.passage,
        after=place.after,
    )
