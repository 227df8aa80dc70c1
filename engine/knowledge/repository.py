"""The SQL of the knowledge room."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, ScalarSelect, Select, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.knowledge.models import (
    KnowledgeBase,
    KnowledgeCheck,
    KnowledgeChunk,
    KnowledgeDocument,
    KnowledgeQuestion,
)
from engine.knowledge.schemas import BaseView, CheckView, ChunkView, DocumentView, QuestionView

_CURRENT = (KnowledgeChunk.indexed_hash == KnowledgeChunk.content_hash) & (
    KnowledgeChunk.indexed_by == KnowledgeBase.embedder
)
"""Whether a chunk has its vector of the present content, by the base's present embedder."""


def _count(model: type[Any], *conditions: Any) -> ScalarSelect[int]:
    return select(func.count()).select_from(model).where(*conditions).scalar_subquery()


def _base_query() -> Select[Any]:
    own = KnowledgeChunk.base_id == KnowledgeBase.id
    return select(
        KnowledgeBase.__table__,
        _count(KnowledgeDocument, KnowledgeDocument.base_id == KnowledgeBase.id).label("documents"),
        _count(KnowledgeChunk, own, KnowledgeChunk.enabled).label("chunks"),
        _count(KnowledgeChunk, own, KnowledgeChunk.enabled, _CURRENT).label("indexed_chunks"),
        _count(KnowledgeChunk, own, ~KnowledgeChunk.enabled).label("disabled"),
    )


def _document_query() -> Select[Any]:
    own = KnowledgeChunk.document_id == KnowledgeDocument.id
    return select(
        KnowledgeDocument.__table__, _count(KnowledgeChunk, own, KnowledgeChunk.enabled).label("chunks")
    )


def _chunk_query() -> Select[Any]:
    named = KnowledgeDocument.name.label("document_name")
    return (
        select(KnowledgeChunk.__table__, named, func.coalesce(_CURRENT, False).label("indexed"))
        .join(KnowledgeDocument, KnowledgeDocument.id == KnowledgeChunk.document_id)
        .join(KnowledgeBase, KnowledgeBase.id == KnowledgeChunk.base_id)
    )


def _matching(base_id: str, tenant_id: str, words: Sequence[str]) -> tuple[Any, ...]:
    """Choose the chunks of a base of the tenant whose text holds every one of `words`."""
    holds = (KnowledgeChunk.text.icontains(word, autoescape=True) for word in words)
    return (KnowledgeChunk.base_id == base_id, KnowledgeChunk.tenant_id == tenant_id, *holds)


def add_base(uow: Session, base: KnowledgeBase) -> None:
    """Insert a base."""
    uow.add(base)
    uow.flush()


def base(uow: Session, base_id: str, tenant_id: str) -> BaseView | None:
    """Return a base of the tenant."""
    query = _base_query().where(KnowledgeBase.id == base_id, KnowledgeBase.tenant_id == tenant_id)
    row = uow.execute(query).one_or_none()
    return BaseView.model_validate(row) if row else None


def bases(uow: Session, tenant_id: str) -> list[BaseView]:
    """Return the tenant's bases, newest first."""
    query = _base_query().where(KnowledgeBase.tenant_id == tenant_id).order_by(KnowledgeBase.id.desc())
    return [BaseView.model_validate(row) for row in uow.execute(query)]


def hold_base(uow: Session, base_id: str) -> None:
    """Have everyone else who asks to hold this base wait until the transaction ends."""
    query = select(KnowledgeBase.id).where(KnowledgeBase.id == base_id)
    uow.execute(query.with_for_update(key_share=True))


def searched(uow: Session, base_ids: Iterable[str], tenant_id: str) -> dict[str, tuple[str, float | None]]:
    """Return (embedder, calibrated threshold) of each of `base_ids` that belongs to the tenant."""
    query = select(KnowledgeBase.id, KnowledgeBase.embedder, KnowledgeBase.least_evidence).where(
        KnowledgeBase.id.in_(base_ids), KnowledgeBase.tenant_id == tenant_id
    )
    return {row.id: (row.embedder, row.least_evidence) for row in uow.execute(query)}


def set_embedder(uow: Session, base_id: str, embedder: str) -> None:
    """Point searches of a base at the vectors of another embedder, whose evidence is of another size."""
    changed = update(KnowledgeBase).where(KnowledgeBase.id == base_id, KnowledgeBase.embedder != embedder)
    uow.execute(changed.values(embedder=embedder, least_evidence=None))


