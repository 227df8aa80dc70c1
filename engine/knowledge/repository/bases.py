"""Bases and their indexes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, ScalarSelect, Select, delete, exists, func, select, update
from sqlalchemy.orm import Session

from engine.knowledge.models import (
    KnowledgeBase,
    KnowledgeChunk,
    KnowledgeCut,
    KnowledgeDocument,
    KnowledgeIndex,
)
from engine.knowledge.schemas import BaseView, IndexView


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What a search needs of the index of a base: its id, its embedder and its calibrated threshold."""

    index_id: str
    embedder: str
    least_evidence: float | None


def count(model: type[Any], *conditions: Any) -> ScalarSelect[int]:
    """Return a subquery that counts the rows of a table."""
    return select(func.count()).select_from(model).where(*conditions).scalar_subquery()


def _chunk_counts() -> tuple[Any, ...]:
    own = KnowledgeChunk.index_id == KnowledgeIndex.id
    current = KnowledgeChunk.indexed_hash == KnowledgeChunk.content_hash
    return (
        count(KnowledgeChunk, own, KnowledgeChunk.enabled).label("chunks"),
        count(KnowledgeChunk, own, KnowledgeChunk.enabled, current).label("indexed_chunks"),
        count(KnowledgeChunk, own, ~KnowledgeChunk.enabled).label("disabled"),
    )


def _base_query() -> Select[Any]:
    return select(
        KnowledgeBase.__table__,
        KnowledgeIndex.id.label("index_id"),
        KnowledgeIndex.embedder,
        KnowledgeIndex.target_tokens,
        KnowledgeIndex.least_evidence,
        count(KnowledgeDocument, KnowledgeDocument.base_id == KnowledgeBase.id).label("documents"),
        *_chunk_counts(),
    ).join(KnowledgeIndex, (KnowledgeIndex.base_id == KnowledgeBase.id) & KnowledgeIndex.live)


def _index_query() -> Select[Any]:
    return select(
        KnowledgeIndex.__table__,
        KnowledgeBase.language,
        count(KnowledgeCut, KnowledgeCut.index_id == KnowledgeIndex.id).label("documents"),
        *_chunk_counts(),
    ).join(KnowledgeBase, KnowledgeBase.id == KnowledgeIndex.base_id)


def add_base(uow: Session, base: KnowledgeBase) -> None:
    """Insert a base."""
    uow.add(base)
    uow.flush()


def add_index(uow: Session, index: KnowledgeIndex) -> None:
    """Insert an index."""
    uow.add(index)
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


def index(uow: Session, index_id: str, tenant_id: str) -> IndexView | None:
    """Return an index of the tenant."""
    query = _index_query().where(KnowledgeIndex.id == index_id, KnowledgeIndex.tenant_id == tenant_id)
    row = uow.execute(query).one_or_none()
    return IndexView.model_validate(row) if row else None


def indexes(uow: Session, base_id: str, tenant_id: str) -> list[IndexView]:
    """Return the indexes of a base, first the one that answers."""
    query = _index_query().where(KnowledgeIndex.base_id == base_id, KnowledgeIndex.tenant_id == tenant_id)
    return [IndexView.model_validate(row) for row in uow.execute(query.order_by(KnowledgeIndex.live.desc()))]


def hold_base(uow: Session, base_id: str) -> None:
    """Have everyone else who asks to hold this base wait until the transaction ends."""
    query = select(KnowledgeBase.id).where(KnowledgeBase.id == base_id)
    uow.execute(query.with_for_update(key_share=True))


def searched(uow: Session, base_ids: Iterable[str], tenant_id: str) -> dict[str, Searched]:
    """Return by base the index that answers, for those of `base_ids` that belong to the tenant."""
    query = select(KnowledgeIndex).where(
        KnowledgeIndex.base_id.in_(base_ids), KnowledgeIndex.tenant_id == tenant_id, KnowledgeIndex.live
    )
    return {
        found.base_id: Searched(
            index_id=found.id, embedder=found.embedder, least_evidence=found.least_evidence
        )
        for found in uow.scalars(query)
    }


def table_names(uow: Session) -> set[str]:
    """Return the ids of all indexes of all tenants, by which their search tables go."""
    return set(uow.scalars(select(KnowledgeIndex.id)))


def without_vectors(uow: Session) -> list[IndexView]:
    """Return the indexes of all tenants that hold chunks, none of which has a vector."""
    own = KnowledgeChunk.index_id == KnowledgeIndex.id
    some = exists().where(own, KnowledgeChunk.enabled)
    done = exists().where(own, KnowledgeChunk.indexed_hash.is_not(None))
    return [IndexView.model_validate(row) for row in uow.execute(_index_query().where(some, ~done))]


def switch(uow: Session, base_id: str, tenant_id: str) -> None:
    """Let the two indexes of a base change places."""
    query = update(KnowledgeIndex).where(
        KnowledgeIndex.base_id == base_id, KnowledgeIndex.tenant_id == tenant_id
    )
    uow.execute(query.values(live=~KnowledgeIndex.live))


def set_least_evidence(uow: Session, index_id: str, tenant_id: str, least: float) -> None:
    """Record the threshold that was calibrated for an index."""
    query = update(KnowledgeIndex).where(KnowledgeIndex.id == index_id, KnowledgeIndex.tenant_id == tenant_id)
    uow.execute(query.values(least_evidence=least))


def delete_index(uow: Session, index_id: str, tenant_id: str) -> None:
    """Delete an index with its chunks."""
    query = delete(KnowledgeIndex).where(KnowledgeIndex.id == index_id, KnowledgeIndex.tenant_id == tenant_id)
    uow.execute(query)


def delete_base(uow: Session, base_id: str, tenant_id: str) -> bool:
    """Delete a base with its documents and indexes; False when the tenant has no such base."""
    query = delete(KnowledgeBase).where(KnowledgeBase.id == base_id, KnowledgeBase.tenant_id == tenant_id)
    return bool(uow.execute(query.returning(KnowledgeBase.id)).all())


def try_lock(connection: Connection, index_id: str) -> bool:
    """Become the only writer of an index, until `unlock` or the connection ends."""
    return bool(connection.execute(select(func.pg_try_advisory_lock(_lock_number(index_id)))).scalar_one())


def unlock(connection: Connection, index_id: str) -> None:
    """Let others write again."""
    connection.execute(select(func.pg_advisory_unlock(_lock_number(index_id))))


def _lock_number(index_id: str) -> Any:
    return func.hashtextextended(f"knowledge:{index_id}", 0)
