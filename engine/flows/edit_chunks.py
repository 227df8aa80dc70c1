"""Single chunks: where they stand, what people change of them, and indexing what was changed."""

from collections.abc import Callable

from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows.prepare_knowledge import CHUNK, INDEX, KINDS, UNFINISHED
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound
from engine.knowledge import editing, indexes
from engine.knowledge import service as knowledge
from engine.knowledge.schemas import BaseView, ChunkView, IndexView, PlaceView

COMING = ("queued", "running", "pausing", "paused")
"""States of a job that still comes by every chunk; one that is being cancelled does not."""


def chunk(person: Person, base_id: str, chunk_id: str) -> ChunkView:
    """Return a chunk. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return editing.get_chunk(uow, base_id, person.tenant_id, chunk_id)


def document_view(person: Person, base_id: str, chunk_id: str) -> PlaceView:
    """Return a chunk with the text around it in its document. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return editing.place(uow, base_id, person.tenant_id, chunk_id)


def edit_chunk(person: Person, base_id: str, chunk_id: str, text: str) -> ChunkView:
    """Replace the text of a chunk and have it indexed. Raises NotFound, and BadInput naming the field."""
    return change_chunk(person, base_id, chunk_id, text=text)


def set_enabled(person: Person, base_id: str, chunk_id: str, enabled: bool) -> ChunkView:
    """Take a chunk out so that nothing finds it, or put it back and have it indexed. Raises NotFound."""
    return change_chunk(person, base_id, chunk_id, enabled=enabled)


def change_chunk(
    person: Person, base_id: str, chunk_id: str, *, text: str | None = None, enabled: bool | None = None
) -> ChunkView:
    """Do what `edit_chunk` and `set_enabled` do, both or nothing; None leaves a thing as it is."""

    def change(uow: Session) -> None:
        if text is not None:
            editing.edit(uow, base_id, person.tenant_id, chunk_id, text)
        if enabled is not None:
            editing.set_enabled(uow, base_id, person.tenant_id, chunk_id, enabled)

    return _changed(person, base_id, chunk_id, change)


def restore_chunk(person: Person, base_id: str, chunk_id: str) -> ChunkView:
    """Give an edited chunk its text in the document back, and have it indexed. Raises NotFound."""
    return _changed(
        person, base_id, chunk_id, lambda uow: editing.restore(uow, base_id, person.tenant_id, chunk_id)
    )


def _changed(person: Person, base_id: str, chunk_id: str, change: Callable[[Session], object]) -> ChunkView:
    """Change a chunk; what it lacks afterwards is indexed by a job of the same transaction."""
    require(person, "developer")
    with unit_of_work() as uow:
        base = knowledge.hold_base(uow, base_id, person.tenant_id)
        before = editing.get_chunk(uow, base_id, person.tenant_id, chunk_id)
        change(uow)
        after = editing.get_chunk(uow, base_id, person.tenant_id, chunk_id)
        if after != before and after.enabled and not after.indexed:
            have_indexed(uow, base, base.index_id, person.id)
    return after


def after_indexing(uow: Session, job: JobView, _result: dict[str, object]) -> None:
    """Go on where chunks were changed after the job had come by; in the transaction that ends it.

    The base is held here and by every change, so that a change either is seen here or finds no job.
    """
    index_id = job.params["index_id"]
    try:
        base = knowledge.hold_base(uow, job.params["base_id"], job.tenant_id)
        done = indexes.get_index(uow, index_id, job.tenant_id)
    except NotFound:
        return
    if done.indexed_chunks < done.chunks:
        have_indexed(uow, base, index_id, job.owner_id)


def index_what_lost_its_vectors() -> int:
    """Have those indexed again that were indexed once and have no vector left; returns how many.

    An upgrade that names search tables otherwise leaves them so.
    """
    with unit_of_work() as uow:
        lost = [one for one in indexes.without_vectors(uow) if _was_indexed(uow, one)]
        for one in lost:
            base = knowledge.hold_base(uow, one.base_id, one.tenant_id)
            have_indexed(uow, base, one.id, base.owner_id)
    return len(lost)


def _was_indexed(uow: Session, one: IndexView) -> bool:
    """Return whether an indexing job has ended well, and none is about to."""
    found = jobs.listing(uow, one.tenant_id, kinds=KINDS, subject_id=one.id)
    done = any(job.kind == INDEX and job.state == "succeeded" for job in found)
    return done and not any(job.state in UNFINISHED for job in found)


def have_indexed(uow: Session, base: BaseView, index_id: str, person_id: str) -> None:
    """Submit an indexing job unless one is to come; a chunking job alone leaves the vectors as they are."""
    for job in jobs.listing(uow, base.tenant_id, kinds=(CHUNK, INDEX), subject_id=index_id):
        if job.state in COMING and (job.kind == INDEX or job.params.get("then_index")):
            return
    jobs.submit(
        uow,
        kind=INDEX,
        person_id=person_id,
        tenant_id=base.tenant_id,
        title=base.name,
        subject_id=index_id,
        params={"base_id": base.id, "index_id": index_id, "tenant_id": base.tenant_id},
        resource="indexing",
    )
