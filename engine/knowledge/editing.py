"""What people change of single chunks: their text, and whether they are found at all."""

from typing import Any

from sqlalchemy.orm import Session

from engine.kit.database import after_commit
from engine.kit.errors import BadInput, NotFound
from engine.knowledge import repository, service
from engine.knowledge.chunking import Piece, chunk_id, content_hash
from engine.knowledge.schemas import ChunkView, PlaceView

LONGEST_TEXT = 4_000
OMITTED = "[…]"
AROUND = 1_500  # characters of the document shown on either side of a chunk


def get_chunk(uow: Session, base_id: str, tenant_id: str, wanted: str) -> ChunkView:
    """Return a chunk of a base of the tenant. Raises NotFound."""
    base = service.get_base(uow, base_id, tenant_id)
    found = repository.chunk(uow, base.index_id, tenant_id, wanted)
    if found is None:
        raise NotFound("knowledge.unknown_chunk", field="chunk_id")
    return found


def edit(uow: Session, base_id: str, tenant_id: str, wanted: str, text: str) -> ChunkView:
    """Replace the text of a chunk, which lacks its vector then; its place in the document stays.

    The same text changes nothing, and the document's own text makes it a chunk like the others again.
    Raises NotFound, and BadInput for an empty or overlong text.
    """
    chunk = get_chunk(uow, base_id, tenant_id, wanted)
    text = service.storable(text).strip()
    if not 0 < len(text) <= LONGEST_TEXT:
        raise BadInput("knowledge.bad_chunk_text", field="text", most=f"{LONGEST_TEXT:,}")
    return chunk if text == chunk.text.strip() else _write(uow, base_id, tenant_id, chunk, text)


def restore(uow: Session, base_id: str, tenant_id: str, wanted: str) -> ChunkView:
    """Give a chunk its text in the document back. Raises NotFound, also when the document is lost."""
    found = place(uow, base_id, tenant_id, wanted)
    return _write(uow, base_id, tenant_id, found.chunk, found.passage) if found.chunk.edited else found.chunk


def _write(uow: Session, base_id: str, tenant_id: str, chunk: ChunkView, text: str) -> ChunkView:
    piece = Piece(text=text, start=chunk.start, end=chunk.end, heading=chunk.heading)
    document = service.get_document(uow, chunk.document_id, tenant_id)
    # The id was made of the original text, so it tells whether this is that.
    edited = chunk_id(document.sha256, piece) != chunk.id
    values = {"text": text, "content_hash": content_hash(piece), "edited": edited}
    return _changed(uow, base_id, tenant_id, chunk.id, values)


def set_enabled(uow: Session, base_id: str, tenant_id: str, wanted: str, enabled: bool) -> ChunkView:
    """Take a chunk out, so that it is not found from this moment on, or put it back. Raises NotFound.

    It has no vector afterwards either way.
    """
    chunk = get_chunk(uow, base_id, tenant_id, wanted)
    if chunk.enabled == enabled:
        return chunk
    if not enabled:
        index_id = service.get_base(uow, base_id, tenant_id).index_id
        after_commit(uow, lambda: service.remove_vectors(index_id, [chunk.id]))
    return _changed(uow, base_id, tenant_id, chunk.id, {"enabled": enabled, "indexed_hash": None})


def _changed(uow: Session, base_id: str, tenant_id: str, wanted: str, values: dict[str, Any]) -> ChunkView:
    index_id = service.get_base(uow, base_id, tenant_id).index_id
    repository.change_chunk(uow, index_id, wanted, values)
    return get_chunk(uow, base_id, tenant_id, wanted)


def place(uow: Session, base_id: str, tenant_id: str, wanted: str, *, public: bool = False) -> PlaceView:
    """Return a chunk with the text around it in its document. Raises NotFound.

    With `public`, for others than the base's own people, an edited chunk stands with its new text in the
    document's place, and what was edited or taken out around it is left out.
    """
    chunk = get_chunk(uow, base_id, tenant_id, wanted)
    text = service.document_text(uow, chunk.document_id, tenant_id)
    hidden: list[tuple[int, int]] = []
    if public:
        index_id = service.get_base(uow, base_id, tenant_id).index_id
        hidden = repository.changed_places(uow, index_id, chunk.document_id)
    return PlaceView(
        chunk=chunk,
        before=_shown(text, max(0, chunk.start - AROUND), chunk.start, hidden),
        passage=chunk.text if public and chunk.edited else text[chunk.start : chunk.end],
        after=_shown(text, chunk.end, min(len(text), chunk.end + AROUND), hidden),
        length=len(text),
    )


def _shown(text: str, start: int, end: int, hidden: list[tuple[int, int]]) -> str:
    """Return the characters from `start` to `end`, with a mark in place of those that are hidden."""
    shown = []
    for first, last in sorted(hidden):
        if first < end and last > start:
            shown += [text[start:first], OMITTED]
            start = last
    return "".join([*shown, text[start:end]])
