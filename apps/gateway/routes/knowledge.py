"""Knowledge bases, documents, chunking and indexing."""

from fastapi import APIRouter, UploadFile
from pydantic import BaseModel

from apps.gateway.identity import Caller
from apps.gateway.routes.jobs import CostedJob, costed
from engine.flows import edit_chunks
from engine.flows import prepare_knowledge as flow
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.errors import NotFound
from engine.knowledge.schemas import BaseView, ChunkView, DocumentView, Only, Passage, PlaceView, Snapshot

router = APIRouter(prefix="/admin/knowledge", tags=["knowledge"])


class NewBase(BaseModel):
    """A knowledge base to make; `language` is "en" or "zh"."""

    name: str
    language: str


class Link(BaseModel):
    """The address of a web page."""

    link: str


class Version(BaseModel):
    """A snapshot of an index."""

    version: int


class ChunkChange(BaseModel):
    """What to change of a chunk; what is left out stays. `enabled` false takes it out of all answers."""

    text: str | None = None
    enabled: bool | None = None


class Labels(BaseModel):
    """Labels of a document."""

    labels: list[str]


class Question(BaseModel):
    """What to look up, and in which documents: with one of `labels`, of one of `kinds` ("pdf")."""

    question: str
    limit: int = 4
    labels: list[str] = []
    kinds: list[str] = []


@router.post("", status_code=201)
def create_base(given: NewBase, caller: Caller) -> BaseView:
    """Make a knowledge base."""
    return flow.create_base(caller, name=given.name, language=given.language)


@router.get("")
def bases(caller: Caller) -> list[BaseView]:
    """List my knowledge bases."""
    return flow.bases(caller)


@router.get("/{kb_id}")
def base(kb_id: str, caller: Caller) -> BaseView:
    """Return one of my knowledge bases."""
    return flow.base(caller, kb_id)


@router.post("/{kb_id}/documents", status_code=201)
def add_document(kb_id: str, file: UploadFile, caller: Caller) -> DocumentView:
    """Add one file."""
    return flow.add_document(caller, kb_id, file.filename or "", file.file)


@router.post("/{kb_id}/links", status_code=201)
def add_link(kb_id: str, given: Link, caller: Caller) -> DocumentView:
    """Fetch a public web page, text, CSV file or PDF and add it."""
    return flow.add_link(caller, kb_id, given.link)


@router.get("/{kb_id}/documents")
def documents(kb_id: str, caller: Caller) -> list[DocumentView]:
    """List the documents of a base."""
    return flow.documents(caller, kb_id)


@router.patch("/{kb_id}/documents/{document_id}")
def label_document(kb_id: str, document_id: str, given: Labels, caller: Caller) -> DocumentView:
    """Replace the labels of a document, by which searches and chats can be narrowed."""
    return flow.label_document(caller, document_id, given.labels)


@router.delete("/{kb_id}/documents/{document_id}")
def delete_document(kb_id: str, document_id: str, caller: Caller) -> dict[str, bool]:
    """Remove a document, its chunks and its vectors."""
    flow.delete_document(caller, document_id)
    return {"deleted": True}


@router.get("/{kb_id}/chunks")
def chunks(kb_id: str, caller: Caller, limit: int = 50, offset: int = 0, words: str = "") -> list[ChunkView]:
    """List the chunks of a base in reading order, or only those that hold all of `words`."""
    return flow.chunks(caller, kb_id, limit=min(max(limit, 1), 500), offset=max(offset, 0), words=words)


@router.get("/{kb_id}/chunks/{chunk_id}")
def chunk(kb_id: str, chunk_id: str, caller: Caller) -> PlaceView:
    """Return one chunk with the text around it in its document."""
    return edit_chunks.document_view(caller, kb_id, chunk_id)


@router.patch("/{kb_id}/chunks/{chunk_id}")
def change_chunk(kb_id: str, chunk_id: str, given: ChunkChange, caller: Caller) -> ChunkView:
    """Change the text of a chunk, take it out or put it back; indexing what changed starts by itself."""
    return edit_chunks.change_chunk(caller, kb_id, chunk_id, text=given.text, enabled=given.enabled)


@router.post("/{kb_id}/search")
def search(kb_id: str, given: Question, caller: Caller) -> list[Passage]:
    """Return the passages that would be put in front of the model for a question."""
    only = Only(labels=tuple(given.labels), kinds=tuple(given.kinds))
    return flow.search(caller, kb_id, given.question, limit=min(max(given.limit, 1), 20), only=only)


@router.post("/{kb_id}/chunking/start", status_code=202)
def start_chunking(kb_id: str, caller: Caller) -> JobView:
    """Cut new documents into chunks."""
    return flow.start_chunking(caller, kb_id)


@router.post("/{kb_id}/indexing/start", status_code=202)
def start_indexing(kb_id: str, caller: Caller) -> JobView:
    """Index new chunks."""
    return flow.start_indexing(caller, kb_id)


@router.get("/{kb_id}/indexing/snapshots")
def snapshots(kb_id: str, caller: Caller) -> list[Snapshot]:
    """List the states of the index that can be restored, newest first."""
    return flow.snapshots(caller, kb_id)


@router.post("/{kb_id}/indexing/restore", status_code=202)
def restore(kb_id: str, given: Version, caller: Caller) -> JobView:
    """Go back to a snapshot; what it lacks is indexed again by the next indexing."""
    return flow.start_restoring(caller, kb_id, given.version)


def _latest(caller: Caller, kb_id: str, kind: str) -> JobView:
    job = flow.latest_job(caller, kb_id, kind)
    if job is None:
        raise NotFound("knowledge.no_job")
    return job


@router.get("/{kb_id}/chunking/status")
def chunking_status(kb_id: str, caller: Caller) -> CostedJob:
    """Return the newest chunking job of a base."""
    return costed(_latest(caller, kb_id, flow.CHUNK))


@router.get("/{kb_id}/indexing/status")
def indexing_status(kb_id: str, caller: Caller) -> CostedJob:
    """Return the newest indexing job of a base."""
    return costed(_latest(caller, kb_id, flow.INDEX))


@router.post("/{kb_id}/chunking/pause")
def pause_chunking(kb_id: str, caller: Caller) -> CostedJob:
    """Pause chunking after its next checkpoint."""
    return costed(flow.change_job(caller, _latest(caller, kb_id, flow.CHUNK).id, jobs.pause))


@router.post("/{kb_id}/chunking/resume")
def resume_chunking(kb_id: str, caller: Caller) -> JobView:
    """Go on with chunking where it stopped."""
    return flow.change_job(caller, _latest(caller, kb_id, flow.CHUNK).id, jobs.resume)


@router.post("/{kb_id}/indexing/pause")
def pause_indexing(kb_id: str, caller: Caller) -> CostedJob:
    """Pause indexing after its next checkpoint."""
    return costed(flow.change_job(caller, _latest(caller, kb_id, flow.INDEX).id, jobs.pause))


@router.post("/{kb_id}/indexing/resume")
def resume_indexing(kb_id: str, caller: Caller) -> JobView:
    """Go on with indexing where it stopped."""
    return flow.change_job(caller, _latest(caller, kb_id, flow.INDEX).id, jobs.resume)
