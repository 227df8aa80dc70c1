"""How often retrieval finds the passage that holds the answer, and how fast.

`python -m benchmarks.retrieval [--quick] [--json]`. The whole way is run: documents are added to a
base in a fresh home folder, chunked and indexed by the jobs, and asked through `retrieve`.

A question counts as found when a returned passage comes from its document and holds its answer
word for word. The baseline is full-text search (BM25) alone, on the same index, in the same run.
Questions: data/samples, and XQuAD (240 paragraphs, Artetxe et al. 2020) where the files are present.
Questions without an answer should give no passage; full-text search always gives some.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from benchmarks.corpora import TENANT, Corpus, Question, build, fresh_home, samples, xquad
from benchmarks.rows import Row, report, share

LIMIT = 4
QUICK_PARAGRAPHS = 40
QUICK_REPEATS, REPEATS = 1, 3
TIMED_QUESTIONS = 100


def searchers(base_id: str) -> dict[str, Callable[[str], list[tuple[str, str]]]]:
    """Return ours and the baseline: each gives (document name, text) of at most LIMIT passages."""
    from engine.kit.database import unit_of_work
    from engine.knowledge import embedding, index, repository, retrieve

    with unit_of_work() as uow:
        embedder, _ = repository.searched(uow, [base_id], TENANT)[base_id]
    model = embedding.by_name(embedder)
    nothing = model.embed_query("")

    def ours(question: str) -> list[tuple[str, str]]:
        passages = retrieve.retrieve([base_id], TENANT, question, limit=LIMIT)
        return [(passage.document_name, passage.text) for passage in passages]

    def baseline(question: str) -> list[tuple[str, str]]:
        hits = index.full_text(base_id, TENANT, embedder, text=question, vector=nothing, limit=LIMIT)
        ids = [hit.chunk_id for hit in hits]
        with unit_of_work() as uow:
            chunks = repository.chunks_by_id(uow, [base_id], TENANT, ids)
        return [(chunks[i].document_name, chunks[i].text) for i in ids if i in chunks]

    return {"ours": ours, "baseline": baseline}


@dataclass(frozen=True, kw_only=True)
class Score:
    """Shares of the answerable questions; of the others, the share that got no passage."""

    recall_1: float
    recall_4: float
    mrr: float
    turned_away: float | None
    milliseconds: float


def measure(questions: Sequence[Question], search: Callable[[str], list[tuple[str, str]]]) -> Score:
    """Ask every question once."""
    ranks: list[int] = []
    empty: list[bool] = []
    times: list[float] = []
    for question in questions:
        started = time.perf_counter()
        found = search(question.text)
        times.append(1000 * (time.perf_counter() - started))
        if question.document is None:
            empty.append(not found)
            continue
        holds = [
            name == question.document and any(answer in text for answer in question.answers)
            for name, text in found
        ]
        ranks.append(holds.index(True) + 1 if any(holds) else 0)
    return Score(
        recall_1=sum(rank == 1 for rank in ranks) / len(ranks),
        recall_4=sum(rank > 0 for rank in ranks) / len(ranks),
        mrr=sum(1 / rank for rank in ranks if rank) / len(ranks),
        turned_away=sum(empty) / len(empty) if empty else None,
        milliseconds=statistics.median(times),
    )


def rows(corpus: Corpus, repeats: int) -> Iterator[Row]:
    """Measure one corpus; ours and the baseline take turns."""
    base_id, cut, indexed = build(corpus)
    ways = searchers(base_id)
    scores: dict[str, list[Score]] = {way: [] for way in ways}
    for turn in range(repeats):
        # Found or not is the same every time; only the times want repeating.
        asked = corpus.questions if turn == 0 else corpus.questions[:TIMED_QUESTIONS]
        for way, search in ways.items():
            scores[way].append(measure(asked, search))
    for name, goal in (("recall_1", 0.75), ("recall_4", 0.9), ("mrr", 0.8)):
        ours, base = getattr(scores["ours"][0], name), getattr(scores["baseline"][0], name)
        yield share(f"{corpus.name}: {name.replace('_', '@')}", ours, at_least=goal, baseline=base)
    away = scores["ours"][0].turned_away
    if away is not None:
        yield Row(name=f"{corpus.name}: unanswerable turned away", value=away, unit="share", baseline=0.0)
    ours, base = (statistics.median(s.milliseconds for s in scores[way]) for way in ("ours", "baseline"))
    yield Row(
        name=f"{corpus.name}: query p50",
        value=round(ours, 1),
        unit="ms",
        baseline=round(base, 1),
        ratio=round(ours / base, 2),
        goal="<= 100",
        ok=ours <= 100,
    )
    yield Row(
        name=f"{corpus.name}: chunking", value=round(cut), unit="chunks/s", goal=">= 200", ok=cut >= 200
    )
    yield Row(
        name=f"{corpus.name}: indexing", value=round(indexed), unit="chunks/s", goal=">= 20", ok=indexed >= 20
    )


def measure_all(quick: bool) -> list[Row]:
    """Measure everything in a home folder of its own, removed at the end."""
    with fresh_home():
        limit = QUICK_PARAGRAPHS if quick else None
        corpora = [samples("en"), samples("zh"), xquad("en", limit), xquad("zh", limit)]
        repeats = QUICK_REPEATS if quick else REPEATS
        return [row for corpus in corpora if corpus for row in rows(corpus, repeats)]


if __name__ == "__main__":
    report(
        "How often and how fast retrieval finds the answer.",
        ("lancedb", "sentence-transformers", "torch"),
        measure_all,
    )
