"""The indexes of a base: the one that answers, and one beside it that is tried in its place."""

from sqlalchemy.orm import Session

from engine.kit.database import after_commit, unit_of_work
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.kit.ids import new_id
from engine.knowledge import embedding, index, repository, service
from engine.knowledge.models import KnowledgeIndex
from engine.knowledge.schemas import IndexView

FEWEST_TOKENS, MOST_TOKENS = 20, 200
"""Bounds of the tokens that a passage aims at: less is no statement, and more MiniLM does not read."""


def get_index(uow: Session, index_id: str, tenant_id: str) -> IndexView:
    """Return an index of the tenant. Raises NotFound."""
    found = repository.index(uow, index_id, tenant_id)
    if found is None:
        raise NotFound("knowledge.unknown_index", field="index_id")
    return found


def live(uow: Session, base_id: str, tenant_id: str) -> IndexView:
    """Return the index that answers. Raises NotFound."""
    return get_index(uow, service.get_base(uow, base_id, tenant_id).index_id, tenant_id)


def other(uow: Session, base_id: str, tenant_id: str) -> IndexView:
    """Return the index beside the one that answers. Raises NotFound (base, index)."""
    found = beside(uow, base_id, tenant_id)
    if found is None:
        raise NotFound("knowledge.no_second_index", field="base_id")
    return found


def beside(uow: Session, base_id: str, tenant_id: str) -> IndexView | None:
    """Return the index beside the one that answers, if there is one. Raises NotFound (base)."""
    return both(uow, base_id, tenant_id)[1]


def both(uow: Session, base_id: str, tenant_id: str) -> tuple[IndexView, IndexView | None]:
    """Return the index that answers, and the one beside it if there is one. Raises NotFound (base)."""
    found = repository.indexes(uow, base_id, tenant_id)
    if not found:
        raise NotFound("knowledge.unknown_base", field="base_id")
    return found[0], found[1] if len(found) > 1 else None


def add(uow: Session, base_id: str, tenant_id: str, *, embedder: str, target_tokens: int) -> IndexView:
    """Put an empty index beside the one that answers; the caller holds the base.

    Raises NotFound, Conflict while there is another, and BadInput for an embedder that is not offered,
    a size out of bounds, or what the base uses already.
    """
    now = service.get_base(uow, base_id, tenant_id)
    if embedder not in embedding.offered():
        names = ", ".join(embedding.offered())
        raise BadInput("knowledge.unknown_embedder", field="embedder", name=embedder[:80], names=names)
    if not FEWEST_TOKENS <= target_tokens <= MOST_TOKENS:
        raise BadInput("knowledge.bad_target", field="target_tokens", least=FEWEST_TOKENS, most=MOST_TOKENS)
    if (embedder, target_tokens) == (now.embedder, now.target_tokens):
        raise BadInput("knowledge.same_index", field="target_tokens")
    if beside(uow, base_id, tenant_id):
        raise Conflict("knowledge.second_index_there")
    made = KnowledgeIndex(
        id=new_id("ki"),
        base_id=base_id,
        tenant_id=tenant_id,
        embedder=embedder,
        target_tokens=target_tokens,
        live=False,
    )
    repository.add_index(uow, made)
    return get_index(uow, made.id, tenant_id)


def carry_changes(uow: Session, index_id: str, tenant_id: str) -> None:
    """Give an index what people changed in the one that answers, where both have the same passage."""
    ours = get_index(uow, index_id, tenant_id)
    if not ours.live:
        _carry(uow, live(uow, ours.base_id, tenant_id).id, index_id)


def _carry(uow: Session, source_id: str, target_id: str) -> None:
    changed = repository.carry_changes(uow, source_id, target_id)
    after_commit(uow, lambda: service.remove_vectors(target_id, changed))


def left_behind(uow: Session, now: IndexView, tried: IndexView) -> int:
    """Return how many passages that people changed in the first index the second has no place for."""
    return repository.count_changed_elsewhere(uow, now.id, tried.id)


def lacking(uow: Session, now: IndexView, tried: IndexView) -> int:
    """Return how many documents and passages the second index still lacks."""
    return repository.count_cut_elsewhere(uow, now.id, tried.id) + tried.chunks - tried.indexed_chunks


def switch(uow: Session, base_id: str, tenant_id: str) -> IndexView:
    """Answer from the other index from now on; the former stays beside it. The caller holds the base.

    What people changed goes along where both have the same passage, and then lacks its vector. Raises
    NotFound, and Conflict while the other index lacks anything.
    """
    now, found = live(uow, base_id, tenant_id), other(uow, base_id, tenant_id)
    if missing := lacking(uow, now, found):
        raise Conflict("knowledge.second_index_lacks", count=missing)
    _carry(uow, now.id, found.id)
    repository.switch(uow, base_id, tenant_id)
    repository.took_over(uow, found.id, tenant_id)
    return get_index(uow, found.id, tenant_id)


def without_vectors(uow: Session) -> list[IndexView]:
    """Return the indexes of all tenants that hold chunks, none of which has a vector."""
    return repository.without_vectors(uow)


def sweep() -> int:
    """Drop the search tables of indexes that are gone and return how many."""
    # Whoever removed an index may have died before its table. Tables first: an index has its row earlier.
    tables = index.tables()
    with unit_of_work() as uow:
        known = repository.table_names(uow)
    left = [name for name in tables if name not in known]
    for name in left:
        index.drop(name)
    return len(left)


def discard(uow: Session, base_id: str, tenant_id: str) -> None:
    """Remove the index beside the one that answers. Raises NotFound."""
    found = other(uow, base_id, tenant_id)
    repository.delete_index(uow, found.id, tenant_id)
    after_commit(uow, lambda: index.drop(found.id))
