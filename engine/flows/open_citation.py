"""Opening a citation: a passage that an expert goes by, in its document.

Whoever may chat with an expert may look at its passages. An id is a hash of document and text that cannot
be guessed, so whoever knows one was given it with an answer.
"""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound
from engine.knowledge import editing
from engine.knowledge.schemas import PlaceView
from engine.market import service as market
from engine.market.schemas import ExpertView


@dataclass(frozen=True, kw_only=True)
class Citation:
    """An expert, and one of its passages in its document."""

    expert: ExpertView
    place: PlaceView


def published(person: Person, name: str, chunk_id: str) -> Citation:
    """Return a passage of the expert that is on the market under `name`; everybody may chat with it.

    Raises NotFound for an unknown name, and naming `chunk_id` for what is not among the expert's passages:
    deleted, taken out, or never there.
    """
    with unit_of_work() as uow:
        return _among(uow, market.by_name(uow, name), chunk_id)


def of_version(person: Person, expert_id: str, chunk_id: str) -> Citation:
    """Return a passage of a version, which its own tenant and reviewers may try before it is published.

    Raises NotFound as `published` does, and for a version that the person may not see.
    """
    with unit_of_work() as uow:
        return _among(uow, market.get(uow, expert_id, viewer=person), chunk_id)


def _among(uow: Session, expert: ExpertView, chunk_id: str) -> Citation:
    """Return a passage of the expert's bases. All that cannot be shown is refused in the same words."""
    bases = expert.knowledge_base_ids if chunk_id.isprintable() else []
    for base_id in bases:
        try:
            found = editing.place(uow, base_id, expert.knowledge_tenant_id, chunk_id, public=True)
        except NotFound:
            continue
        if found.chunk.enabled:
            return Citation(expert=expert, place=found)
    raise NotFound("chat.unknown_passage", field="chunk_id")
