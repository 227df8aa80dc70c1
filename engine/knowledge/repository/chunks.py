"""Chunks of an index."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Row,
    Select,
    String,
    any_,
    delete,
    exists,
    func,
    literal,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, aliased

from engine.knowledge.models import KnowledgeChunk, KnowledgeCut, KnowledgeDocument
from engine.knowledge.schemas import ChunkView

_CURRENT = KnowledgeChunk.indexed_hash == KnowledgeChunk.content_hash
"""Whether a chunk has the vector of its present content."""


def _chunk_query() -> Select[Any]:
    named = KnowledgeDocument.name.label("document_name")
    return select(KnowledgeChunk.__table__, named, func.coalesce(_CURRENT, False).label("indexed")).join(
        KnowledgeDocument, KnowledgeDocument.id == KnowledgeChunk.document_id
    )


def _matching(index_id: str, tenant_id: str, words: Sequence[str]) -> tuple[Any, ...]:
    """Choose the chunks of an index of the tenant whose text holds every one of `words`."""
    holds = (KnowledgeChunk.text.icontains(word, autoescape=True) for word in words)
    return (KnowledgeChunk.index_id == index_id, KnowledgeChunk.tenant_id == tenant_id, *holds)


def chunk_ids(uow: Session, index_id: str) -> list[str]:
    """Return the ids of the chunks of an index that are to be found."""
    query = select(KnowledgeChunk.id).where(KnowledgeChunk.index_id == index_id, KnowledgeChunk.enabled)
    return list(uow.scalars(query))


def count_chunks(uow: Session, index_id: str, tenant_id: str, words: Sequence[str]) -> int:
    """Return how many chunks of an index hold all of `words`."""
    query = select(func.count()).select_from(KnowledgeChunk)
    return uow.execute(query.where(*_matching(index_id, tenant_id, words))).scalar_one()


def chunks(
    uow: Session, index_id: str, tenant_id: str, limit: int, offset: int, words: Sequence[str]
) -> list[ChunkView]:
    """Return a page of an index's chunks that hold all of `words`, by document and place."""
    query = (
        _chunk_query()
        .where(*_matching(index_id, tenant_id, words))
        .order_by(KnowledgeChunk.document_id, KnowledgeChunk.ordinal)
        .limit(limit)
        .offset(offset)
    )
    return [ChunkView.model_validate(row) for row in uow.execute(query)]


def chunk(uow: Session, index_id: str, tenant_id: str, chunk_id: str) -> ChunkView | None:
    """Return a chunk of an index of the tenant."""
    query = _chunk_query().where(*_matching(index_id, tenant_id, ()), KnowledgeChunk.id == chunk_id)
    row = uow.execute(query).one_or_none()
    return ChunkView.model_validate(row) if row else None


def change_chunk(uow: Session, index_id: str, chunk_id: str, values: dict[str, Any]) -> None:
    """Write columns of a chunk."""
    query = update(KnowledgeChunk).where(KnowledgeChunk.index_id == index_id, KnowledgeChunk.id == chunk_id)
    uow.execute(query.values(**values))


def chunks_by_id(
    uow: Session, index_ids: Iterable[str], tenant_id: str, ids: Iterable[str]
) -> dict[str, ChunkView]:
    """Return those of `ids` that are chunks of these indexes of the tenant, and were not taken out."""
    query = _chunk_query().where(
        KnowledgeChunk.index_id.in_(index_ids),
        KnowledgeChunk.tenant_id == tenant_id,
        # One array, not a parameter for each: the statement stays the same and is planned once.
        KnowledgeChunk.id == any_(literal(list(ids), ARRAY(String))),
        KnowledgeChunk.enabled,
    )
    return {row.id: ChunkView.model_validate(row) for row in uow.execute(query)}


def changed_places(uow: Session, index_id: str, document_id: str) -> list[tuple[int, int]]:
    """Return (start, end) of the chunks of a document that people edited or took out of an index."""
    query = select(KnowledgeChunk.start, KnowledgeChunk.end).where(
        KnowledgeChunk.index_id == index_id,
        KnowledgeChunk.document_id == document_id,
        _changed(KnowledgeChunk),
    )
    return [(row.start, row.end) for row in uow.execute(query)]


def insert_chunks(uow: Session, rows: Sequence[dict[str, Any]]) -> None:
    """Insert chunks; those that are there already stay as they are."""
    if rows:
        uow.execute(insert(KnowledgeChunk).on_conflict_do_nothing(), rows)


def delete_chunks(uow: Session, index_id: str, document_id: str) -> None:
    """Delete a document's chunks from an index, to cut it anew; those that people changed stay."""
    query = delete(KnowledgeChunk).where(
        KnowledgeChunk.index_id == index_id, KnowledgeChunk.document_id == document_id
    )
    uow.execute(query.where(KnowledgeChunk.enabled, ~KnowledgeChunk.edited))


