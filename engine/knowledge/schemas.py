"""Values that cross the knowledge room's door."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

BaseLanguage = Literal["en", "zh", "mixed"]
DocumentState = Literal["stored", "chunked", "failed"]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class BaseView(_View):
    """A knowledge base with its counts. `indexed_chunks` have a current vector and can be found.

    Chunks that were taken out are counted by `disabled` only.
    """

    id: str
    tenant_id: str
    owner_id: str
    name: str
    language: BaseLanguage
    embedder: str
    documents: int
    chunks: int
    indexed_chunks: int
    disabled: int = 0
    created_at: datetime


class DocumentView(_View):
    """An uploaded file; `size` in bytes, `error` a catalog key when `state` is failed."""

    id: str
    base_id: str
    name: str
    size: int
    sha256: str
    state: DocumentState
    chunks: int
    error: str | None
    source_url: str | None = None
    created_at: datetime


class ChunkView(_View):
    """A chunk with its exact place; `page` counts from 1.

    `document_text[start:end] == text` unless it was `edited`. One that is not `enabled` was taken out;
    one that is not `indexed` lacks its current vector.
    """

    id: str
    document_id: str
    document_name: str
    ordinal: int
    text: str
    start: int
    end: int
    heading: str
    page: int | None = None
    enabled: bool = True
    edited: bool = False
    indexed: bool = False


class PlaceView(_View):
    """A chunk in its document: what stands there, `passage`, between the text `before` and `after` it.

    `length` is the whole document's, in characters.
    """

    chunk: ChunkView
    before: str
    passage: str
    after: str
    length: int


class Passage(_View):
    """A chunk found for a question, best first.

    `score` orders the passages; `cosine` is the similarity of question and passage (-1 to 1);
    `lexical` is the share of the question's telling words found in the passage (0 to 1). `page` counts
    from 1, None where the document has no pages.
    """

    chunk_id: str
    document_id: str
    document_name: str
    heading: str
    page: int | None = None
    text: str
    start: int
    end: int
    score: float
    cosine: float
    lexical: float
