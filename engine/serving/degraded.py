"""What callers of an expert read when no model server answers: a text that the owner of its name declares."""

from sqlalchemy.orm import Session

from engine.kit.clock import now
from engine.kit.errors import BadInput
from engine.serving import repository
from engine.serving.schemas import Degraded

LONGEST = 2000


def declare(uow: Session, name: str, text: str, *, tenant_id: str, by_id: str) -> Degraded:
    """Write the text of an expert; whoever calls this knows that the tenant has the name.

    Raises BadInput for a text that is empty or longer than 2,000 characters.
    """
    text = text.strip()
    if not 0 < len(text) <= LONGEST:
        raise BadInput("serving.bad_degraded", field="text", most=LONGEST)
    at = now()
    row = {"name": name, "tenant_id": tenant_id, "text": text, "updated_at": at, "by_id": by_id}
    repository.write_degraded(uow, row)
    return Degraded(name=name, text=text, updated_at=at)


def find(uow: Session, name: str) -> Degraded | None:
    """Return the text of an expert, if one is declared."""
    row = repository.degraded(uow, name)
    return Degraded.model_validate(row) if row else None


def remove(uow: Session, name: str) -> None:
    """Take the text of an expert back; callers are told of the failure then."""
    repository.remove_degraded(uow, name)
