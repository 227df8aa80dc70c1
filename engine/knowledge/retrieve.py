"""Find the passages of knowledge bases that answer a question, or none."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.knowledge import embedding, index, lexical, repository
from engine.knowledge.chunking import search_text
from engine.knowledge.reranking import reranked
from engine.knowledge.schemas import ChunkView, Only, Passage

LIMIT = 4  # passages that a model is given
LEG_LIMIT = 50
SHOWN = {"document_id", "document_name", "heading", "page", "text", "start", "end"}
LONGEST_QUESTION = 1_000
LONGEST_FILTER = 100  # characters of it that a message repeats
EVERYTHING = Only()

# What orders the passages: BM25 over the best BM25, the share of the question, and the cosine. Chosen
# on XQuAD, both languages, with and without 10,000 distractors: of a grid, either half of the articles
# prefers these or their neighbours, and the other half agrees. Ranks (RRF) added nothing to them.
LEXICAL = 2.0
COSINE = 3.0

# The least evidence (cosine + lexical share) that the best passage must have; below it there is no
# answer. Scores relative to the best cannot tell: something is always first. Both lose no answerable
# question of data/samples. On XQuAD, measured on questions asked without their article,
#   minilm turns away 78% of those, and 0.5% of the answerable;
#   ngram turns away 28% of those, and 0.2% of the answerable: words alone cannot tell a paraphrase
#   from another matter. 0.44 turns away 64%, and loses a tenth of the paraphrases of data/samples.
EVIDENCE = {"ngram": 0.34}
EVIDENCE_OF_MODELS = 0.6


@dataclass(frozen=True, kw_only=True)
class Legs:
    """What the two searches found, each best first, and the cosine of each with the question."""

    words: list[index.Hit]
    near: list[index.Hit]
    cosines: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A chunk that some leg found: its full-text score, its cosine, and the evidence its base asks for."""

    bm25: float
    cosine: float
    least: float


def retrieve(
    base_ids: Sequence[str],
    tenant_id: str,
    question: str,
    *,
    limit: int = LIMIT,
    history: Sequence[str] = (),
    only: Only = EVERYTHING,
) -> list[Passage]:
    """Return at most `limit` passages for a question, best first; [] when nothing is close enough.

    `history` are the user's earlier turns, oldest first: a question that says little by itself
    ("and how much is it?") is searched together with the last of them. Only these bases of this
    tenant are searched, and of them only the documents that `only` lets through. Raises NotFound when a
    base is not the tenant's, BadInput when no document is let through, NotReady when the embedding model
    cannot be loaded.
    """
    with unit_of_work() as uow:
        bases = repository.searched(uow, base_ids, tenant_id)
        if len(bases) < len(set(base_ids)):
            raise NotFound("knowledge.unknown_base", field="base_id")
        documents = let_through(uow, bases, tenant_id, only)
    wanted = standalone(question, history)
    if not wanted.strip():
        return []
    candidates: dict[str, Candidate] = {}
    for base in bases.values():
        found = legs(base.index_id, tenant_id, base.embedder, wanted, documents)
        candidates |= fused(found, least_evidence(base.embedder, base.least_evidence))
    with unit_of_work() as uow:
        used = [base.index_id for base in bases.values()]
        chunks = repository.chunks_by_id(uow, used, tenant_id, candidates)
    return reranked(wanted, ranked(wanted, candidates, chunks))[:limit]


def standalone(question: str, history: Sequence[str]) -> str:
    """Return what to search for: the question, after the turn before it if it needs that."""
    asked = question[:LONGEST_QUESTION]
    if history and lexical.is_follow_up(asked):
        return f"{history[-1][:LONGEST_QUESTION]}\n{asked}"
    return asked


def least_evidence(embedder: str, calibrated: float | None = None) -> float:
    """Return the evidence that the best passage must have: the calibrated, or that of the embedder."""
    return EVIDENCE.get(embedder, EVIDENCE_OF_MODELS) if calibrated is None else calibrated


def let_through(uow: Session, base_ids: Iterable[str], tenant_id: str, only: Only) -> list[str] | None:
    """Return the documents that a search is kept to, None for all. Raises BadInput when there is none."""
    if not only:
        return None
    found = repository.matching(uow, base_ids, tenant_id, only)
    if not found:
        wanted = ", ".join((*only.labels, *only.kinds))[:LONGEST_FILTER]
        raise BadInput(
            "knowledge.no_such_documents", field="labels" if only.labels else "kinds", wanted=wanted
        )
    return found


def legs(
    index_id: str, tenant_id: str, embedder: str, question: str, documents: Sequence[str] | None = None
) -> Legs:
    """Return what full-text search and the vectors of one index find for a question. Raises NotReady.

    `documents` are the ones to search, all without them.
    """
    model = embedding.by_name(embedder)
    full_text = partial(index.full_text, index_id, tenant_id, limit=LEG_LIMIT, documents=documents)
    nearest = partial(index.nearest, index_id, tenant_id, limit=LEG_LIMIT, documents=documents)
    # Full-text search needs no vector: it runs while the model reads the question.
    with ThreadPoolExecutor(max_workers=1) as beside:
        searching = beside.submit(full_text, text=lexical.sought(question))
        vector = model.embed_query(question)
        near = nearest(vector=vector)
        words = searching.result()
    cosines = {hit.chunk_id: float(hit.vector @ vector) for hit in (*words, *near)}
    return Legs(words=words, near=near, cosines=cosines)


def fused(found: Legs, least: float) -> dict[str, Candidate]:
    """Return the chunks of both legs with what each says of them; `least` is the evidence to ask for."""
    bm25 = {hit.chunk_id: hit.bm25 for hit in found.words}
    return {
        chunk_id: Candidate(bm25=bm25.get(chunk_id, 0.0), cosine=cosine, least=least)
        for chunk_id, cosine in found.cosines.items()
    }


def ranked(question: str, candidates: dict[str, Candidate], chunks: dict[str, ChunkView]) -> list[Passage]:
    """Return the passages that may answer, best first; none unless one of them has enough evidence.

    Passages with less than half of what is asked of the best are left out, and so are candidates
    without a chunk: the index may still hold what is deleted.
    """
    found = [(candidates[chunk_id], chunk) for chunk_id, chunk in chunks.items()]
    shares = lexical.shares(question, [search_text(chunk.heading, chunk.text) for _, chunk in found])
    highest = max((candidate.bm25 for candidate, _ in found), default=0) or 1
    passages, enough = [], False
    for (candidate, chunk), share in zip(found, shares, strict=True):
        evidence = candidate.cosine + share
        enough = enough or evidence >= candidate.least
        if evidence < candidate.least / 2:
            continue
        relevance = candidate.bm25 / highest + LEXICAL * share + COSINE * candidate.cosine
        fields = chunk.model_dump(include=SHOWN)
        passages.append(
            Passage(
                chunk_id=chunk.id,
                score=relevance,
                cosine=candidate.cosine,
                lexical=share,
                **fields,
            )
        )
    return sorted(passages, key=lambda passage: (-passage.score, passage.chunk_id)) if enough else []
