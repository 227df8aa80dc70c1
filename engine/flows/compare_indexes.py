"""A second index beside the one that answers: built, compared on the saved questions, switched to."""

from dataclasses import dataclass

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows.edit_chunks import have_indexed
from engine.flows.prepare_knowledge import CHUNK, KINDS, submit, under_way
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict
from engine.knowledge import checks, embedding, indexes
from engine.knowledge import service as knowledge
from engine.knowledge.schemas import CheckView, IndexView


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both indexes of a base with what the same saved questions found in them last.

    `lacking` are documents and passages that the second one still has to get; `left_behind` passages that
    people changed and that it cuts otherwise. Without a second index, `other` and all about it is None.
    """

    live: IndexView
    other: IndexView | None = None
    live_check: CheckView | None = None
    other_check: CheckView | None = None
    lacking: int = 0
    left_behind: int = 0
    job: JobView | None = None


def embedders() -> list[str]:
    """Return the names of the embedding models that an index can be built with."""
    return embedding.offered()


def build(person: Person, base_id: str, *, embedder: str, target_tokens: int) -> JobView:
    """Make a second index: cut all documents anew, then embed them. Answers come from the first meanwhile.

    Raises NotFound, BadInput naming the field, Conflict while there is a second one.
    """
    require(person, "developer")
    with unit_of_work() as uow:
        base = knowledge.hold_base(uow, base_id, person.tenant_id)
        made = indexes.add(uow, base_id, person.tenant_id, embedder=embedder, target_tokens=target_tokens)
        return submit(uow, person, base, made.id, CHUNK, then_index=True)


def update(person: Person, base_id: str) -> JobView:
    """Have the second index get what it lacks. Raises NotFound, Conflict while a job is at it."""
    require(person, "developer")
    with unit_of_work() as uow:
        base = knowledge.hold_base(uow, base_id, person.tenant_id)
        tried = indexes.other(uow, base_id, person.tenant_id)
        return submit(uow, person, base, tried.id, CHUNK, then_index=True)


def compare(person: Person, base_id: str) -> tuple[CheckView, CheckView]:
    """Ask the saved questions of both indexes; first what they find in the one that answers.

    Raises NotFound, BadInput without a question that has an answer.
    """
    require(person, "developer")
    return checks.compare(base_id, person.tenant_id)


def comparison(person: Person, base_id: str) -> Comparison:
    """Return both indexes side by side. Raises NotFound."""
    require(person, "developer")
    tenant_id = person.tenant_id
    with unit_of_work() as uow:
        now, tried = indexes.both(uow, base_id, tenant_id)
        if tried is None:
            return Comparison(live=now)
        compared = checks.latest_comparison(uow, base_id, tenant_id, now.id, tried.id)
        found = jobs.listing(uow, tenant_id, kinds=KINDS, subject_id=tried.id, limit=1)
        return Comparison(
            live=now,
            other=tried,
            live_check=compared[0] if compared else None,
            other_check=compared[1] if compared else None,
            lacking=indexes.lacking(uow, now, tried),
            left_behind=indexes.left_behind(uow, now, tried),
            job=found[0] if found else None,
        )


def switch(person: Person, base_id: str) -> IndexView:
    """Answer from the second index from now on, and keep the first beside it.

    What people changed goes along and is indexed. Raises NotFound, and Conflict while the second lacks
    anything, a job is at it, or one cuts documents for the first: the answers would miss those.
    """
    require(person, "developer")
    with unit_of_work() as uow:
        base = knowledge.hold_base(uow, base_id, person.tenant_id)
        tried = indexes.other(uow, base_id, person.tenant_id)
        cutting = under_way(uow, person.tenant_id, base.index_id, kinds=(CHUNK,))
        if cutting or under_way(uow, person.tenant_id, tried.id):
            raise Conflict("knowledge.index_busy", name=base.name)
        now = indexes.switch(uow, base_id, person.tenant_id)
        if now.indexed_chunks < now.chunks:
            have_indexed(uow, base, now.id, person.id)
        return now


def discard(person: Person, base_id: str) -> None:
    """Remove the second index. Raises NotFound, Conflict while a job is at it."""
    require(person, "developer")
    with unit_of_work() as uow:
        base = knowledge.hold_base(uow, base_id, person.tenant_id)
        tried = indexes.other(uow, base_id, person.tenant_id)
        if under_way(uow, person.tenant_id, tried.id):
            raise Conflict("knowledge.index_busy", name=base.name)
        indexes.discard(uow, base_id, person.tenant_id)
