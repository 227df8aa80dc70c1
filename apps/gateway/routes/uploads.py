"""Documents that arrive in parts of 5 MB: in any order, several at once, again after a cut."""

from typing import Annotated

from fastapi import APIRouter, Body, Header
from pydantic import BaseModel

from apps.gateway.identity import Caller
from engine.flows import upload_document as flow
from engine.knowledge.schemas import DocumentView
from engine.uploads.schemas import UploadView

router = APIRouter(prefix="/admin/knowledge/upload-chunk", tags=["uploads"])


class NewUpload(BaseModel):
    """A file to upload: its name, its size in bytes and its SHA-256 in hex."""

    filename: str
    size: int
    sha256: str


@router.post("/init/{kb_id}", status_code=201)
def begin(kb_id: str, given: NewUpload, caller: Caller) -> UploadView:
    """Begin an upload, or go on with the one of the same content that was cut."""
    return flow.begin(caller, kb_id, name=given.filename, size=given.size, sha256=given.sha256)


@router.get("/status/{upload_id}")
def status(upload_id: str, caller: Caller) -> UploadView:
    """Say which parts have arrived and which are missing."""
    return flow.status(caller, upload_id)


@router.get("/unfinished/{kb_id}")
def unfinished(kb_id: str, caller: Caller) -> list[UploadView]:
    """List the uploads into a base that wait for more parts."""
    return flow.unfinished(caller, kb_id)


@router.post("/complete/{upload_id}")
def complete(upload_id: str, caller: Caller) -> DocumentView:
    """Make the document of the parts; asked again, the answer is the same document."""
    return flow.complete(caller, upload_id)


@router.post("/{upload_id}/{chunk_index}")
def receive(
    upload_id: str,
    chunk_index: int,
    caller: Caller,
    data: Annotated[bytes, Body(media_type="application/octet-stream")],
    x_chunk_sha256: Annotated[str, Header()],
) -> UploadView:
    """Keep one part: its bytes are the body, their SHA-256 in hex is the header X-Chunk-SHA256."""
    return flow.receive(caller, upload_id, chunk_index, data, x_chunk_sha256)


@router.delete("/{upload_id}")
def cancel(upload_id: str, caller: Caller) -> dict[str, bool]:
    """Forget an upload and its parts."""
    flow.cancel(caller, upload_id)
    return {"cancelled": True}
