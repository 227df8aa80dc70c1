"""Checks of a knowledge base: how a question finds its passages, and what its saved questions find.

A saved question names the characters of a document that answer it, or says that nothing here does.
From what the questions find follows the threshold below which the base rather has no answer.
"""

import statistics
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.kit.ids import new_id
from engine.knowledge import indexes, repository, retrieve, service
from engine.knowledge.reranking import reranked
from engine.knowledge.schemas import CheckView, IndexView, Only, Passage, QuestionView, Trace

LONGEST_QUESTION = retrieve.LONGEST_QUESTION
MOST_QUESTIONS = 1_000
DEPTH = 5  # passages in which the right one is looked for
FEWEST = 5  # questions of either kind from which a threshold is learned
MOST_REFUSED = 0.05  # share of answerable questions that the threshold may turn away


def trace(base_id: str, tenant_id: str, question: str, only: Only = retrieve.EVERYTHING) -> Trace:
    """Return what each leg finds for a question, and how they are put together.

    Raises NotFound, NotReady, and BadInput when `only` lets no document through.
    """
    with unit_of_work() as uow:
        asked = indexes.live(uow, base_id, tenant_id)
        documents = retrieve.let_through(uow, [base_id], tenant_id, only)
    return _trace(asked, tenant_id, question, documents)


def _trace(asked: IndexView, tenant_id: str, question: str, documents: Sequence[str] | None = None) -> Trace:
    found = retrieve.legs(asked.id, tenant_id, asked.embedder, question, documents)
    with unit_of_work() as uow:
        chunks = repository.chunks_by_id(uow, [asked.id], tenant_id, found.cosines)
    least = retrieve.least_evidence(asked.embedder, asked.least_evidence)
    fused = reranked(question, retrieve.ranked(question, retrieve.fused(found, 0.0), chunks))
    used = reranked(question, retrieve.ranked(question, retrieve.fused(found, least), chunks))
    return Trace(
        question=question,
        words=[(chunks[hit.chunk_id], hit.bm25) for hit in found.words if hit.chunk_id in chunks],
        near=[
            (chunks[hit.chunk_id], found.cosines[hit.chunk_id])
            for hit in found.near
            if hit.chunk_id in chunks
        ],
        fused=fused,
        evidence=max((evidence(passage) for passage in fused), default=0.0),
        least=least,
        used=[passage.chunk_id for passage in used[: retrieve.LIMIT]],
    )


def evidence(passage: Passage) -> float:
    """Return how much speaks for a passage by itself: its cosine and its share of the telling words."""
    return passage.cosine + passage.lexical


def save_question(
    uow: Session, *, base_id: str, tenant_id: str, text: str, chunk_id: str | None
) -> QuestionView:
    """Save a question with the passage that answers it, or with none; the same question is replaced.

    Raises NotFound (base, chunk) and BadInput (no or too long a question, too many).
    """
    base = service.get_base(uow, base_id, tenant_id)
    text = " ".join(text.split())
    if not 0 < len(text) <= LONGEST_QUESTION:
        raise BadInput("knowledge.bad_question", field="question", most=LONGEST_QUESTION)
    if repository.count_questions(uow, base_id) >= MOST_QUESTIONS:
        raise BadInput("knowledge.too_many_questions", field="question", most=MOST_QUESTIONS)
    place: dict[str, object] = {"document_id": None, "start": None, "end": None}
    if chunk_id is not None:
        chunk = repository.chunks_by_id(uow, [base.index_id], tenant_id, [chunk_id]).get(chunk_id)
        if chunk is None:
            raise NotFound("knowledge.unknown_chunk", field="chunk_id")
        place = {"document_id": chunk.document_id, "start": chunk.start, "end": chunk.end}
    values = {"id": new_id("kq"), "base_id": base_id, "tenant_id": tenant_id, "text": text, **place}
    repository.save_question(uow, values)
    return next(each for each in questions(uow, base_id, tenant_id) if each.text == text)


def questions(uow: Session, base_id: str, tenant_id: str) -> list[QuestionView]:
    """Return the saved questions of a base, oldest first. Raises NotFound."""
    service.get_base(uow, base_id, tenant_id)
    return repository.questions(uow, base_id, tenant_id)


def delete_question(uow: Session, base_id: str, tenant_id: str, question_id: str) -> None:
    """Forget a saved question. Raises NotFound."""
    if not repository.delete_question(uow, base_id, tenant_id, question_id):
        raise NotFound("knowledge.unknown_question", field="question_id")


def history(uow: Session, base_id: str, tenant_id: str) -> list[CheckView]:
    """Return what earlier checks found in the index that answered, oldest first. Raises NotFound."""
    service.get_base(uow, base_id, tenant_id)
    return [each for each in repository.checks(uow, base_id, tenant_id) if each.live]


def latest_comparison(
    uow: Session, base_id: str, tenant_id: str, *index_ids: str
) -> tuple[CheckView, ...] | None:
    """Return what the same questions found in these indexes when they were compared last, if ever."""
    by_time: dict[datetime, dict[str, CheckView]] = {}
    for each in repository.checks(uow, base_id, tenant_id):
        by_time.setdefault(each.created_at, {})[each.index_id] = each
    found = [together for together in by_time.values() if set(index_ids) <= set(together)]
    return tuple(found[-1][index_id] for index_id in index_ids) if found else None


