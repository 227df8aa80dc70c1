"""How fast documents become searchable, and what is lost when that is interrupted.

`python -m benchmarks.ingest [--quick] [--json]`. What is measured, in this order:

- speed: the whole way from stored documents to a searchable base, both jobs; the baseline is the
  embedder alone, given the same texts at once. Running text, where the files are present;
- uploads cut at random points of the network (`benchmarks/cuts.py`);
- chunking and indexing killed at random moments (`benchmarks/kills.py`);
- random searches across tenants (`benchmarks/strangers.py`).
"""

import statistics
import time
from collections.abc import Iterator

from benchmarks.corpora import TENANT, Corpus, build, fresh_home, running_text
from benchmarks.cuts import uploads
from benchmarks.kills import kills
from benchmarks.rows import Row, report
from benchmarks.strangers import queries

GOAL = 0.9
# About 150 passages a turn for the model, 3,000 for the n-grams: short turns, as the machine may have
# other work, which both should meet alike.
CHARACTERS = {"en": 40_000, "zh": 200_000}
QUICK_CHARACTERS = {"en": 20_000, "zh": 60_000}
TURNS, QUICK_TURNS = 5, 1
CUTS, QUICK_CUTS = 200, 20
KILLS, QUICK_KILLS = 200, 20
QUERIES, QUICK_QUERIES = 10_000, 500


def speed(corpus: Corpus, turns: int) -> Iterator[Row]:
    """Prepare a base and embed its texts, in turn."""
    from engine.knowledge import embedding

    model = embedding.by_name(embedding.name_for(corpus.language))
    # Untimed: it gives the texts, and loads every part.
    texts = _texts(build(corpus)[0])
    ours, cutting, alone = [], [], []

    def whole() -> None:
        _, cut, indexed = build(corpus)
        ours.append(1 / (1 / cut + 1 / indexed))
        cutting.append(cut)

    def embedder() -> None:
        started = time.perf_counter()
        model.embed_documents(texts)
        alone.append(len(texts) / (time.perf_counter() - started))

    for turn in range(turns):
        for step in (whole, embedder) if turn % 2 else (embedder, whole):
            step()
    ratio = statistics.median(one / other for one, other in zip(ours, alone, strict=True))
    yield Row(
        name=f"{model.name}, {corpus.name}: cut and indexed ({len(texts)} chunks)",
        value=round(statistics.median(ours)),
        unit="chunks/s",
        baseline=round(statistics.median(alone)),
        ratio=round(ratio, 2),
        goal=f"ratio >= {GOAL}",
        ok=ratio >= GOAL,
    )
    yield Row(
        name=f"{model.name}, {corpus.name}: cut", value=round(statistics.median(cutting)), unit="chunks/s"
    )


def _texts(base_id: str) -> list[str]:
    """Return what the embedder sees of a base."""
    from engine.kit.database import unit_of_work
    from engine.knowledge import service
    from engine.knowledge.chunking import search_text

    with unit_of_work() as uow:
        chunks = service.chunks(uow, base_id, TENANT, limit=1_000_000)
    return [search_text(one.heading, one.text) for one in chunks]


def measure(quick: bool) -> list[Row]:
    """Measure everything in a home folder of its own, removed at the end."""
    with fresh_home() as home:
        rows: list[Row] = []
        characters = QUICK_CHARACTERS if quick else CHARACTERS
        for language, length in characters.items():
            if corpus := running_text(language, length):
                rows += speed(corpus, QUICK_TURNS if quick else TURNS)
        rows += uploads(home, QUICK_CUTS if quick else CUTS)
        rows += kills(home, QUICK_KILLS if quick else KILLS)
        return [*rows, *queries(QUICK_QUERIES if quick else QUERIES)]


if __name__ == "__main__":
    report(
        "How fast documents become searchable, and what interruptions cost.",
        ("lancedb", "sentence-transformers", "torch", "uvicorn"),
        measure,
    )