def set_least_evidence(uow: Session, base_id: str, tenant_id: str, least: float) -> None:
    """Record the threshold that was calibrated for a base."""
    query = update(KnowledgeBase).where(KnowledgeBase.id == base_id, KnowledgeBase.tenant_id == tenant_id)
    uow.execute(query.values(least_evidence=least))


def delete_base(uow: Session, base_id: str, tenant_id: str) -> bool:
    """Delete a base with its documents and chunks; False when the tenant has no such base."""
    query = delete(KnowledgeBase).where(KnowledgeBase.id == base_id, KnowledgeBase.tenant_id == tenant_id)
    return bool(uow.execute(query.returning(KnowledgeBase.id)).all())


def insert_document(uow: Session, values: dict[str, Any]) -> bool:
    """Insert a document unless the base has the same content already; tells whether it did."""
    query = (
        insert(KnowledgeDocument)
        .values(**values)
        .on_conflict_do_nothing(index_elements=["base_id", "sha256"])
    )
    return bool(uow.execute(query.returning(KnowledgeDocument.id)).all())


def document_by_hash(uow: Session, base_id: str, sha256: str) -> DocumentView | None:
    """Return the document of a base that has this content."""
    query = _document_query().where(KnowledgeDocument.base_id == base_id, KnowledgeDocument.sha256 == sha256)
    row = uow.execute(query).one_or_none()
    return DocumentView.model_validate(row) if row else None


def document(uow: Session, document_id: str, tenant_id: str) -> DocumentView | None:
    """Return a document of the tenant."""
    query = _document_query().where(
        KnowledgeDocument.id == document_id, KnowledgeDocument.tenant_id == tenant_id
    )
    row = uow.execute(query).one_or_none()
    return DocumentView.model_validate(row) if row else None


def encoding(uow: Session, document_id: str) -> str:
    """Return the encoding of a document's bytes."""
    query = select(KnowledgeDocument.encoding).where(KnowledgeDocument.id == document_id)
    return uow.execute(query).scalar_one()


def is_parsed(uow: Session, document_id: str) -> bool:
    """Return whether a document's text is there; a kind that a parser reads has none at first."""
    query = select(KnowledgeDocument.encoding, KnowledgeDocument.characters)
    row = uow.execute(query.where(KnowledgeDocument.id == document_id)).one()
    return bool(row.encoding or row.characters)


def page_starts(uow: Session, document_id: str) -> list[int] | None:
    """Return the offsets at which the pages of a document begin, None where it has no pages."""
    query = select(KnowledgeDocument.page_starts).where(KnowledgeDocument.id == document_id)
    return uow.execute(query).scalar_one()


def set_parsed(uow: Session, document_id: str, characters: int, page_starts: list[int] | None) -> None:
    """Record that a parser has made the text of a document."""
    query = update(KnowledgeDocument).where(KnowledgeDocument.id == document_id)
    uow.execute(query.values(characters=characters, page_starts=page_starts))


def stored_bytes(uow: Session, tenant_id: str) -> int:
    """Return the sizes of the tenant's documents together, in bytes."""
    query = select(func.coalesce(func.sum(KnowledgeDocument.size), 0))
    return int(uow.scalar(query.where(KnowledgeDocument.tenant_id == tenant_id)) or 0)


def documents(uow: Session, base_id: str, tenant_id: str) -> list[DocumentView]:
    """Return a base's documents in the order in which they came."""
    query = (
        _document_query()
        .where(KnowledgeDocument.base_id == base_id, KnowledgeDocument.tenant_id == tenant_id)
        .order_by(KnowledgeDocument.id)
    )
    return [DocumentView.model_validate(row) for row in uow.execute(query)]


def unchunked(uow: Session, base_id: str, tenant_id: str) -> list[tuple[str, int]]:
    """Return (id, size in bytes) of the documents that still have to be cut, in order."""
    query = (
        select(KnowledgeDocument.id, KnowledgeDocument.size)
        .where(
            KnowledgeDocument.base_id == base_id,
            KnowledgeDocument.tenant_id == tenant_id,
            KnowledgeDocument.state != "chunked",
        )
        .order_by(KnowledgeDocument.id)
    )
    return [(row.id, row.size) for row in uow.execute(query)]


def set_state(uow: Session, document_id: str, state: str, error: str | None = None) -> None:
    """Record where a document stands."""
    query = update(KnowledgeDocument).where(KnowledgeDocument.id == document_id)
    uow.execute(query.values(state=state, error=error))


def delete_document(uow: Session, document_id: str, tenant_id: str) -> None:
    """Delete a document of the tenant with its chunks."""
    uow.execute(
        delete(KnowledgeDocument).where(
            KnowledgeDocument.id == document_id, KnowledgeDocument.tenant_id == tenant_id
        )
    )


