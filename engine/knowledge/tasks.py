"""The two long jobs of an index: cut the documents of its base, then give what was cut its vectors.

Both can be stopped, killed and run again at any point: ids follow from the content, writes replace
or skip what is there, and PostgreSQL records what is done. One of them at a time works on an index.
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
from engine.knowledge import embedding, index, indexes, repository, service
from engine.knowledge.chunking import Piece, chunk_id, content_hash, hash_of, search_text, split
from engine.knowledge.decoding import suffix_of
from engine.knowledge.parsing import parse
from engine.knowledge.schemas import DocumentView, IndexView

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
        """What the job was submitted with: `index_id`, `tenant_id`."""
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
    """Read and cut every document that the index lacks, and carry over what people changed in the live one.

    Progress counts bytes. Result: {"documents", "chunks", "failed"} of this attempt. A
    document whose text cannot be read is marked failed, and the others go on. Raises NotFound.
    """
    index_id, tenant_id = ctx.params["index_id"], ctx.params["tenant_id"]
    with _only_writer(ctx, index_id):
        with unit_of_work() as uow:
            ours = indexes.get_index(uow, index_id, tenant_id)
            pending = repository.uncut(uow, index_id)
        saved = ctx.checkpoint or {}
        done = int(saved.get("bytes", 0))
        total = done + sum(size for _, size in pending)
        result = {"documents": 0, "chunks": 0, "failed": 0}
        for document_id, size in pending:
            written = int(saved["written"]) if saved.get("document_id") == document_id else 0
            made = _chunk_document(ctx, ours, document_id, written, (done, size, total))
            done += size
            result["documents" if made is not None else "failed"] += 1
            result["chunks"] += made or 0
            ctx.save_checkpoint({"document_id": None, "written": 0, "bytes": done})
            ctx.report(done=done, total=total)
            ctx.check_stop()
        with unit_of_work() as uow:
            indexes.carry_changes(uow, index_id, tenant_id)
    return result


def _chunk_document(
    ctx: JobContext, ours: IndexView, document_id: str, written: int, progress: tuple[int, int, int]
) -> int | None:
    """Cut one document from its chunk `written` on; returns the chunks made, None if it failed.

    `progress` are the bytes done before it, its own, and all.
    """
    done, size, total = progress
    tenant_id = ctx.params["tenant_id"]
    with unit_of_work() as uow:
        document = repository.document(uow, document_id, tenant_id)
        if document is None:
            return 0
        if not written:
            repository.delete_chunks(uow, ours.id, document_id)
    try:
        _parse_document(ctx, document)
        with unit_of_work() as uow:
            text = service.document_text(uow, document_id, tenant_id)
            page_starts = repository.page_starts(uow, document_id)
    except (BadInput, NotFound, UnicodeDecodeError) as error:
        reason = error.key if isinstance(error, BadInput) else "knowledge.lost_text"
        with unit_of_work() as uow:
            repository.set_error(uow, document_id, reason)
        return None
    pieces = split(text, target_tokens=ours.target_tokens)
    for start in range(written, len(pieces), CHUNKS_PER_CHECKPOINT):
        batch = pieces[start : start + CHUNKS_PER_CHECKPOINT]
        rows = _rows(document, batch, start, page_starts)
        with unit_of_work() as uow:
            if not repository.hold_document(uow, document_id):
                return 0
            repository.insert_chunks(
                uow, [row | {"index_id": ours.id, "tenant_id": tenant_id} for row in rows]
            )
        reached = start + len(batch)
        ctx.save_checkpoint({"document_id": document_id, "written": reached, "bytes": done})
        now = done + size * batch[-1].end // len(text)
        ctx.report(done=now, total=total, message=f"{document.name} {reached}/{len(pieces)}")
        ctx.check_stop()
    with unit_of_work() as uow:
        if repository.hold_document(uow, document_id):
            repository.set_cut(uow, ours.id, document_id)
    return len(pieces) - written


def _parse_document(ctx: JobContext, document: DocumentView) -> None:
    """Have a parser make the text of a document that is not one yet. Raises BadInput, NotFound."""
    with unit_of_work() as uow:
        if repository.is_parsed(uow, document.id):
            return
    ctx.report(message=document.name)
    data = blobs().read(service.blob_key(document.base_id, document.id))
    parsed = parse(data, suffix_of(document.name), ctx.check_stop)
    key = service.text_key(document.base_id, document.id)
    blobs().put(key, parsed.text.encode())
    with unit_of_work() as uow:
        if held := repository.hold_document(uow, document.id):
            repository.set_parsed(uow, document.id, len(parsed.text), parsed.page_starts)
    if not held:
        blobs().delete(key)


def _rows(
    document: DocumentView, pieces: list[Piece], first: int, page_starts: list[int] | None
) -> list[dict[str, Any]]:
    return [
        {
            "id": chunk_id(document.sha256, piece),
            "document_id": document.id,
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
    """Give every chunk of the index its current vector and remove vectors of deleted chunks.

    Only chunks without a vector of their present content are embedded; searches go on meanwhile.
    Progress counts chunks. Result: {"indexed", "removed", "chunks", "embedder"}. Raises NotFound, NotReady.
    """
    index_id, tenant_id = ctx.params["index_id"], ctx.params["tenant_id"]
    with _only_writer(ctx, index_id):
        with unit_of_work() as uow:
            ours = indexes.get_index(uow, index_id, tenant_id)
        embedder = embedding.by_name(ours.embedder)
        index.create(index_id, embedder.dimension, ours.language)
        removed = _reconcile(index_id)
        indexed = _embed_lacking(ctx, index_id, tenant_id, embedder)
        removed += _reconcile(index_id)
        if indexed or removed:
            index.optimize(index_id)
        index.snapshot(index_id)
        with unit_of_work() as uow:
            chunks = indexes.get_index(uow, index_id, tenant_id).chunks
    return {"indexed": indexed, "removed": removed, "chunks": chunks, "embedder": embedder.name}


def restore_job(ctx: JobContext) -> dict[str, Any]:
    """Go back to a snapshot of the index, `version` of its params.

    The chunks stay as they are: those that the snapshot does not hold, or holds with another text, lack
    their vector until the next indexing. Result: {"chunks", "lacking"}. Raises NotFound.
    """
    index_id, version = ctx.params["index_id"], ctx.params["version"]
    with _only_writer(ctx, index_id):
        with unit_of_work() as uow:
            indexes.get_index(uow, index_id, ctx.params["tenant_id"])
        if version not in [kept.version for kept in index.snapshots(index_id)]:
            raise NotFound("knowledge.unknown_snapshot", field="version", version=version)
        index.restore(index_id, version)
        held = {chunk: hash_of(text) for chunk, text in index.texts(index_id).items()}
        with unit_of_work() as uow:
            present = repository.content_hashes(uow, index_id)
            current = {chunk: now for chunk, now in present.items() if held.get(chunk) == now}
            repository.forget_vectors(uow, index_id, present)
            repository.mark_indexed(uow, index_id, current)
        _reconcile(index_id)
    return {"chunks": len(current), "lacking": len(present) - len(current)}


def _reconcile(index_id: str) -> int:
    """Remove vectors without a chunk, and note chunks whose vector is gone; returns the removed."""
    with unit_of_work() as uow:
        chunks = set(repository.chunk_ids(uow, index_id))
        recorded = repository.indexed_ids(uow, index_id)
    present = index.ids(index_id)
    if lost := recorded - present:
        with unit_of_work() as uow:
            repository.forget_vectors(uow, index_id, lost)
    stale = sorted(present - chunks)
    index.remove(index_id, stale)
    return len(stale)


def _embed_lacking(ctx: JobContext, index_id: str, tenant_id: str, embedder: embedding.Embedder) -> int:
    with unit_of_work() as uow:
        total = indexes.get_index(uow, index_id, tenant_id).chunks
        before = done = total - repository.count_lacking(uow, index_id)
    ctx.report(done=done, total=total, message=f"{done}/{total}")
    writes = 0
    while True:
        ctx.check_stop()
        with unit_of_work() as uow:
            rows = repository.lacking(uow, index_id, VECTORS_PER_WRITE)
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
            done += _write(index_id, rows, vectors)
            ctx.save_checkpoint({"indexed": done})
        writes += 1
        if writes % COMPACT_EVERY == 0:
            index.optimize(index_id)


def _write(index_id: str, rows: list[Any], vectors: list[embedding.Vectors]) -> int:
    """Write the vectors of the first rows to the index and record them; returns how many."""
    if not vectors:
        return 0
    flat = np.concatenate(vectors)
    written = rows[: len(flat)]
    entries = [
        index.Entry(
            id=row.id,
            document_id=row.document_id,
            tenant_id=row.tenant_id,
            text=search_text(row.heading, row.text),
        )
        for row in written
    ]
    index.upsert(index_id, entries, flat)
    with unit_of_work() as uow:
        repository.mark_indexed(uow, index_id, {row.id: row.content_hash for row in written})
    return len(written)


@contextmanager
def _only_writer(ctx: JobContext, index_id: str) -> Iterator[None]:
    """Wait until no other job writes to the index. The database frees the lock if this process dies."""
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not repository.try_lock(connection, index_id):
            ctx.check_stop()
            time.sleep(LOCK_POLL)
        try:
            yield
        finally:
            repository.unlock(connection, index_id)
