"""What people do with knowledge bases: create them, add and remove documents, look inside."""

from collections.abc import Sequence
from typing import get_args

from sqlalchemy.orm import Session

from engine.kit.blobs import blobs
from engine.kit.database import after_commit, engine
from engine.kit.errors import BadInput, NotFound
from engine.kit.ids import new_id
from engine.knowledge import embedding, index, repository
from engine.knowledge.chunking import TARGET_TOKENS
from engine.knowledge.decoding import clean_name
from engine.knowledge.models import KnowledgeBase, KnowledgeIndex
from engine.knowledge.schemas import BaseLanguage, BaseView, ChunkView, DocumentView

BASE_NAME_LENGTH = 80
MOST_LABELS, LABEL_LENGTH = 10, 40
MOST_WORDS = 10  # that a list of chunks is narrowed by


def blob_key(base_id: str, document_id: str) -> str:
    """Return where a document's bytes lie in the object store."""
    return f"knowledge/{base_id}/{document_id}"


def text_key(base_id: str, document_id: str) -> str:
    """Return where the text that a parser made of a document lies in the object store."""
    return f"{blob_key(base_id, document_id)}.text"


def create_base(uow: Session, *, person_id: str, tenant_id: str, name: str, language: str) -> BaseView:
    """Create an empty knowledge base for texts in `language` ("en", "zh" or "mixed"), with its index.

    Raises BadInput for a missing or overlong name, or another language.
    """
    name = " ".join(name.split())
    if not 0 < len(name) <= BASE_NAME_LENGTH:
        raise BadInput("knowledge.bad_name", field="name", most=BASE_NAME_LENGTH)
    if language not in get_args(BaseLanguage):
        raise BadInput("knowledge.bad_language", field="language", language=language[:20])
    base = KnowledgeBase(
        id=new_id("kb"), tenant_id=tenant_id, owner_id=person_id, name=name, language=language
    )
    repository.add_base(uow, base)
    first = KnowledgeIndex(
        id=new_id("ki"),
        base_id=base.id,
        tenant_id=tenant_id,
        embedder=embedding.name_for(language),
        target_tokens=TARGET_TOKENS,
        live=True,
    )
    repository.add_index(uow, first)
    return get_base(uow, base.id, tenant_id)


def get_base(uow: Session, base_id: str, tenant_id: str) -> BaseView:
    """Return a base of the tenant. Raises NotFound."""
    found = repository.base(uow, base_id, tenant_id)
    if found is None:
        raise NotFound("knowledge.unknown_base", field="base_id")
    return found


def hold_base(uow: Session, base_id: str, tenant_id: str) -> BaseView:
    """Return a base of the tenant; others who hold it wait until the transaction ends. Raises NotFound."""
    repository.hold_base(uow, base_id)
    return get_base(uow, base_id, tenant_id)


def bases(uow: Session, tenant_id: str) -> list[BaseView]:
    """Return the tenant's bases, newest first."""
    return repository.bases(uow, tenant_id)


def delete_base(uow: Session, base_id: str, tenant_id: str) -> None:
    """Delete a base with its documents, chunks and vectors. Raises NotFound."""
    tables = [each.id for each in repository.indexes(uow, base_id, tenant_id)]
    if not repository.delete_base(uow, base_id, tenant_id):
        raise NotFound("knowledge.unknown_base", field="base_id")

    def clear() -> None:
        for table in tables:
            index.drop(table)
        blobs().delete(f"knowledge/{base_id}")

    after_commit(uow, clear)


def expect_document(
    uow: Session, base_id: str, tenant_id: str, filename: str, sha256: str
) -> tuple[str, DocumentView | None]:
    """Return the clean name of a file that is to come, and the document that has its content already.

    Raises NotFound (base), and BadInput for a kind of file that cannot be read.
    """
    get_base(uow, base_id, tenant_id)
    return clean_name(filename), repository.document_by_hash(uow, base_id, sha256)


def get_document(uow: Session, document_id: str, tenant_id: str) -> DocumentView:
    """Return a document of the tenant. Raises NotFound."""
    return _document(uow, document_id, tenant_id)


