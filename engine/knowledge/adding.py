"""Adding documents: the bytes go to the object store first, then a row says that they are there.

No transaction is open while bytes travel. Whoever is killed between the two leaves bytes that nothing names,
never a row without its bytes.
"""

import hashlib
import io
from typing import BinaryIO

from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound, TooLarge
from engine.kit.ids import new_id
from engine.kit.settings import settings
from engine.knowledge import repository, service
from engine.knowledge.decoding import PARSED, Decoded, check_kind, clean_name, decode, suffix_of
from engine.knowledge.schemas import DocumentView

_PIECE = 1 << 20


def add_document(
    *, base_id: str, tenant_id: str, filename: str, source: BinaryIO | bytes, source_url: str | None = None
) -> DocumentView:
    """Store a file in a base; the same content twice is the same document.

    Accepts .txt, .md and .csv in UTF-8, UTF-16 with BOM or GB 18030, and the kinds of `parsers`, which
    are read when the base is prepared. Only the clean base name of `filename` is kept, for display.
    Raises NotFound (base), BadInput (kind of file, encoding, no text) and TooLarge; nothing is stored
    then, and a file over the limit is not read to its end.
    """
    with unit_of_work() as uow:
        service.get_base(uow, base_id, tenant_id)
    name = clean_name(filename)
    data = _read(source, name)
    decoded = _decoded(data, name)
    sha256 = hashlib.sha256(data).hexdigest()
    with unit_of_work() as uow:
        if known := repository.document_by_hash(uow, base_id, sha256):
            return known
    document_id = new_id("doc")
    values = {
        "id": document_id,
        "base_id": base_id,
        "tenant_id": tenant_id,
        "name": name,
        "size": len(data),
        "characters": len(decoded.text),
        "encoding": decoded.encoding,
        "sha256": sha256,
        "source_url": source_url,
    }
    key = service.blob_key(base_id, document_id)
    blobs().put(key, data)
    try:
        with unit_of_work() as uow:
            service.get_base(uow, base_id, tenant_id)
            repository.insert_document(uow, values)
            # The same content may have been added by somebody else a moment ago: that one is the document.
            stored = repository.document_by_hash(uow, base_id, sha256)
        assert stored is not None
    except NotFound:
        blobs().delete(key)
        raise
    if stored.id != document_id:
        blobs().delete(key)
    return stored


def _decoded(data: bytes, name: str) -> Decoded:
    """Return the text of `data`; a kind that a parser reads has none yet, and no encoding."""
    if suffix_of(name) in PARSED:
        check_kind(data, name)
        return Decoded(text="", encoding="")
    return decode(data, name)


def _read(source: BinaryIO | bytes, name: str) -> bytes:
    limit = settings().upload_limit
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    pieces, size = [], 0
    while piece := stream.read(_PIECE):
        size += len(piece)
        if size > limit:
            raise TooLarge("knowledge.too_large", field="file", name=name, limit=_size_text(limit))
        pieces.append(piece)
    return b"".join(pieces)


def _size_text(size: int) -> str:
    return f"{size / 2**20:g} MB" if size >= 2**20 else f"{size:,} B"
