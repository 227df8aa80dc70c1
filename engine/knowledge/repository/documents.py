"""Documents, and which of them an index holds."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Select, case, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import array, insert
from sqlalchemy.orm import Session, aliased

from engine.knowledge.models import KnowledgeChunk, KnowledgeCut, KnowledgeDocument, KnowledgeIndex
from engine.knowledge.repository.bases import count
from engine.knowledge.schemas import DocumentView, Only


def _document_query() -> Select[Any]:
    chunks = (
        KnowledgeChunk.document_id == KnowledgeDocument.id,
        KnowledgeChunk.index_id == KnowledgeIndex.id,
        KnowledgeChunk.enabled,
    )
    cut = exists().where(
        KnowledgeCut.document_id == KnowledgeDocument.id, KnowledgeCut.index_id == KnowledgeIndex.id
    )
    state = case((cut, "chunked"), (KnowledgeDocument.error.is_not(None), "failed"), else_="stored")
    return select(
        KnowledgeDocument.__table__, state.label("state"), count(KnowledgeChunk, *chunks).label("chunks")
    ).join(KnowledgeIndex, (KnowledgeIndex.base_id == KnowledgeDocument.base_id) & KnowledgeIndex.live)


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


def documents(uow: Session, base_id: str, tenant_id: str) -> list[DocumentView]:
    """Return a base's documents in the order in which they came."""
    query = (
        _document_query()
        .where(KnowledgeDocument.base_id == base_id, KnowledgeDocument.tenant_id == tenant_id)
        .order_by(KnowledgeDocument.id)
    )
    return [DocumentView.model_validate(row) for row in uow.execute(query)]


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
    uow.execute(query.values(characters=characters, page_starts=page_starts, error=None))


def stored_bytes(uow: Session, tenant_id: str) -> int:
    """Return the sizes of the tenant's documents together, in bytes."""
    query = select(func.coalesce(func.sum(KnowledgeDocument.size), 0))
    return int(uow.scalar(query.where(KnowledgeDocument.tenant_id == tenant_id)) or 0)


def uncut(uow: Session, index_id: str) -> list[tuple[str, int]]:
    """Return (id, size in bytes) of the documents that an index still lacks, in order."""
    held = exists().where(
        KnowledgeCut.document_id == KnowledgeDocument.id, KnowledgeCut.index_id == KnowledgeIndex.id
    )
    query = (
        select(KnowledgeDocument.id, KnowledgeDocument.size)
        .join(KnowledgeIndex, KnowledgeIndex.base_id == KnowledgeDocument.base_id)
        .where(KnowledgeIndex.id == index_id, ~held)
        .order_by(KnowledgeDocument.id)
    )
    return [(row.id, row.size) for row in uow.execute(query)]


def count_cut_elsewhere(uow: Session, source_id: str, target_id: str) -> int:
    """Return how many documents that one index holds another does not."""
    target = aliased(KnowledgeCut)
    there = exists().where(target.index_id == target_id, target.document_id == KnowledgeCut.document_id)
    query = select(func.count()).select_from(KnowledgeCut)
    return uow.execute(query.where(KnowledgeCut.index_id == source_id, ~there)).scalar_one()


def set_cut(uow: Session, index_id: str, document_id: str) -> None:
    """Record that an index holds all chunks of a document."""
    values = {"index_id": index_id, "document_id": document_id}
    uow.execute(insert(KnowledgeCut).values(values).on_conflict_do_nothing())


def set_error(uow: Session, document_id: str, error: str) -> None:
    """Record why a document cannot be read: a catalog key."""
    query = update(KnowledgeDocument).where(KnowledgeDocument.id == document_id)
    uow.execute(query.values(error=error))


def hold_document(uow: Session, document_id: str) -> bool:
    """Keep a document from being deleted until the transaction ends; False when it is gone."""
    query = select(KnowledgeDocument.id).where(KnowledgeDocument.id == document_id)
    return uow.execute(query.with_for_update(key_share=True)).one_or_none() is not None


def document_chunks(uow: Session, document_id: str) -> dict[str, list[str]]:
    """Return by index the ids of the chunks of a document."""
    query = (
        select(KnowledgeChunk.index_id, func.array_agg(KnowledgeChunk.id).label("ids"))
        .where(KnowledgeChunk.document_id == document_id)
        .group_by(KnowledgeChunk.index_id)
    )
    return {row.index_id: list(row.ids) for row in uow.execute(query)}


def delete_document(uow: Session, document_id: str, tenant_id: str) -> None:
    """Delete a document of the tenant with its chunks."""
    uow.execute(
        delete(KnowledgeDocument).where(
            KnowledgeDocument.id == document_id, KnowledgeDocument.tenant_id == tenant_id
        )
    )


def set_labels(uow: Session, document_id: str, labels: Sequence[str]) -> None:
    """Replace the labels of a document."""
    query = update(KnowledgeDocument).where(KnowledgeDocument.id == document_id)
    uow.execute(query.values(labels=list(labels)))


def labels(uow: Session, base_id: str, tenant_id: str) -> list[str]:
    """Return the labels that documents of a base have, by name."""
    each = func.jsonb_array_elements_text(KnowledgeDocument.labels).label("label")
    query = select(each).where(KnowledgeDocument.base_id == base_id, KnowledgeDocument.tenant_id == tenant_id)
    return sorted(set(uow.scalars(query)))


def matching(uow: Session, base_ids: Iterable[str], tenant_id: str, only: Only) -> list[str]:
    """Return the ids of the documents of these bases of the tenant that `only` lets through."""
    query = select(KnowledgeDocument.id).where(
        KnowledgeDocument.base_id.in_(base_ids), KnowledgeDocument.tenant_id == tenant_id
    )
    if only.labels:
        query = query.where(KnowledgeDocument.labels.has_any(array(only.labels)))
    if only.kinds:
        names = (KnowledgeDocument.name.iendswith(f".{kind}", autoescape=True) for kind in only.kinds)
        query = query.where(or_(*names))
    return list(uow.scalars(query))
