"""How fast a question is answered from many chunks; part of `python -m benchmarks.retrieval`.

The texts are real, their combinations are not: each chunk joins three passages of the English
distractor file, drawn at random. Its vector is the normalised sum of the three's MiniLM vectors, since
embedding a hundred thousand texts takes longer than a benchmark may. Such vectors lie in no clusters,
which is hard on an index. Questions are XQuAD's, and are embedded for real within the measured time.

The baseline is LanceDB's own vector search without a filter on the same table, given the vector: first
as the index answers it, then comparing every vector, which also tells what the index misses.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks.corpora import TENANT, distractors, insert_passages
from benchmarks.rows import Row
from engine.knowledge.schemas import BaseView

SIZES, QUICK_SIZES = (10_000, 100_000), (10_000,)
PASSAGES, QUICK_PASSAGES = 3_000, 300
QUESTIONS, EXACT_QUESTIONS, WARM_UP = 200, 40, 10
JOINED = 3
WRITTEN_AT_ONCE = 10_000
SEED = 20_261_121
GOAL_MS, GOAL_SIZE = 30, 100_000
GOAL_RECALL = 0.95


def fill(size: int, passages: Sequence[str], vectors: Any) -> BaseView:
    """Fill a base with `size` chunks."""
    from engine.kit.database import unit_of_work
    from engine.knowledge import embedding, index, service

    model = embedding.by_name(embedding.name_for("en"))
    with unit_of_work() as uow:
        base = service.create_base(uow, person_id="p", tenant_id=TENANT, name=f"{size} chunks", language="en")
    index.create(base.index_id, model.dimension, "en")
    drawn = np.random.default_rng(SEED).integers(0, len(passages), (size, JOINED))
    for first in range(0, size, WRITTEN_AT_ONCE):
        rows = drawn[first : first + WRITTEN_AT_ONCE]
        texts = ["\n".join(passages[number] for number in row) for row in rows]
        ids = insert_passages(base.id, f"{first}.txt", texts)
        sums = vectors[rows].sum(axis=1)
        entries = [
            index.Entry(id=chunk_id, document_id=str(first), tenant_id=TENANT, text=text)
            for chunk_id, text in zip(ids, texts, strict=True)
        ]
        index.upsert(base.index_id, entries, sums / np.linalg.norm(sums, axis=1, keepdims=True))
    index.optimize(base.index_id)
    return base


def timed(search: Callable[[Any], object], asked: Sequence[Any]) -> tuple[float, float]:
    """Return p50 and p95 of the milliseconds that each question takes, one after another."""
    for one in asked[:WARM_UP]:
        search(one)
    times = []
    for one in asked:
        started = time.perf_counter()
        search(one)
        times.append(1000 * (time.perf_counter() - started))
    return float(np.percentile(times, 50)), float(np.percentile(times, 95))


def rows(quick: bool, questions: Sequence[str]) -> Iterator[Row]:
    """Measure bases of each size."""
    from engine.knowledge import embedding

    passages = distractors("en", QUICK_PASSAGES if quick else PASSAGES)
    vectors = embedding.by_name(embedding.name_for("en")).embed_documents(passages)
    asked = questions[:: max(1, len(questions) // QUESTIONS)][:QUESTIONS]
    for size in QUICK_SIZES if quick else SIZES:
        yield from _size_rows(size, asked, fill(size, passages, vectors))


def _size_rows(size: int, asked: Sequence[str], base: BaseView) -> Iterator[Row]:
    from engine.knowledge import embedding, index, retrieve

    model = embedding.by_name(base.embedder)
    table = index._database().open_table(base.index_id)
    wanted = [model.embed_query(question) for question in asked]

    def raw(vector: Any) -> Any:
        query = table.search(vector).distance_type("cosine").select(["id", "_distance"])
        return query.limit(retrieve.LEG_LIMIT)

    hybrid = timed(lambda question: retrieve.retrieve([base.id], TENANT, question), asked)
    baseline = timed(lambda vector: raw(vector).to_arrow(), wanted)
    exact = timed(lambda vector: raw(vector).bypass_vector_index().to_arrow(), wanted[:EXACT_QUESTIONS])
    own = timed(model.embed_query, asked)
    name = f"{size} chunks"
    for point, ours, theirs in zip(("p50", "p95"), hybrid, baseline, strict=True):
        bound = point == "p95" and size == GOAL_SIZE
        yield Row(
            name=f"{name}: hybrid query {point}, beside raw LanceDB vector search",
            value=round(ours, 1),
            unit="ms",
            baseline=round(theirs, 1),
            ratio=round(ours / theirs, 2),
            goal=f"<= {GOAL_MS}" if bound else "",
            ok=ours <= GOAL_MS if bound else None,
        )
    for what, times in (
        ("raw LanceDB, every vector compared,", exact),
        ("embedding the question alone,", own),
    ):
        for point, value in zip(("p50", "p95"), times, strict=True):
            yield Row(name=f"{name}: {what} {point}", value=round(value, 1), unit="ms")
    kept = []
    for vector in wanted[:EXACT_QUESTIONS]:
        near = index.nearest(base.index_id, TENANT, vector=vector, limit=retrieve.LEG_LIMIT)
        true = set(raw(vector).bypass_vector_index().to_arrow()["id"].to_pylist())
        kept.append(len(true & {hit.chunk_id for hit in near}) / len(true))
    value = float(np.mean(kept))
    yield Row(
        name=f"{name}: vector leg's recall of the true nearest {retrieve.LEG_LIMIT}",
        value=round(value, 3),
        unit="share",
        goal=f">= {GOAL_RECALL}",
        ok=value >= GOAL_RECALL,
    )