def stored_bytes(uow: Session, tenant_id: str) -> int:
    """Return how many bytes of documents the tenant keeps."""
    return repository.stored_bytes(uow, tenant_id)


def documents(uow: Session, base_id: str, tenant_id: str) -> list[DocumentView]:
    """Return a base's documents in the order in which they came. Raises NotFound."""
    get_base(uow, base_id, tenant_id)
    return repository.documents(uow, base_id, tenant_id)


def delete_document(uow: Session, document_id: str, tenant_id: str) -> None:
    """Delete a document with its chunks and vectors. Raises NotFound."""
    document = _document(uow, document_id, tenant_id)
    held = repository.document_chunks(uow, document_id)
    repository.delete_document(uow, document_id, tenant_id)

    # Vectors that stay behind do no harm: searches read PostgreSQL, and the next indexing removes them.
    def clear() -> None:
        for index_id, chunk_ids in held.items():
            remove_vectors(index_id, chunk_ids)
        for key in (blob_key, text_key):
            blobs().delete(key(document.base_id, document_id))

    after_commit(uow, clear)


def set_labels(uow: Session, document_id: str, tenant_id: str, labels: Sequence[str]) -> DocumentView:
    """Replace the labels of a document, by which searches can be narrowed. Raises NotFound and BadInput."""
    _document(uow, document_id, tenant_id)
    plain = list(dict.fromkeys(" ".join(storable(label).split()) for label in labels))
    if len(plain) > MOST_LABELS or not all(0 < len(label) <= LABEL_LENGTH for label in plain):
        raise BadInput("knowledge.bad_labels", field="labels", most=MOST_LABELS, length=LABEL_LENGTH)
    repository.set_labels(uow, document_id, plain)
    return _document(uow, document_id, tenant_id)


def labels(uow: Session, base_id: str, tenant_id: str) -> list[str]:
    """Return the labels that documents of a base have, by name. Raises NotFound."""
    get_base(uow, base_id, tenant_id)
    return repository.labels(uow, base_id, tenant_id)


def document_text(uow: Session, document_id: str, tenant_id: str) -> str:
    """Return the whole text that chunk offsets point into. Raises NotFound, also while it is not parsed."""
    document = _document(uow, document_id, tenant_id)
    encoding = repository.encoding(uow, document_id)
    if encoding:
        return blobs().read(blob_key(document.base_id, document_id)).decode(encoding)
    return blobs().read(text_key(document.base_id, document_id)).decode()


def chunks(
    uow: Session, base_id: str, tenant_id: str, limit: int = 50, offset: int = 0, words: str = ""
) -> list[ChunkView]:
    """Return a page of the chunks of a base that hold all of `words`, in reading order. Raises NotFound."""
    base = get_base(uow, base_id, tenant_id)
    return repository.chunks(uow, base.index_id, tenant_id, limit, offset, _asked(words))


def count_chunks(uow: Session, base_id: str, tenant_id: str, words: str = "") -> int:
    """Return how many chunks of a base hold all of `words`, also of those taken out. Raises NotFound."""
    base = get_base(uow, base_id, tenant_id)
    return repository.count_chunks(uow, base.index_id, tenant_id, _asked(words))


def _asked(words: str) -> list[str]:
    return storable(words).split()[:MOST_WORDS]


def storable(text: str) -> str:
    """Return `text` without what PostgreSQL refuses: NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode()


def _document(uow: Session, document_id: str, tenant_id: str) -> DocumentView:
    found = repository.document(uow, document_id, tenant_id)
    if found is None:
        raise NotFound("knowledge.unknown_document", field="document_id")
    return found


def remove_vectors(index_id: str, chunk_ids: Sequence[str]) -> None:
    """Remove vectors, unless a job is writing to the index: it removes those without a chunk at its end.

    A row deleted while that job compacts its table would make the job fail.
    """
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if not repository.try_lock(connection, index_id):
            return
        try:
            index.remove(index_id, chunk_ids)
        finally:
            repository.unlock(connection, index_id)
