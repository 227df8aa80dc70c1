"""The two long jobs of a knowledge base: cut its documents, then index what was cut.

Both can be stopped, killed and run again at any point: ids follow from the content, writes replace
or skip what is there, and PostgreSQL records what is done. One of them at a time works on a base.
"""

import time
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from engine.kit.blobs import blobs
from engine.kit.database import engine, unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.knowledge import embedding, index, repository, service
from engine.knowledge.chunking import Piece, chunk_id, content_hash, hash_of, search_text, split
from engine.knowledge.decoding import suffix_of
from engine.knowledge.parsing import parse
from engine.knowledge.schemas import DocumentView

CHUNK_KIND = "knowledge.chunk"
INDEX_KIND = "knowledge.index"
RESTORE_KIND = "knowledge.restore"
CHUNKS_PER_CHECKPOINT = 100
VECTORS_PER_WRITE = 1_000
# Above all a pause should not wait long: MiniLM embeds about a hundred passages a second on one core.
EMBED_BATCH = 200
COMPACT_EVERY = 20  # writes between two compactions: each leaves a small file behind
LOCK_POLL = 0.5


class JobContext(Protocol):
    """What a job may ask of whoever runs it."""

    @property
    def params(self) -> Mapping[str, Any]:
        """What the job was submitted with: `base_id`, `tenant_id`."""
        ...

    @property
    def checkpoint(self) -> dict[str, Any] | None:
        """What an earlier attempt saved last."""
        ...

    def report(
        self, *, done: int | None = None, total: int | None = None, message: str | None = None
    ) -> None:
        """Show progress."""
        ...

    def save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a later attempt needs to go on."""
        ...

    def check_stop(self) -> None:
        """Raise when the job was asked to stop."""
        ...


def chunk_job(ctx: JobContext) -> dict[str, Any]:
    """Read and cut every document of the base that is not cut yet.

    Progress counts bytes. Result: {"documents", "chunks", "failed"} of this attempt. A
    document whose text cannot be read is marked failed, and the others go on. Raises NotFound.
    """
    base_id, tenant_id = ctx.params["base_id"], ctx.params["tenant_id"]
    with _only_writer(ctx, base_id):
        with unit_of_work() as uow:
            service.get_base(uow, base_id, tenant_id)
            pending = repository.unchunked(uow, base_id, tenant_id)
        saved = ctx.checkpoint or {}
        done = int(saved.get("bytes", 0))
        total = done + sum(size for _, size in pending)
        result = {"documents": 0, "chunks": 0, "failed": 0}
        for document_id, size in pending:
            written = int(saved["written"]) if saved.get("document_id") == document_id else 0
            made = _chunk_document(ctx, tenant_id, document_id, written, (done, size, total))
            done += size
            result["documents" if made is not None else "failed"] += 1
            result["chunks"] += made or 0
            ctx.save_checkpoint({"document_id": None, "written": 0, "bytes": done})
            ctx.report(done=done, total=total)
            ctx.check_stop()
    return result


def _chunk_document(
    ctx: JobContext, tenant_id: str, document_id: str, written: int, progress: tuple[int, int, int]
) -> int | None:
    """Cut one document from its chunk `written` on; returns the chunks made, None if it failed.

    `progress` are the bytes done before it, its own, and all.
    """
    done, size, total = progress
    with unit_of_work() as uow:
        document = repository.document(uow, document_id, tenant_id)
        if document is None:
            return 0
        if not written:
            repository.delete_chunks(uow, document_id)
    try:
        _parse_document(ctx, document)
        with unit_of_work() as uow:
            text = service.document_text(uow, document_id, tenant_id)
            page_starts = repository.page_starts(uow, document_id)
    except (BadInput, NotFound, UnicodeDecodeError) as error:
        reason = error.key if isinstance(error, BadInput) else "knowledge.lost_text"
        with unit_of_work() as uow:
            repository.set_state(uow, document_id, "failed", reason)
        return None
    pieces = split(text)
    for start in range(written, len(pieces), CHUNKS_PER_CHECKPOINT):
        batch = pieces[start : start + CHUNKS_PER_CHECKPOINT]
        with unit_of_work() as uow:
            if not repository.hold_document(uow, document_id):
                return 0
            repository.insert_chunks(uow, _rows(document, tenant_id, batch, start, page_starts))
        reached = start + len(batch)
        ctx.save_checkpoint({"document_id": document_id, "written": reached, "bytes": done})
        now = done + size * batch[-1].end // len(text)
        ctx.report(done=now, total=total, message=f"{document.name} {reached}/{len(pieces)}")
        ctx.check_stop()
    with unit_of_work() as uow:
        repository.set_state(uow, document_id, "chunked")
    return len(pieces) - written


def _parse_document(ctx: JobContext, document: DocumentView) -> None:
    """Have a parser make the text of a document that is not one yet. Raises BadInput, NotFound."""
    with unit_of_work() as uow:
        if repository.is_parsed(uow, document.id):
            return
    ctx.report(message=document.name)
    data = blobs().read(service.blob_key(document.base_id, document.id))
    parsed = parse(data, suffix_of(document.name), ctx.check_stop)
    with unit_of_work() as uow:
        if repository.hold_document(uow, document.id):
            blobs().put(service.text_key(document.base_id, document.id), parsed.text.encode())
            repository.set_parsed(uow, document.id, len(parsed.text), parsed.page_starts)


def _rows(
    document: DocumentView, tenant_id: str, pieces: list[Piece], first: int, page_starts: list[int] | None
) -> list[dict[str, Any]]:
    return [
        {
            "base_id": document.base_id,
            "id": chunk_id(document.sha256, piece),
            "document_id": document.id,
            "tenant_id": tenant_id,
            "ordinal": first + n,
            "text": piece.text,
            "start": piece.start,
            "end": piece.end,
            "heading": piece.heading,
            "page": bisect_right(page_starts, piece.start) if page_starts else None,
            "content_hash": content_hash(piece),
        }
        for n, piece in enumerate(pieces)
    ]


def index_job(ctx: JobContext) -> dict[str, Any]:
    """Give every chunk of the base its current vector and remove vectors of deleted chunks.

    Only chunks without a vector of the present embedder and content are embedded. Searches keep
    using the former embedder's vectors, if there are any, until all new ones are there. Progress
    counts chunks. Result: {"indexed", "removed", "chunks", "embedder"}. Raises NotFound, NotReady.
    """
    base_id, tenant_id = ctx.params["base_id"], ctx.params["tenant_id"]
    with _only_writer(ctx, base_id):
        with unit_of_work() as uow:
            base = service.get_base(uow, base_id, tenant_id)
        embedder = embedding.for_language(base.language)
        index.create(base_id, embedder.name, embedder.dimension, base.language)
        removed = _reconcile(base_id, embedder.name)
        indexed = _embed_lacking(ctx, base_id, tenant_id, embedder)
        removed += _reconcile(base_id, embedder.name)
        if indexed or removed:
            index.optimize(base_id, embedder.name)
        index.snapshot(base_id, embedder.name)
        with unit_of_work() as uow:
            repository.set_embedder(uow, base_id, embedder.name)
        index.drop(base_id, keep=embedder.name)
        with unit_of_work() as uow:
            chunks = service.get_base(uow, base_id, tenant_id).chunks
    return {"indexed": indexed, "removed": removed, "chunks": chunks, "embedder": embedder.name}


def restore_job(ctx: JobContext) -> dict[str, Any]:
    """Go back to a snapshot of the base's index, `version` of its params.

    The chunks stay as they are: those that the snapshot does not hold, or holds with another text, lack
    their vector until the next indexing. Result: {"chunks", "lacking"}. Raises NotFound.
    """
    base_id, tenant_id = ctx.params["base_id"], ctx.params["tenant_id"]
    version = ctx.params["version"]
    with _only_writer(ctx, base_id):
        with unit_of_work() as uow:
            base = service.get_base(uow, base_id, tenant_id)
        if version not in [kept.version for kept in index.snapshots(base_id, base.embedder)]:
            raise NotFound("knowledge.unknown_snapshot", field="version", version=version)
        index.restore(base_id, base.embedder, version)
        held = {chunk: hash_of(text) for chunk, text in index.texts(base_id, base.embedder).items()}
        with unit_of_work() as uow:
            present = repository.content_hashes(uow, base_id)
            current = {chunk: now for chunk, now in present.items() if held.get(chunk) == now}
            repository.forget_vectors(uow, base_id, present)
            repository.mark_indexed(uow, base_id, base.embedder, current)
        _reconcile(base_id, base.embedder)
    return {"chunks": len(current), "lacking": len(present) - len(current)}


def _reconcile(base_id: str, embedder: str) -> int:
    """Remove vectors without a chunk, and note chunks whose vector is gone; returns the removed."""
    with unit_of_work() as uow:
        chunks = set(repository.chunk_ids(uow, base_id))
        recorded = repository.indexed_ids(uow, base_id, embedder)
    present = index.ids(base_id, embedder)
    if lost := recorded - present:
        with unit_of_work() as uow:
            repository.forget_vectors(uow, base_id, lost)
    stale = sorted(present - chunks)
    index.remove(base_id, stale)
    return len(stale)


def _embed_lacking(ctx: JobContext, base_id: str, tenant_id: str, embedder: embedding.Embedder) -> int:
    with unit_of_work() as uow:
        total = service.get_base(uow, base_id, tenant_id).chunks
        before = done = total - repository.count_lacking(uow, base_id, embedder.name)
    ctx.report(done=done, total=total, message=f"{done}/{total}")
    writes = 0
    while True:
        ctx.check_stop()
        with unit_of_work() as uow:
            rows = repository.lacking(uow, base_id, embedder.name, VECTORS_PER_WRITE)
        if not rows:
            return done - before
        vectors: list[embedding.Vectors] = []
        try:
            for start in range(0, len(rows), EMBED_BATCH):
                part = rows[start : start + EMBED_BATCH]
                vectors.append(embedder.embed_documents([search_text(row.heading, row.text) for row in part]))
                reached = done + start + len(part)
                ctx.report(done=reached, total=max(total, reached), message=f"{reached}/{total}")
                ctx.check_stop()
        finally:
            # What is embedded is kept, whatever stopped the rest.
            done += _write(base_id, embedder, rows, vectors)
            ctx.save_checkpoint({"indexed": done})
        writes += 1
        if writes % COMPACT_EVERY == 0:
            index.optimize(base_id, embedder.name)


def _write(
    base_id: str, embedder: embedding.Embedder, rows: list[Any], vectors: list[embedding.Vectors]
) -> int:
    """Write the vectors of the first rows to the index and record them; returns how many."""
    if not vectors:
        return 0
    flat = np.concatenate(vectors)
    written = rows[: len(flat)]
    entries = [
        index.Entry(id=row.id, tenant_id=row.tenant_id, text=search_text(row.heading, row.text))
        for row in written
    ]
    index.upsert(base_id, embedder.name, entries, flat)
    with unit_of_work() as uow:
        hashes = {row.id: row.content_hash for row in written}
        repository.mark_indexed(uow, base_id, embedder.name, hashes)
    return len(written)


@contextmanager
def _only_writer(ctx: JobContext, base_id: str) -> Iterator[None]:
    """Wait until no other job writes to the base. The database frees the lock if this process dies."""
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not repository.try_lock(connection, base_id):
            ctx.check_stop()
            time.sleep(LOCK_POLL)
        try:
            yield
        finally:
            repository.unlock(connection, base_id)
