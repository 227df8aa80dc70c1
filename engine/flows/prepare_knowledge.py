"""Knowledge: bases, documents, and the two jobs that make them searchable."""

from collections.abc import Callable, Sequence
from typing import BinaryIO

from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows import meter_training, plan_limits
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, NotFound
from engine.knowledge import adding, index
from engine.knowledge import service as knowledge
from engine.knowledge.fetching import fetch
from engine.knowledge.retrieve import EVERYTHING, retrieve
from engine.knowledge.schemas import BaseView, ChunkView, DocumentView, Only, Passage, Snapshot

CHUNK, INDEX, RESTORE = "knowledge.chunk", "knowledge.index", "knowledge.restore"
KINDS = (CHUNK, INDEX, RESTORE)
UNFINISHED = ("queued", "running", "pausing", "paused", "cancelling")


def create_base(person: Person, *, name: str, language: str) -> BaseView:
    """Make an empty knowledge base for the person's tenant. Raises BadInput, Forbidden (the plan is full)."""
    require(person, "developer")
    with unit_of_work() as uow:
        plan_limits.require_base(uow, person.tenant_id)
        return knowledge.create_base(
            uow, person_id=person.id, tenant_id=person.tenant_id, name=name, language=language
        )


def bases(person: Person) -> list[BaseView]:
    """Return the tenant's knowledge bases."""
    require(person, "developer")
    with unit_of_work() as uow:
        return knowledge.bases(uow, person.tenant_id)


def base(person: Person, base_id: str) -> BaseView:
    """Return one knowledge base of the tenant. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return knowledge.get_base(uow, base_id, person.tenant_id)


def documents(person: Person, base_id: str) -> list[DocumentView]:
    """Return the documents of a base."""
    require(person, "developer")
    with unit_of_work() as uow:
        return knowledge.documents(uow, base_id, person.tenant_id)


def chunks(person: Person, base_id: str, *, limit: int, offset: int, words: str = "") -> list[ChunkView]:
    """Return a page of the chunks of a base that hold all of `words`, in reading order."""
    require(person, "developer")
    with unit_of_work() as uow:
        return knowledge.chunks(uow, base_id, person.tenant_id, limit, offset, words)


def count_chunks(person: Person, base_id: str, words: str = "") -> int:
    """Return how many chunks of a base hold all of `words`, also of those taken out."""
    require(person, "developer")
    with unit_of_work() as uow:
        return knowledge.count_chunks(uow, base_id, person.tenant_id, words)


def search(
    person: Person, base_id: str, question: str, *, limit: int = 4, only: Only = EVERYTHING
) -> list[Passage]:
    """Return the passages that a question finds. Raises BadInput when `only` lets no document through."""
    require(person, "developer")
    return retrieve([base_id], person.tenant_id, question, limit=limit, only=only)


def label_document(person: Person, document_id: str, labels: Sequence[str]) -> DocumentView:
    """Replace the labels of a document. Raises NotFound, and BadInput for too many or overlong ones."""
    require(person, "developer")
    with unit_of_work() as uow:
        return knowledge.set_labels(uow, document_id, person.tenant_id, labels)


def labels(person: Person, base_id: str) -> list[str]:
    """Return the labels that documents of a base have, by name. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return knowledge.labels(uow, base_id, person.tenant_id)


def add_document(person: Person, base_id: str, filename: str, source: BinaryIO | bytes) -> DocumentView:
    """Store one document in a base of the person's tenant."""
    require(person, "developer")
    return adding.add_document(base_id=base_id, tenant_id=person.tenant_id, filename=filename, source=source)


def add_link(person: Person, base_id: str, link: str) -> DocumentView:
    """Fetch a web page and store it as a document of a base. Raises NotFound, BadInput, TooLarge."""
    base(person, base_id)
    found = fetch(link)
    return adding.add_document(
        base_id=base_id,
        tenant_id=person.tenant_id,
        filename=found.name,
        source=found.data,
        source_url=found.url,
    )


