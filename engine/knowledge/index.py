"""LanceDB: the search copy of the chunks, one table for each index of a knowledge base.

One writer at a time per table (the caller holds its lock); any number of readers. PostgreSQL stays
the source of truth: a row here without its chunk there is never shown.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from engine.kit.settings import settings
from engine.knowledge.embedding import Vectors
from engine.knowledge.schemas import Snapshot

DELETE_BATCH = 500
SNAPSHOTS = 5  # states of a table that are kept
# Below this, comparing every vector is quick and exact. Above, vectors are kept as bytes in partitions
# of which PROBES are read, and REFINE times as many as asked for are compared exactly.
VECTOR_INDEX_ROWS = 20_000
PROBES = 44
REFINE = 2
# BM25 alone on XQuAD finds the passage first for 83% of the English questions by stemmed words, for
# 70% by 1- and 2-grams. In Chinese the word tokenizer finds nothing, and 2-grams alone would miss
# questions of a single character.
_ENGLISH: dict[str, Any] = {"base_tokenizer": "simple", "stem": True, "remove_stop_words": True}
_NGRAMS: dict[str, Any] = {
    "base_tokenizer": "ngram",
    "ngram_min_length": 1,
    "ngram_max_length": 2,
    "stem": False,
    "remove_stop_words": False,
}


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A chunk that a leg found: its vector, of length 1, and its BM25 score (0 in the other leg)."""

    chunk_id: str
    vector: Vectors
    bm25: float


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the index keeps of a chunk: `text` is what full-text search sees, heading included."""

    id: str
    document_id: str
    tenant_id: str
    text: str


@lru_cache(maxsize=1)
def _connect(folder: Path) -> Any:
    import lancedb

    folder.mkdir(parents=True, exist_ok=True)
    # Zero: every read sees what other processes have committed.
    return lancedb.connect(str(folder), read_consistency_interval=timedelta(0))


_first = Lock()


def _database() -> Any:
    # Two threads that import the library for the first time at once break its import.
    with _first:
        return _connect(settings().home / "lance")


def tables() -> list[str]:
    """Return the names of all tables there are: the ids of the indexes they belong to."""
    names: list[str] = []
    token: str | None = None
    while True:
        page = _database().list_tables(page_token=token, limit=500)
        names += page.tables
        token = page.page_token
        if not token:
            return names


def _open(name: str) -> Any | None:
    try:
        return _database().open_table(name)
    except ValueError:
        return None


def create(index_id: str, dimension: int, language: str) -> None:
    """Create the table of an index, or what is lacking of it.

    English texts are searched by stemmed words, others by characters and pairs of characters.
    """
    from lancedb.index import FTS

    table = _open(index_id)
    if table is None:
        table = _database().create_table(index_id, schema=_schema(dimension))
    # Whoever made it may have been killed on the way, so each step looks for itself.
    if not any(b"primary-key" in name for name in table.schema.field("id").metadata or {}):
        # Without a declared key, concurrent upserts of the same id silently leave duplicates.
        table.set_unenforced_primary_key("id")
    if not table.list_indices():
        table.create_index("text", config=FTS(**(_ENGLISH if language == "en" else _NGRAMS)))


def _schema(dimension: int) -> Any:
    import pyarrow as pa

    text, required = pa.string(), False
    return pa.schema(
        [
            pa.field("id", text, required),
            pa.field("document_id", text, required),
            pa.field("tenant_id", text, required),
            pa.field("text", text, required),
            pa.field("vector", pa.list_(pa.float32(), dimension), required),
        ]
    )


def upsert(index_id: str, entries: Sequence[Entry], vectors: Vectors) -> None:
    """Write chunks with their vectors, shape (len(entries), dimension); a known id is replaced."""
    import pyarrow as pa

    table = _database().open_table(index_id)
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    columns = [
        pa.array([entry.id for entry in entries]),
        pa.array([entry.document_id for entry in entries]),
        pa.array([entry.tenant_id for entry in entries]),
        pa.array([entry.text for entry in entries]),
        pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
    ]
    rows = pa.Table.from_arrays(columns, schema=table.schema)
    table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)


def optimize(index_id: str) -> None:
    """Compact small files and bring all indexes up to date with all rows."""
    table = _database().open_table(index_id)
    _index_columns(table)
    table.optimize()


def _index_columns(table: Any) -> None:
    """Index tenants, and vectors once there are many; anew when the table has outgrown its partitions."""
    from lancedb.index import Bitmap, IvfSq

    present = {config.name: list(config.columns) for config in table.list_indices()}
    if ["tenant_id"] not in present.values():
        table.create_index("tenant_id", config=Bitmap())
    if (rows := table.count_rows()) < VECTOR_INDEX_ROWS:
        return
    partitions = math.isqrt(rows) // 5
    former = [name for name, columns in present.items() if columns == ["vector"]]
    newest = max((int(name.rsplit("_", 1)[1]) for name in former), default=0)
    if partitions < 2 * newest:
        return
    config = IvfSq(distance_type="cosine", num_partitions=partitions, max_iterations=20, sample_rate=64)
    table.create_index("vector", config=config, name=f"vector_{partitions}")
    for name in former:
        table.drop_index(name)


def snapshot(index_id: str) -> None:
    """Keep the table as it is now under a name, so that `restore` can go back to it; the oldest go."""
    table = _database().open_table(index_id)
    kept = sorted(tag["version"] for tag in table.tags.list().values())
    if table.version in kept:
        return
    table.tags.create(f"snapshot-{table.version}", table.version)
    for version in kept[: max(0, len(kept) + 1 - SNAPSHOTS)]:
        table.tags.delete(f"snapshot-{version}")


def snapshots(index_id: str) -> list[Snapshot]:
    """Return the kept states of an index, newest first."""
    table = _open(index_id)
    if table is None:
        return []
    kept = {tag["version"] for tag in table.tags.list().values()}
    return [
        Snapshot(
            version=found["version"],
            chunks=int(found["metadata"]["total_rows"]),
            created_at=found["timestamp"].astimezone(UTC),
        )
        for found in reversed(table.list_versions())
        if found["version"] in kept
    ]


def restore(index_id: str, version: int) -> None:
    """Make a kept state the present one; what came after stays in the table's history."""
    table = _database().open_table(index_id)
    table.restore(version)


