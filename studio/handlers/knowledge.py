"""The knowledge page: bases, their documents, preparing them, looking into them."""

import re
from dataclasses import dataclass

from engine.accounts.schemas import Person
from engine.flows import prepare_knowledge as flow
from engine.jobs.schemas import JobView
from engine.kit.errors import BadInput
from engine.knowledge.decoding import SUFFIXES as SUFFIXES
from engine.knowledge.schemas import BaseView
from studio.views import knowledge as views

LANGUAGES = ("en", "zh", "mixed")


@dataclass(frozen=True)
class Detail:
    """A knowledge base as the page shows it; `choices` are (name, id) of the documents."""

    base: BaseView
    head: str
    documents: str
    choices: list[tuple[str, str]]
    job: JobView | None
    ready: bool


def listing(person: Person, language: str) -> str:
    """Return the table of the tenant's knowledge bases, or what stands there before the first."""
    return views.bases(flow.bases(person), language)


def create(person: Person, name: str, base_language: str) -> str:
    """Make a knowledge base and return its id. Raises BadInput naming the field."""
    return flow.create_base(person, name=name or "", language=base_language or "").id


def detail(person: Person, base_id: str, language: str) -> Detail:
    """Return a base with its documents and its newest job. Raises NotFound."""
    base = flow.base(person, base_id)
    documents = flow.documents(person, base_id)
    job = flow.latest_job(person, base_id)
    return Detail(
        base=base,
        head=views.head(base, language),
        documents=views.documents(documents, language),
        choices=[(document.name, document.id) for document in documents],
        job=job,
        ready=bool(documents) and not (job and job.state in flow.UNFINISHED),
    )


def add_link(person: Person, base_id: str, link: str) -> str:
    """Fetch a web page into a base and return its name. Raises BadInput naming the field."""
    return flow.add_link(person, base_id, link or "").name


def label(person: Person, document_id: str | None, labels: str | None) -> str:
    """Replace the labels of a document, given with commas between them, and return its name.

    Raises BadInput unless a document is chosen, and for too many or overlong labels.
    """
    if not document_id:
        raise BadInput("studio.choose_document", field="labelled")
    words = [word.strip() for word in re.split("[,，、]", labels or "")]
    return flow.label_document(person, document_id, [word for word in words if word]).name


def labels_of(person: Person, base_id: str, document_id: str | None) -> str:
    """Return the labels that a document has, with commas between them."""
    found = (one.labels for one in flow.documents(person, base_id) if one.id == document_id)
    return ", ".join(next(found, []))


def delete(person: Person, document_id: str, confirmed: bool) -> None:
    """Delete a document with its chunks. Raises BadInput unless chosen and confirmed."""
    if not document_id:
        raise BadInput("studio.choose_document", field="document")
    if not confirmed:
        raise BadInput("studio.confirm_first", field="confirmed")
    flow.delete_document(person, document_id)


def prepare(person: Person, base_id: str) -> JobView:
    """Start cutting and indexing. Raises Conflict while a job is under way."""
    return flow.start(person, base_id)
