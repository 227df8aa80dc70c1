"""Find the passages of knowledge bases that answer a question, or none."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound
from engine.knowledge import embedding, index, lexical, repository
from engine.knowledge.chunking import search_text
from engine.knowledge.reranking import reranked
from engine.knowledge.schemas import ChunkView, Passage

LIMIT = 4  # passages that a model is given
LEG_LIMIT = 50
SHOWN = {"document_id", "document_name", "heading", "page", "text", "start", "end"}
RRF_CONSTANT = 60  # Cormack, Clarke and Buettcher, "Reciprocal rank fusion", 2009
LONGEST_QUESTION = 1_000

# What orders the passages. Measured on the questions of data/samples and on XQuAD, both languages,
# over a grid of weights; ranks alone (RRF of equal legs) found fewer passages in Chinese than
# full-text search by itself, because hashed n-grams are the weaker leg there.
FULL_TEXT_RANK = 0.5
VECTOR_RANK = 0.25
RELATIVE_BM25 = 1.0
LEXICAL = 0.5
COSINE = 0.5

# The least evidence (cosine + lexical share) that the best passage must have; below it there is no
# answer. Ranks cannot tell: something is always first. Chosen so that answerable questions of
# data/samples keep their passages (recall@4 stays 0.975 of 0.975 in English, 0.95 of 0.975 in
# Chinese) and as many others as possible are turned away. Measured on questions without an answer:
#   minilm: half of those of data/samples, about 70% of XQuAD questions asked without their article;
#   ngram: only about 20%, since words alone cannot tell a paraphrase from another matter. Higher
#   costs dear: 0.3 turns away 60%, and loses a fifth of the answerable paraphrases of data/samples.
EVIDENCE = {"ngram": 0.2}
EVIDENCE_OF_MODELS = 0.6


@dataclass(frozen=True, kw_only=True)
class Legs:
    """What the two searches found, each best first."""

    words: list[index.Hit]
    near: list[index.Hit]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A chunk that some leg found.

    `ranks` is the weighted sum of its reciprocal ranks (0 to 0.75), `bm25` its full-text score,
    `least` the evidence that its base's embedder asks for.
    """

    ranks: float
    bm25: float
    cosine: float
    least: float


def retrieve(
    base_ids: Sequence[str], tenant_id: str, question: str, *, limit: int = LIMIT, history: Sequence[str] = ()
) -> list[Passage]:
    """Return at most `limit` passages for a question, best first; [] when nothing is close enough.

    `history` are the user's earlier turns, oldest first: a question that says little by itself
    ("and how much is it?") is searched together with the last of them. Only these bases of this
    tenant are searched. Raises NotFound when one of them is not the tenant's, NotReady when its
    embedding model cannot be loaded.
    """
    with unit_of_work() as uow:
        bases = repository.searched(uow, base_ids, tenant_id)
    if len(bases) < len(set(base_ids)):
        raise NotFound("knowledge.unknown_base", field="base_id")
    wanted = standalone(question, history)
    if not wanted.strip():
        return []
    candidates: dict[str, Candidate] = {}
    for base_id, (embedder, calibrated) in bases.items():
        found = legs(base_id, tenant_id, embedder, wanted)
        candidates |= fused(found, least_evidence(embedder, calibrated))
    with unit_of_work() as uow:
        chunks = repository.chunks_by_id(uow, bases, tenant_id, candidates)
    return reranked(wanted, ranked(wanted, candidates, chunks))[:limit]


def standalone(question: str, history: Sequence[str]) -> str:
    """Return what to search for: the question, after the turn before it if it needs that."""
    asked = question[:LONGEST_QUESTION]
    if history and lexical.is_follow_up(asked):
        return f"{history[-1][:LONGEST_QUESTION]}\n{asked}"
    return asked


def least_evidence(embedder: str, calibrated: float | None = None) -> float:
    """Return the evidence that a base's best passage must have: its own threshold, or its embedder's."""
    return EVIDENCE.get(embedder, EVIDENCE_OF_MODELS) if calibrated is None else calibrated


def legs(base_id: str, tenant_id: str, embedder: str, question: str) -> Legs:
    """Return what full-text search and the vectors of one base find for a question. Raises NotReady."""
    vector = embedding.by_name(embedder).embed_query(question)
    return Legs(
        words=index.full_text(base_id, tenant_id, embedder, text=question, vector=vector, limit=LEG_LIMIT),
        near=index.nearest(base_id, tenant_id, embedder, vector=vector, limit=LEG_LIMIT),
    )


def fused(found: Legs, least: float) -> dict[str, Candidate]:
    """Return the chunks of both legs with what each says of them; `least` is the evidence to ask for."""
    bm25 = {hit.chunk_id: hit.bm25 for hit in found.words}
    cosines = {hit.chunk_id: hit.cosine for hit in (*found.words, *found.near)}
    ranks = dict.fromkeys(cosines, 0.0)
    for leg, weight in ((found.words, FULL_TEXT_RANK), (found.near, VECTOR_RANK)):
        for rank, hit in enumerate(leg):
            ranks[hit.chunk_id] += weight * (RRF_CONSTANT + 1) / (RRF_CONSTANT + 1 + rank)
    return {
        chunk_id: Candidate(ranks=ranks[chunk_id], bm25=bm25.get(chunk_id, 0.0), cosine=cosine, least=least)
        for chunk_id, cosine in cosines.items()
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
        relevance = RELATIVE_BM25 * candidate.bm25 / highest + LEXICAL * share + COSINE * candidate.cosine
        fields = chunk.model_dump(include=SHOWN)
        passages.append(
            Passage(
                chunk_id=chunk.id,
                score=candidate.ranks + relevance,
                cosine=candidate.cosine,
                lexical=share,
                **fields,
            )
        )
    return sorted(passages, key=lambda passage: (-passage.score, passage.chunk_id)) if enough else []