def texts(index_id: str) -> dict[str, str]:
    """Return the text that each row of an index was made of, by id."""
    table = _open(index_id)
    if table is None:
        return {}
    found = table.search().select(["id", "text"]).limit(None).to_arrow()
    return dict(zip(found["id"].to_pylist(), found["text"].to_pylist(), strict=True))


def ids(index_id: str) -> set[str]:
    """Return the ids of all rows of an index."""
    table = _open(index_id)
    if table is None:
        return set()
    return set(table.search().select(["id"]).limit(None).to_arrow()["id"].to_pylist())


def remove(index_id: str, chunk_ids: Sequence[str]) -> None:
    """Delete rows of an index."""
    from lancedb.expr import col

    table = _open(index_id)
    if table is None:
        return
    for batch in _batches(chunk_ids):
        table.delete(col("id").isin(batch))


def drop(index_id: str) -> None:
    """Drop the table of an index, if there is one."""
    _database().drop_table(index_id, ignore_missing=True)


def full_text(
    index_id: str, tenant_id: str, *, text: str, limit: int, documents: Sequence[str] | None = None
) -> list[Hit]:
    """Return what full-text search (BM25) finds for `text`, best first, at most `limit`.

    Rows of another tenant are never considered, nor those of other documents than `documents`, where
    that is given; an index without a table gives nothing.
    """
    table = _open(index_id)
    if table is None:
        return []
    query = table.search(text, query_type="fts", fts_columns="text")
    query = query.where(_wanted(tenant_id, documents), prefilter=True).select(["id", "vector", "_score"])
    return list(_hits(query.limit(limit).to_arrow()))


def nearest(
    index_id: str, tenant_id: str, *, vector: Vectors, limit: int, documents: Sequence[str] | None = None
) -> list[Hit]:
    """Return the rows nearest to `vector`, nearest first, at most `limit`; filtered like `full_text`."""
    table = _open(index_id)
    if table is None:
        return []
    query = table.search(vector).distance_type("cosine").nprobes(PROBES).refine_factor(REFINE)
    query = query.where(_wanted(tenant_id, documents), prefilter=True).select(["id", "vector", "_distance"])
    return list(_hits(query.limit(limit).to_arrow()))


def _wanted(tenant_id: str, documents: Sequence[str] | None) -> Any:
    # Expressions, not strings: a `where` string is raw SQL. The table itself is that of one base.
    from lancedb.expr import col, lit

    mine = col("tenant_id") == lit(tenant_id)
    return mine if documents is None else mine & col("document_id").isin(documents)


def _hits(found: Any) -> Iterator[Hit]:
    flat = found["vector"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    vectors = flat.reshape(len(found), -1) if len(found) else []
    scores = found["_score"].to_pylist() if "_score" in found.column_names else [0.0] * len(found)
    for chunk_id, vector, score in zip(found["id"].to_pylist(), vectors, scores, strict=True):
        yield Hit(chunk_id=chunk_id, vector=vector, bm25=score)


def _batches(items: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(items), DELETE_BATCH):
        yield items[start : start + DELETE_BATCH]