def check(base_id: str, tenant_id: str) -> CheckView:
    """Ask every saved question, and keep what they find under the base's present threshold.

    Recall and MRR count the first five passages, as if nothing were turned away; what the threshold
    turns away is counted by itself. Raises NotFound, and BadInput without a question that has an answer.
    """
    with unit_of_work() as uow:
        asked = indexes.live(uow, base_id, tenant_id)
    return _check(asked, tenant_id, now())


def compare(base_id: str, tenant_id: str) -> tuple[CheckView, CheckView]:
    """Ask every saved question of both indexes of a base; first what they find in the one that answers.

    Raises NotFound, also without a second index, and BadInput without a question that has an answer.
    """
    with unit_of_work() as uow:
        pair = indexes.live(uow, base_id, tenant_id), indexes.other(uow, base_id, tenant_id)
    at = now()
    return _check(pair[0], tenant_id, at), _check(pair[1], tenant_id, at)


def _check(asked: IndexView, tenant_id: str, at: datetime) -> CheckView:
    found = _ask_all(asked, tenant_id)
    least = retrieve.least_evidence(asked.embedder, asked.least_evidence)
    with unit_of_work() as uow:
        return _keep(uow, asked, tenant_id, found, least, _refused(found, lambda _: least), at)


def calibrate(base_id: str, tenant_id: str) -> CheckView:
    """Set the threshold of the index that answers from the base's questions, and keep a check with it.

    The shares turned away are what each question meets under the threshold that all the others give, so
    that no question judges itself. Raises NotFound, and BadInput with too few questions.
    """
    with unit_of_work() as uow:
        asked = indexes.live(uow, base_id, tenant_id)
    found = _ask_all(asked, tenant_id)
    counts = [sum(rank is not None for rank, _ in found), sum(rank is None for rank, _ in found)]
    if min(counts) < FEWEST:
        raise BadInput(
            "knowledge.too_few_questions",
            field="questions",
            least=FEWEST,
            having=counts[0],
            lacking=counts[1],
        )
    least = threshold(*_evidences(found))
    refused = _refused(found, lambda n: threshold(*_evidences([*found[:n], *found[n + 1 :]])))
    with unit_of_work() as uow:
        repository.set_least_evidence(uow, asked.id, tenant_id, least)
        return _keep(uow, asked, tenant_id, found, least, refused, now())


def threshold(
    answerable: Sequence[float], unanswerable: Sequence[float], most_refused: float = MOST_REFUSED
) -> float:
    """Return the evidence below which there is no answer.

    It turns away as many of `unanswerable` as it can while at most the share `most_refused` of
    `answerable` goes with them; among such, it lies in the middle of the gap that turns away the fewest.
    """
    allowed = int(most_refused * len(answerable))
    limit = sorted(answerable)[allowed]
    below = max((value for value in unanswerable if value < limit), default=None)
    if below is None:
        return min(answerable) / 2
    return (below + min(value for value in answerable if value > below)) / 2


Asked = list[tuple[int | None, float]]
"""For each question the rank of its passage from 1 (0: not found, None: there is none) and the evidence."""


def _ask_all(asked: IndexView, tenant_id: str) -> Asked:
    with unit_of_work() as uow:
        saved = questions(uow, asked.base_id, tenant_id)
    if not any(question.document_id for question in saved):
        raise BadInput("knowledge.no_questions", field="questions")
    found: Asked = []
    for question in saved:
        told = _trace(asked, tenant_id, question.text)
        ranks = (n for n, passage in enumerate(told.fused[:DEPTH], 1) if answers(passage, question))
        found.append((next(ranks, 0) if question.document_id else None, told.evidence))
    return found


def answers(passage: Passage, question: QuestionView) -> bool:
    """Return whether a passage holds at least half of the place that answers a question, or lies in it."""
    if passage.document_id != question.document_id or question.start is None or question.end is None:
        return False
    shared = min(passage.end, question.end) - max(passage.start, question.start)
    return 2 * shared >= min(passage.end - passage.start, question.end - question.start)


def _evidences(found: Asked) -> tuple[list[float], list[float]]:
    return [e for rank, e in found if rank is not None], [e for rank, e in found if rank is None]


def _refused(found: Asked, least: Callable[[int], float]) -> tuple[float | None, float | None]:
    """Return the shares turned away wrongly and rightly; `least(n)` is the threshold for question n."""
    turned = [(rank is None, value < least(n)) for n, (rank, value) in enumerate(found)]
    shares = []
    for kind in (False, True):
        of_kind = [away for unanswerable, away in turned if unanswerable is kind]
        shares.append(statistics.mean(of_kind) if of_kind else None)
    return shares[0], shares[1]


def _keep(
    uow: Session,
    asked: IndexView,
    tenant_id: str,
    found: Asked,
    least: float,
    refused: tuple[float | None, float | None],
    at: datetime,
) -> CheckView:
    ranks = [rank for rank, _ in found if rank is not None]
    return repository.add_check(
        uow,
        {
            "id": new_id("kc"),
            "base_id": asked.base_id,
            "tenant_id": tenant_id,
            "index_id": asked.id,
            "live": asked.live,
            "created_at": at,
            "embedder": asked.embedder,
            "target_tokens": asked.target_tokens,
            "chunks": asked.chunks,
            "answerable": len(ranks),
            "unanswerable": len(found) - len(ranks),
            "recall_1": sum(rank == 1 for rank in ranks) / len(ranks),
            "recall_5": sum(rank > 0 for rank in ranks) / len(ranks),
            "mrr": sum(1 / rank for rank in ranks if rank) / len(ranks),
            "least_evidence": least,
            "refused_wrongly": refused[0],
            "refused_rightly": refused[1],
        },
    )