def delete_document(person: Person, document_id: str) -> None:
    """Remove a document with its chunks and vectors."""
    require(person, "developer")
    with unit_of_work() as uow:
        knowledge.delete_document(uow, document_id, person.tenant_id)


def _start(person: Person, base_id: str, kind: str, **params: object) -> JobView:
    require(person, "developer")
    with unit_of_work() as uow:
        base = knowledge.hold_base(uow, base_id, person.tenant_id)
        return submit(uow, person, base, base.index_id, kind, **params)


def submit(
    uow: Session, person: Person, base: BaseView, index_id: str, kind: str, **params: object
) -> JobView:
    """Submit a job about an index of a base that the caller holds.

    Raises Conflict while there is one, Forbidden when the plan's hours of this month are used up.
    """
    if under_way(uow, person.tenant_id, index_id):
        raise Conflict("knowledge.already_preparing", name=base.name)
    plan_limits.require_time(uow, person.tenant_id)
    return jobs.submit(
        uow,
        kind=kind,
        person_id=person.id,
        tenant_id=person.tenant_id,
        title=base.name,
        subject_id=index_id,
        params={"base_id": base.id, "index_id": index_id, "tenant_id": person.tenant_id, **params},
        resource="indexing",
    )


def under_way(uow: Session, tenant_id: str, index_id: str, kinds: Sequence[str] = KINDS) -> bool:
    """Return whether a job about an index has not ended yet."""
    found = jobs.listing(uow, tenant_id, kinds=kinds, subject_id=index_id)
    return any(job.state in UNFINISHED for job in found)


def start_chunking(person: Person, base_id: str) -> JobView:
    """Cut the new documents of a base into chunks. Raises Conflict while a job is under way."""
    return _start(person, base_id, CHUNK)


def start_indexing(person: Person, base_id: str) -> JobView:
    """Index the chunks of a base that are new. Raises Conflict while a job is under way."""
    return _start(person, base_id, INDEX)


def snapshots(person: Person, base_id: str) -> list[Snapshot]:
    """Return the states of a base's index that can be restored, newest first. Raises NotFound."""
    return index.snapshots(base(person, base_id).index_id)


def start_restoring(person: Person, base_id: str, version: int) -> JobView:
    """Go back to a snapshot of the index. Raises NotFound, Conflict while a job is under way."""
    if version not in [kept.version for kept in snapshots(person, base_id)]:
        raise NotFound("knowledge.unknown_snapshot", field="version", version=version)
    return _start(person, base_id, RESTORE, version=version)


def start(person: Person, base_id: str) -> JobView:
    """Cut, then index: the second job is submitted when the first has succeeded."""
    return _start(person, base_id, CHUNK, then_index=True)


def after_chunking(uow: Session, job: JobView, _result: dict[str, object]) -> None:
    """Go on with indexing when that was asked for; in the transaction that ends the first job."""
    if job.params.get("then_index"):
        jobs.submit(
            uow,
            kind=INDEX,
            person_id=job.owner_id,
            tenant_id=job.tenant_id,
            title=job.title,
            subject_id=job.subject_id,
            params={name: job.params[name] for name in ("base_id", "index_id", "tenant_id")},
            resource="indexing",
        )


def latest_job(person: Person, base_id: str, kind: str | None = None) -> JobView | None:
    """Return the newest job about the index of a base that answers."""
    require(person, "developer")
    with unit_of_work() as uow:
        subject = knowledge.get_base(uow, base_id, person.tenant_id).index_id
        kinds = (kind,) if kind else KINDS
        found = jobs.listing(uow, person.tenant_id, kinds=kinds, subject_id=subject, limit=1)
    return found[0] if found else None


def change_job(person: Person, job_id: str, change: Callable[[Session, str, str], JobView]) -> JobView:
    """Pause, resume or cancel a job of the person's tenant: `change` is that function of the jobs room.

    A training is resumed only once its wallet covers what comes next: else InsufficientCredit.
    """
    if change is jobs.resume:
        change = meter_training.resume
    with unit_of_work() as uow:
        return change(uow, job_id, person.tenant_id)