def _lacking(index_id: str) -> tuple[Any, ...]:
    return (
        KnowledgeChunk.index_id == index_id,
        KnowledgeChunk.enabled,
        KnowledgeChunk.indexed_hash.is_distinct_from(KnowledgeChunk.content_hash),
    )


def count_lacking(uow: Session, index_id: str) -> int:
    """Return how many chunks of an index lack the vector of their present content."""
    query = select(func.count()).select_from(KnowledgeChunk).where(*_lacking(index_id))
    return uow.execute(query).scalar_one()


def lacking(uow: Session, index_id: str, limit: int) -> list[Row[Any]]:
    """Return up to `limit` chunks that lack a vector, with what the search table keeps of them.

    The columns are id, document_id, tenant_id, heading, text, content_hash.
    """
    columns = (
        KnowledgeChunk.id,
        KnowledgeChunk.document_id,
        KnowledgeChunk.tenant_id,
        KnowledgeChunk.heading,
        KnowledgeChunk.text,
        KnowledgeChunk.content_hash,
    )
    query = select(*columns).where(*_lacking(index_id))
    return list(uow.execute(query.order_by(KnowledgeChunk.document_id, KnowledgeChunk.ordinal).limit(limit)))


def mark_indexed(uow: Session, index_id: str, hashes: dict[str, str]) -> None:
    """Record that the chunks (id -> content hash) have their vectors."""
    query = update(KnowledgeChunk).where(KnowledgeChunk.index_id == index_id)
    # A chunk changed meanwhile has another hash and keeps lacking its vector.
    same = tuple_(KnowledgeChunk.id, KnowledgeChunk.content_hash).in_(list(hashes.items()))
    uow.execute(query.where(same).values(indexed_hash=KnowledgeChunk.content_hash))


def indexed_ids(uow: Session, index_id: str) -> set[str]:
    """Return the ids of the chunks that are recorded to have a vector."""
    query = select(KnowledgeChunk.id).where(
        KnowledgeChunk.index_id == index_id, KnowledgeChunk.indexed_hash.is_not(None)
    )
    return set(uow.scalars(query))


def content_hashes(uow: Session, index_id: str) -> dict[str, str]:
    """Return the present content hash of every chunk of an index that is to be found."""
    query = select(KnowledgeChunk.id, KnowledgeChunk.content_hash)
    query = query.where(KnowledgeChunk.index_id == index_id, KnowledgeChunk.enabled)
    return {row.id: row.content_hash for row in uow.execute(query)}


def forget_vectors(uow: Session, index_id: str, ids: Iterable[str]) -> None:
    """Record that these chunks have no vector."""
    query = update(KnowledgeChunk).where(KnowledgeChunk.index_id == index_id, KnowledgeChunk.id.in_(ids))
    uow.execute(query.values(indexed_hash=None))


def _changed(chunk: Any) -> Any:
    return chunk.edited | ~chunk.enabled


def carry_changes(uow: Session, source_id: str, target_id: str) -> list[str]:
    """Give an index what people changed in another, where both have the same chunk.

    Returns the ids of the chunks of the target that differ now from before; they lack their vector.
    """
    source = aliased(KnowledgeChunk)
    differs = (KnowledgeChunk.content_hash != source.content_hash) | (
        KnowledgeChunk.enabled != source.enabled
    )
    query = (
        update(KnowledgeChunk)
        .where(
            KnowledgeChunk.index_id == target_id,
            source.index_id == source_id,
            source.id == KnowledgeChunk.id,
            _changed(source) | _changed(KnowledgeChunk),
            differs,
        )
        .values(
            text=source.text,
            content_hash=source.content_hash,
            edited=source.edited,
            enabled=source.enabled,
            indexed_hash=None,
        )
    )
    return list(uow.scalars(query.returning(KnowledgeChunk.id)))


def count_changed_elsewhere(uow: Session, source_id: str, target_id: str) -> int:
    """Return how many chunks that people changed in one index have no counterpart in another.

    Documents that the other does not hold yet do not count.
    """
    target = aliased(KnowledgeChunk)
    there = exists().where(target.index_id == target_id, target.id == KnowledgeChunk.id)
    cut = exists().where(
        KnowledgeCut.index_id == target_id, KnowledgeCut.document_id == KnowledgeChunk.document_id
    )
    query = select(func.count()).select_from(KnowledgeChunk)
    query = query.where(KnowledgeChunk.index_id == source_id, _changed(KnowledgeChunk), cut, ~there)
    return uow.execute(query).scalar_one()
