"""How often retrieval finds the passage that holds the answer, and how fast.

`python -m benchmarks.retrieval [--quick] [--json]`. The whole way is run: documents are added to a
base in a fresh home folder, chunked and indexed by the jobs, and asked through `retrieve`.

- data/samples and XQuAD (240 paragraphs, Artetxe et al. 2020; where the files are present), strictly: a
  question counts as found when a returned passage comes from its document and holds its answer word for
  word. The baseline is full-text search alone. Questions without an answer should give no passage.
- XQuAD by document, alone and hidden among 10,000 distractor passages: found when a returned passage is
  of its paragraph. Ours as the product answers and without its threshold of evidence, each leg alone, and
  in English the library bm25s, on whole paragraphs and on the passages of ours. MRR looks at ten passages.
- A base of 10,000 and of 100,000 chunks: see benchmarks/scale.py.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from benchmarks import scale
from benchmarks.corpora import (
    DISTRACTOR,
    TENANT,
    Corpus,
    Question,
    build,
    distractors,
    fresh_home,
    samples,
    xquad,
)
from benchmarks.rows import Row, report, share

DEPTH = 10
SHOWN = 4  # passages that the product gives to a model
QUICK_PARAGRAPHS = 40
DISTRACTORS, QUICK_DISTRACTORS = 10_000, 500
EVERY_EVIDENCE = -2.0  # a cosine is at least -1

Search = Callable[[str], list[tuple[str, str]]]


def searchers(base_id: str) -> dict[str, Search]:
    """Return ours and its parts: each gives (document name, text) of at most DEPTH passages, best first."""
    from engine.kit.database import unit_of_work
    from engine.knowledge import embedding, index, lexical, repository, retrieve

    with unit_of_work() as uow:
        used = repository.searched(uow, [base_id], TENANT)[base_id]
    model = embedding.by_name(used.embedder)
    place = (used.index_id, TENANT)

    def shown(hits: Sequence[index.Hit]) -> list[tuple[str, str]]:
        ids = [hit.chunk_id for hit in hits]
        with unit_of_work() as uow:
            chunks = repository.chunks_by_id(uow, [used.index_id], TENANT, ids)
        return [(chunks[i].document_name, chunks[i].text) for i in ids if i in chunks]

    def ours(question: str) -> list[tuple[str, str]]:
        passages = retrieve.retrieve([base_id], TENANT, question, limit=DEPTH)
        return [(passage.document_name, passage.text) for passage in passages]

    def without_threshold(question: str) -> list[tuple[str, str]]:
        candidates = retrieve.fused(retrieve.legs(*place, used.embedder, question), EVERY_EVIDENCE)
        with unit_of_work() as uow:
            chunks = repository.chunks_by_id(uow, [used.index_id], TENANT, candidates)
        passages = retrieve.ranked(question, candidates, chunks)[:DEPTH]
        return [(passage.document_name, passage.text) for passage in passages]

    def full_text(question: str) -> list[tuple[str, str]]:
        return shown(index.full_text(*place, text=lexical.sought(question), limit=DEPTH))

    def vectors(question: str) -> list[tuple[str, str]]:
        return shown(index.nearest(*place, vector=model.embed_query(question), limit=DEPTH))

    return {"ours": ours, "no threshold": without_threshold, "full text": full_text, "vectors": vectors}


def bm25s_over(passages: Sequence[tuple[str, str]]) -> Search:
    """Return a search of the library bm25s (Lucene's BM25, stemmed English words) over passages."""
    import bm25s
    import Stemmer

    stemmer = Stemmer.Stemmer("english")

    def words(texts: list[str]) -> object:
        return bm25s.tokenize(texts, stopwords="en", stemmer=stemmer, show_progress=False)

    library = bm25s.BM25(method="lucene")
    library.index(words([text for _, text in passages]), show_progress=False)

    def search(question: str) -> list[tuple[str, str]]:
        found, _ = library.retrieve(words([question]), k=DEPTH, show_progress=False)
        return [passages[number] for number in found[0].tolist()]

    return search


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The place (from 1; 0: not among DEPTH) of the first right passage of each answerable question.

    `away` tells of each of the others whether it got no passage; times are milliseconds.
    """

    document: list[int]
    answer: list[int]
    away: list[bool]
    times: list[float]


def ask(questions: Sequence[Question], search: Search) -> Ranks:
    """Ask every question once."""
    ranks = Ranks(document=[], answer=[], away=[], times=[])
    for question in questions:
        started = time.perf_counter()
        found = search(question.text)
        ranks.times.append(1000 * (time.perf_counter() - started))
        if question.document is None:
            ranks.away.append(not found)
            continue
        right = [name == question.document for name, _ in found]
        holds = [
            own and any(answer in text for answer in question.answers)
            for own, (_, text) in zip(right, found, strict=True)
        ]
        ranks.document.append(right.index(True) + 1 if any(right) else 0)
        ranks.answer.append(holds.index(True) + 1 if any(holds) else 0)
    return ranks


def recall(ranks: Sequence[int], within: int) -> float:
    """Return the share of questions whose passage is among the first `within`."""
    return sum(0 < rank <= within for rank in ranks) / len(ranks)


def mrr(ranks: Sequence[int], depth: int = DEPTH) -> float:
    """Return the mean of one over the place, 0 where nothing is found among the first `depth`."""
    return sum(1 / rank for rank in ranks if 0 < rank <= depth) / len(ranks)


def strict_rows(corpus: Corpus) -> Iterator[Row]:
    """Measure one corpus by whether the answer itself is found, and its speed."""
    base_id, cut, indexed = build(corpus)
    ways = searchers(base_id)
    ours, base = (ask(corpus.questions, ways[way]) for way in ("ours", "full text"))
    for name, value, baseline, goal in (
        ("recall@1", recall(ours.answer, 1), recall(base.answer, 1), 0.75),
        (f"recall@{SHOWN}", recall(ours.answer, SHOWN), recall(base.answer, SHOWN), 0.9),
        ("mrr", mrr(ours.answer, SHOWN), mrr(base.answer, SHOWN), 0.8),
    ):
        yield share(f"{corpus.name}, answer: {name}", value, at_least=goal, baseline=baseline)
    if ours.away:
        value = sum(ours.away) / len(ours.away)
        yield Row(name=f"{corpus.name}: unanswerable turned away", value=value, unit="share", baseline=0.0)
    median = statistics.median(ours.times)
    yield Row(
        name=f"{corpus.name}: query p50",
        value=round(median, 1),
        unit="ms",
        baseline=round(statistics.median(base.times), 1),
        goal="<= 100",
        ok=median <= 100,
    )
    for name, speed, goal in (("chunking", cut, 200), ("indexing", indexed, 20)):
        yield Row(
            name=f"{corpus.name}: {name}",
            value=round(speed),
            unit="chunks/s",
            goal=f">= {goal}",
            ok=speed >= goal,
        )
    if corpus.name.startswith("xquad"):
        yield from document_rows(corpus, base_id)


def document_rows(corpus: Corpus, base_id: str) -> Iterator[Row]:
    """Measure one corpus by whether the paragraph is found: ours beside each leg and the library."""
    ways = searchers(base_id)
    if corpus.language == "en":
        ways["bm25s on whole paragraphs"] = bm25s_over(
            [*corpus.documents.items(), *((DISTRACTOR, text) for text in corpus.distractors)]
        )
        ways["bm25s on our passages"] = bm25s_over(passages_of(base_id))
    asked = {way: ask(corpus.questions, search).document for way, search in ways.items()}
    rivals = [way for way in ways if way not in ("ours", "no threshold")]
    for name, figure in (
        ("recall@1", lambda r: recall(r, 1)),
        ("recall@5", lambda r: recall(r, 5)),
        ("mrr", mrr),
    ):
        values = {way: figure(ranks) for way, ranks in asked.items()}
        best = max(values[way] for way in rivals)
        goal = 0.98 if name == "recall@5" and not corpus.distractors else best if corpus.distractors else None
        for way, value in values.items():
            yield share(
                f"{corpus.name}: {name}, {way}",
                value,
                at_least=goal if way == "ours" else None,
                baseline=best if way == "ours" else None,
            )


def passages_of(base_id: str) -> list[tuple[str, str]]:
    """Return (document name, text as it is searched) of every chunk of a base."""
    from engine.kit.database import unit_of_work
    from engine.knowledge import service
    from engine.knowledge.chunking import search_text

    with unit_of_work() as uow:
        chunks = service.chunks(uow, base_id, TENANT, limit=1_000_000)
    return [(chunk.document_name, search_text(chunk.heading, chunk.text)) for chunk in chunks]


def measure_all(quick: bool) -> list[Row]:
    """Measure everything in a home folder of its own, removed at the end."""
    paragraphs = QUICK_PARAGRAPHS if quick else None
    most = QUICK_DISTRACTORS if quick else DISTRACTORS
    alone = [corpus for language in ("en", "zh") if (corpus := xquad(language, paragraphs))]
    with fresh_home():
        rows = [row for corpus in (samples("en"), samples("zh"), *alone) for row in strict_rows(corpus)]
        for corpus in alone:
            passages = distractors(corpus.language, most)
            hidden = replace(corpus, name=f"{corpus.name} among {len(passages)}", distractors=passages)
            rows += document_rows(hidden, build(hidden)[0])
        if alone:
            rows += scale.rows(quick, [question.text for question in alone[0].questions])
    return rows


if __name__ == "__main__":
    report(
        "How often and how fast retrieval finds the answer.",
        ("lancedb", "sentence-transformers", "torch", "bm25s"),
        measure_all,
    )
