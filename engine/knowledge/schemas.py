"""Values that cross the knowledge room's door."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

BaseLanguage = Literal["en", "zh", "mixed"]
DocumentState = Literal["stored", "chunked", "failed"]


class _View(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class BaseView(_View):
    """A knowledge base with the index that answers from it. `indexed_chunks` can be found.

    The counts are those of that index; chunks that were taken out are counted by `disabled` only.
    """

    id: str
    tenant_id: str
    owner_id: str
    name: str
    language: BaseLanguage
    index_id: str
    embedder: str
    target_tokens: int
    least_evidence: float | None = None
    documents: int
    chunks: int
    indexed_chunks: int
    disabled: int = 0
    created_at: datetime


class IndexView(_View):
    """One way of cutting and embedding a base. `documents` are cut; `indexed_chunks` have their vector.

    `least_evidence` is its calibrated threshold. Chunks that were taken out are counted by `disabled` only.
    """

    id: str
    base_id: str
    tenant_id: str
    language: BaseLanguage
    embedder: str
    target_tokens: int
    live: bool
    least_evidence: float | None
    documents: int
    chunks: int
    indexed_chunks: int
    disabled: int
    created_at: datetime


class DocumentView(_View):
    """An uploaded file; `size` in bytes, `error` a catalog key when `state` is failed.

    It is "chunked" once all its chunks are in the index that answers. `labels` are in the order given.
    """

    id: str
    base_id: str
    name: str
    size: int
    sha256: str
    state: DocumentState
    chunks: int
    error: str | None
    source_url: str | None = None
    labels: list[str] = []
    created_at: datetime


class Only(_View):
    """Which documents a search is kept to: those with one of `labels`, and of one of `kinds` ("pdf").

    What is empty keeps nothing out.
    """

    labels: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether it keeps anything out."""
        return bool(self.labels or self.kinds)


class Snapshot(_View):
    """A kept state of a base's index: the version of its table, and the chunks in it."""

    version: int
    chunks: int
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


class QuestionView(_View):
    """A saved question; characters `start` to `end` of the document answer it. Without one, nothing does."""

    id: str
    text: str
    document_id: str | None
    document_name: str | None
    start: int | None
    end: int | None
    created_at: datetime


class CheckView(_View):
    """What the saved questions found in an index: shares from 0 to 1, None where no question could tell."""

    id: str
    index_id: str
    live: bool
    embedder: str
    target_tokens: int
    chunks: int
    answerable: int
    unanswerable: int
    recall_1: float
    recall_5: float
    mrr: float
    least_evidence: float
    refused_wrongly: float | None
    refused_rightly: float | None
    created_at: datetime


class Trace(_View):
    """How a question finds its passages, every list best first.

    `words` pairs chunks with their BM25 score, `near` with their cosine. `fused` is both together as if
    nothing were turned away; `used` are the ids of those that a model would be given. There is no answer
    while `evidence`, that of the best passage, is below `least`.
    """

    question: str
    words: list[tuple[ChunkView, float]]
    near: list[tuple[ChunkView, float]]
    fused: list[Passage]
    used: list[str]
    evidence: float
    least: float