def chunk_ids(uow: Session, base_id: str, document_id: str | None = None) -> list[str]:
    """Return the ids of the chunks of a base that can be found, or of all of one document of it."""
    query = select(KnowledgeChunk.id).where(KnowledgeChunk.base_id == base_id)
    asked = KnowledgeChunk.enabled if document_id is None else KnowledgeChunk.document_id == document_id
    return list(uow.scalars(query.where(asked)))


def count_chunks(uow: Session, base_id: str, tenant_id: str, words: Sequence[str]) -> int:
    """Return how many chunks of a base hold all of `words`."""
    query = select(func.count()).select_from(KnowledgeChunk)
    return uow.execute(query.where(*_matching(base_id, tenant_id, words))).scalar_one()


def chunks(
    uow: Session, base_id: str, tenant_id: str, limit: int, offset: int, words: Sequence[str]
) -> list[ChunkView]:
    """Return a page of a base's chunks that hold all of `words`, by document and place."""
    query = (
        _chunk_query()
        .where(*_matching(base_id, tenant_id, words))
        .order_by(KnowledgeChunk.document_id, KnowledgeChunk.ordinal)
        .limit(limit)
        .offset(offset)
    )
    return [ChunkView.model_validate(row) for row in uow.execute(query)]


def chunk(uow: Session, base_id: str, tenant_id: str, chunk_id: str) -> ChunkView | None:
    """Return a chunk of a base of the tenant."""
    query = _chunk_query().where(*_matching(base_id, tenant_id, ()), KnowledgeChunk.id == chunk_id)
    row = uow.execute(query).one_or_none()
    return ChunkView.model_validate(row) if row else None


def change_chunk(uow: Session, base_id: str, chunk_id: str, values: dict[str, Any]) -> None:
    """Write columns of a chunk."""
    query = update(KnowledgeChunk).where(KnowledgeChunk.base_id == base_id, KnowledgeChunk.id == chunk_id)
    uow.execute(query.values(**values))


def chunks_by_id(
    uow: Session, base_ids: Iterable[str], tenant_id: str, ids: Iterable[str]
) -> dict[str, ChunkView]:
    """Return those of `ids` that are chunks of these bases of the tenant, and were not taken out."""
    query = _chunk_query().where(
        KnowledgeChunk.base_id.in_(base_ids),
        KnowledgeChunk.tenant_id == tenant_id,
        KnowledgeChunk.id.in_(ids),
        KnowledgeChunk.enabled,
    )
    return {row.id: ChunkView.model_validate(row) for row in uow.execute(query)}


