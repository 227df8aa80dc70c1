"""Tables of the knowledge room. PostgreSQL is the source of truth; LanceDB only mirrors the chunks."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, UniqueConstraint, false, text, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.clock import now
from engine.kit.database import Base


class KnowledgeBase(Base):
    """A set of documents that experts may answer from."""

    __tablename__ = "knowledge_bases"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    owner_id: Mapped[str]
    name: Mapped[str]
    language: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=now)


class KnowledgeIndex(Base):
    """One way of cutting and embedding the documents of a base: its chunks, and a LanceDB table of its id.

    Questions are answered from the `live` one; at most one other stands beside it, to be compared and
    to take its place. Passages have about `target_tokens`. `least_evidence` is the threshold below which
    there is no answer, where people had it calibrated.
    """

    __tablename__ = "knowledge_indexes"
    # Deferred, so that the two can change places in one statement.
    __table_args__ = (UniqueConstraint("base_id", "live", deferrable=True, initially="DEFERRED"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    base_id: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id", ondelete="CASCADE"))
    tenant_id: Mapped[str]
    embedder: Mapped[str]
    target_tokens: Mapped[int]
    live: Mapped[bool]
    least_evidence: Mapped[float | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(default=now)


class KnowledgeDocument(Base):
    """An uploaded file. Its bytes are the blob `knowledge/<base_id>/<id>`, a text in `encoding`.

    Where `encoding` is empty, a parser makes the text: the blob `knowledge/<base_id>/<id>.text`, with
    the offsets at which its pages begin in `page_starts`. `characters` is 0 until then. `source_url`
    is the link it was fetched from; `error` the catalog key of why it cannot be read. Searches can be kept
    to documents with one of certain `labels`.
    """

    __tablename__ = "knowledge_documents"
    __table_args__ = (UniqueConstraint("base_id", "sha256"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    base_id: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id", ondelete="CASCADE"))
    tenant_id: Mapped[str] = mapped_column(index=True)
    name: Mapped[str]
    size: Mapped[int]
    characters: Mapped[int]
    encoding: Mapped[str]
    sha256: Mapped[str]
    page_starts: Mapped[list[int] | None] = mapped_column(JSONB, default=None)
    source_url: Mapped[str | None] = mapped_column(default=None)
    error: Mapped[str | None] = mapped_column(default=None)
    labels: Mapped[list[str]] = mapped_column(JSONB, default=list, server_default=text("'[]'::jsonb"))
    created_at: Mapped[datetime] = mapped_column(default=now)


class KnowledgeCut(Base):
    """Says that all chunks of a document are in an index."""

    __tablename__ = "knowledge_cuts"

    index_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_indexes.id", ondelete="CASCADE"), primary_key=True
    )
    document_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_documents.id", ondelete="CASCADE"), primary_key=True, index=True
    )


class KnowledgeChunk(Base):
    """A passage of a document: `text` is the document's characters from `start` to `end`, on `page`.

    `id` follows from the document's hash, the offsets and the text, so the same document gives the
    same ids in every index; the index completes the key. `content_hash` covers all that is embedded;
    the chunk lacks its current vector while `indexed_hash` says otherwise. A person may have `edited` the
    text, which then differs from the document's, or taken the chunk out (`enabled`).
    """

    __tablename__ = "knowledge_chunks"
    __table_args__ = (Index(None, "document_id", "ordinal"),)

    index_id: Mapped[str] = mapped_column(
        ForeignKey("knowledge_indexes.id", ondelete="CASCADE"), primary_key=True
    )
    id: Mapped[str] = mapped_column(primary_key=True)
    document_id: Mapped[str] = mapped_column(ForeignKey("knowledge_documents.id", ondelete="CASCADE"))
    tenant_id: Mapped[str] = mapped_column(index=True)
    ordinal: Mapped[int]
    text: Mapped[str]
    start: Mapped[int]
    end: Mapped[int]
    heading: Mapped[str]
    page: Mapped[int | None] = mapped_column(default=None)
    content_hash: Mapped[str]
    indexed_hash: Mapped[str | None] = mapped_column(default=None)
    enabled: Mapped[bool] = mapped_column(default=True, server_default=true())
    edited: Mapped[bool] = mapped_column(default=False, server_default=false())


class KnowledgeQuestion(Base):
    """A question that a base is checked with, and the characters of a document that answer it.

    A place in a document outlives every way of cutting it. Without one, nothing in the base answers.
    """

    __tablename__ = "knowledge_questions"
    __table_args__ = (UniqueConstraint("base_id", "text"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    base_id: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id", ondelete="CASCADE"), index=True)
    tenant_id: Mapped[str]
    text: Mapped[str]
    document_id: Mapped[str | None] = mapped_column(
        ForeignKey("knowledge_documents.id", ondelete="CASCADE"), default=None
    )
    start: Mapped[int | None] = mapped_column(default=None)
    end: Mapped[int | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(default=now)


class KnowledgeCheck(Base):
    """What the questions of a base found in one index at one time, with the threshold of then.

    Shares are from 0 to 1. The index may be gone since; `live` says whether it answered then, or took over
    after this check. Checks made to compare two indexes have the same `created_at`.
    """

    __tablename__ = "knowledge_checks"

    id: Mapped[str] = mapped_column(primary_key=True)
    base_id: Mapped[str] = mapped_column(ForeignKey("knowledge_bases.id", ondelete="CASCADE"), index=True)
    tenant_id: Mapped[str]
    index_id: Mapped[str]
    live: Mapped[bool]
    embedder: Mapped[str]
    target_tokens: Mapped[int]
    chunks: Mapped[int]
    answerable: Mapped[int]
    unanswerable: Mapped[int]
    recall_1: Mapped[float]
    recall_5: Mapped[float]
    mrr: Mapped[float]
    least_evidence: Mapped[float]
    refused_wrongly: Mapped[float | None]
    refused_rightly: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
