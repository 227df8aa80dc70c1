"""The passages page: what a base was cut into, one passage in its document, and what people change of it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from engine.accounts.schemas import Person
from engine.flows import edit_chunks
from engine.flows import prepare_knowledge as flow
from engine.kit.errors import NotFound
from engine.kit.messages import t
from engine.knowledge.schemas import ChunkView
from studio.handlers import jobs
from studio.views import passages as views
from studio.views.passages import Where

LONGEST_WORDS = 200


@dataclass(frozen=True)
class Detail:
    """A passage as the page shows it; `job` is the card of an indexing that is under way or failed."""

    head: str
    place: str
    text: str
    edited: bool
    enabled: bool
    job: str
    moving: bool


def where(query: Mapping[str, str]) -> Where:
    """Return what the query of an address names. Raises NotFound when that is no base."""
    if not query.get("base"):
        raise NotFound("knowledge.unknown_base", field="base_id")
    number = query.get("page", "")
    page = int(number) if number.isdecimal() and len(number) < 10 else 1
    words = " ".join(query.get("words", "").split())[:LONGEST_WORDS]
    return Where(base_id=query["base"], page=max(1, page), words=words, chunk_id=query.get("chunk", ""))


def title(person: Person, asked: Where, language: str) -> str:
    """Return what stands above the list. Raises NotFound."""
    return views.title(flow.base(person, asked.base_id), language)


def listing(person: Person, asked: Where, language: str) -> str:
    """Return a page of passages; a page outside the range is moved into it. Raises NotFound."""
    total = flow.count_chunks(person, asked.base_id, asked.words)
    asked = replace(asked, page=min(asked.page, views.pages_of(total)))
    found = flow.chunks(
        person, asked.base_id, limit=views.PAGE, offset=(asked.page - 1) * views.PAGE, words=asked.words
    )
    return views.passages(found, asked, total, flow.base(person, asked.base_id).disabled, language)


def detail(person: Person, asked: Where, language: str) -> Detail:
    """Return a passage in its document. Raises NotFound."""
    found = edit_chunks.document_view(person, asked.base_id, asked.chunk_id)
    job = flow.latest_job(person, asked.base_id)
    moving = job is not None and job.state in flow.UNFINISHED
    return Detail(
        head=views.head(found.chunk, asked, language),
        place=views.in_document(found, language),
        text=found.chunk.text,
        edited=found.chunk.edited,
        enabled=found.chunk.enabled,
        job=jobs.card(job, language) if job and (moving or job.state == "failed") else "",
        moving=moving,
    )


def save(person: Person, asked: Where, text: str, language: str) -> str:
    """Replace the text of a passage and return what happens next. Raises NotFound, BadInput (field text)."""
    before = edit_chunks.chunk(person, asked.base_id, asked.chunk_id)
    after = edit_chunks.edit_chunk(person, asked.base_id, asked.chunk_id, text or "")
    return _done("unchanged" if after == before else "saved", after, language)


def restore(person: Person, asked: Where, language: str) -> str:
    """Give a passage its text in the document back and return what happens next. Raises NotFound."""
    return _done("restored", edit_chunks.restore_chunk(person, asked.base_id, asked.chunk_id), language)


def put(person: Person, asked: Where, enabled: bool, language: str) -> str:
    """Take a passage out or put it back, and return what that means. Raises NotFound."""
    edit_chunks.set_enabled(person, asked.base_id, asked.chunk_id, enabled)
    return t("studio.passage_back" if enabled else "studio.passage_out", language)


def _done(what: str, chunk: ChunkView, language: str) -> str:
    out = "" if chunk.enabled or what == "unchanged" else "_out"
    return t(f"studio.passage_{what}{out}", language)