def insert_chunks(uow: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Insert chunks; those that are there already stay as they are."""
    if rows:
        uow.execute(insert(KnowledgeChunk).on_conflict_do_nothing(), rows)


def delete_chunks(uow: Session, document_id: str) -> None:
    """Delete a document's chunks, to cut it anew; those that people changed stay."""
    query = delete(KnowledgeChunk).where(KnowledgeChunk.document_id == document_id)
    uow.execute(query.where(KnowledgeChunk.enabled, ~KnowledgeChunk.edited))


def _lacking(base_id: str, embedder: str) -> tuple[Any, ...]:
    return (
        KnowledgeChunk.base_id == base_id,
        KnowledgeChunk.enabled,
        KnowledgeChunk.indexed_hash.is_distinct_from(KnowledgeChunk.content_hash)
        | KnowledgeChunk.indexed_by.is_distinct_from(embedder),
    )


def count_lacking(uow: Session, base_id: str, embedder: str) -> int:
    """Return how many chunks lack a current vector of `embedder`."""
    query = select(func.count()).select_from(KnowledgeChunk).where(*_lacking(base_id, embedder))
    return uow.execute(query).scalar_one()


def lacking(uow: Session, base_id: str, embedder: str, limit: int) -> list[Row[Any]]:
    """Return up to `limit` chunks (id, tenant_id, heading, text, content_hash) that lack a vector."""
    columns = (
        KnowledgeChunk.id,
        KnowledgeChunk.tenant_id,
        KnowledgeChunk.heading,
        KnowledgeChunk.text,
        KnowledgeChunk.content_hash,
    )
    query = select(*columns).where(*_lacking(base_id, embedder))
    return list(uow.execute(query.order_by(KnowledgeChunk.document_id, KnowledgeChunk.ordinal).limit(limit)))


def mark_indexed(uow: Session, base_id: str, embedder: str, hashes: dict[str, str]) -> None:
    """Record that the chunks (id -> content hash) have their vectors of `embedder`."""
    query = update(KnowledgeChunk).where(KnowledgeChunk.base_id == base_id)
    # A chunk changed meanwhile has another hash and keeps lacking its vector.
    same = tuple_(KnowledgeChunk.id, KnowledgeChunk.content_hash).in_(list(hashes.items()))
    uow.execute(query.where(same).values(indexed_hash=KnowledgeChunk.content_hash, indexed_by=embedder))


def indexed_ids(uow: Session, base_id: str, embedder: str) -> set[str]:
    """Return the ids of the chunks that are recorded to have a vector of `embedder`."""
    query = select(KnowledgeChunk.id).where(
        KnowledgeChunk.base_id == base_id, KnowledgeChunk.indexed_by == embedder
    )
    return set(uow.scalars(query))


def content_hashes(uow: Session, base_id: str) -> dict[str, str]:
    """Return the present content hash of every chunk of a base that is to be found."""
    query = select(KnowledgeChunk.id, KnowledgeChunk.content_hash)
    query = query.where(KnowledgeChunk.base_id == base_id, KnowledgeChunk.enabled)
    return {row.id: row.content_hash for row in uow.execute(query)}


def forget_vectors(uow: Session, base_id: str, ids: Iterable[str]) -> None:
    """Record that these chunks have no vector."""
    query = update(KnowledgeChunk).where(KnowledgeChunk.base_id == base_id, KnowledgeChunk.id.in_(ids))
    uow.execute(query.values(indexed_hash=None, indexed_by=None))


def hold_document(uow: Session, document_id: str) -> bool:
    """Keep a document from being deleted until the transaction ends; False when it is gone."""
    query = select(KnowledgeDocument.id).where(KnowledgeDocument.id == document_id)
    return uow.execute(query.with_for_update(key_share=True)).one_or_none() is not None


def try_lock(connection: Connection, base_id: str) -> bool:
    """Become the only writer of a base's chunks and vectors, until `unlock` or the connection ends."""
    return bool(connection.execute(select(func.pg_try_advisory_lock(_lock_number(base_id)))).scalar_one())


def unlock(connection: Connection, base_id: str) -> None:
    """Let others write again."""
    connection.execute(select(func.pg_advisory_unlock(_lock_number(base_id))))


def _lock_number(base_id: str) -> Any:
    return func.hashtextextended(f"knowledge:{base_id}", 0)


def save_question(uow: Session, values: dict[str, Any]) -> None:
    """Insert a question; one with the same text gets the new place."""
    query = insert(KnowledgeQuestion).values(**values)
    place = {name: values[name] for name in ("document_id", "start", "end")}
    uow.execute(query.on_conflict_do_update(index_elements=["base_id", "text"], set_=place))


def count_questions(uow: Session, base_id: str) -> int:
    """Return how many questions a base has."""
    query = select(func.count()).select_from(KnowledgeQuestion)
    return uow.execute(query.where(KnowledgeQuestion.base_id == base_id)).scalar_one()


def questions(uow: Session, base_id: str, tenant_id: str) -> list[QuestionView]:
    """Return the questions of a base, oldest first."""
    query = (
        select(KnowledgeQuestion.__table__, KnowledgeDocument.name.label("document_name"))
        .outerjoin(KnowledgeDocument, KnowledgeDocument.id == KnowledgeQuestion.document_id)
        .where(KnowledgeQuestion.base_id == base_id, KnowledgeQuestion.tenant_id == tenant_id)
        .order_by(KnowledgeQuestion.id)
    )
    return [QuestionView.model_validate(row) for row in uow.execute(query)]


def delete_question(uow: Session, base_id: str, tenant_id: str, question_id: str) -> bool:
    """Delete a question; False when the base has no such question."""
    query = delete(KnowledgeQuestion).where(
        KnowledgeQuestion.id == question_id,
        KnowledgeQuestion.base_id == base_id,
        KnowledgeQuestion.tenant_id == tenant_id,
    )
    return bool(uow.execute(query.returning(KnowledgeQuestion.id)).all())


def add_check(uow: Session, values: dict[str, Any]) -> CheckView:
    """Insert what a check found."""
    made = KnowledgeCheck(**values)
    uow.add(made)
    uow.flush()
    return CheckView.model_validate(made)


def checks(uow: Session, base_id: str, tenant_id: str) -> list[CheckView]:
    """Return what the checks of a base found, oldest first."""
    query = (
        select(KnowledgeCheck)
        .where(KnowledgeCheck.base_id == base_id, KnowledgeCheck.tenant_id == tenant_id)
        .order_by(KnowledgeCheck.id)
    )
    return [CheckView.model_validate(each) for each in uow.scalars(query)]
