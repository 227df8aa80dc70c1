"""Searches across tenants: part of `python -m benchmarks.ingest`.

Two tenants have bases with texts about the same things, some of them word for word the same, so that
what is wanted is often nearest in the other's base. Both ask at random, of their own bases, of each
other's and of some that do not exist, through `retrieve` and, deeper, of the index itself.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from random import Random

from benchmarks.corpora import Corpus, Progress, samples, xquad
from benchmarks.rows import Row, at_most, share
from engine.knowledge.schemas import Passage

SEED = 20_261_121
TENANTS = ("north", "south")
BASES = 2
"""Bases of each tenant."""
COMMON = 10
"""One paragraph in so many is in a document that every base has."""
WORDS = 24
"""Characters of a text that are asked for, where no question is at hand."""
LIMIT = 4
DEEP_LIMIT = 50
MADE_UP = ("", "kb_", "%", "*", "kb_' OR '1'='1", "../north", "kb_0000000000000000000000000")


class Town:
    """The bases of both tenants, and who owns what."""

    def __init__(self, rng: Random) -> None:
        # Chinese, for the embedder of n-grams: ten thousand questions to a model would take minutes.
        self.corpus = xquad("zh", None) or samples("zh")
        self.rng = rng
        self.bases: dict[str, list[str]] = {tenant: [] for tenant in TENANTS}
        self.indexes: dict[str, str] = {}
        self.chunks: dict[str, set[str]] = {}
        self.documents: dict[str, set[str]] = {}
        for number, texts in enumerate(_shares(self.corpus, len(TENANTS) * BASES)):
            self._settle(TENANTS[number % len(TENANTS)], texts)

    def _settle(self, tenant: str, texts: Sequence[str]) -> None:
        from engine.kit.database import unit_of_work
        from engine.knowledge import adding, repository, service, tasks

        with unit_of_work() as uow:
            base = service.create_base(uow, person_id="p", tenant_id=tenant, name="B", language="zh")
        for n, text in enumerate(texts):
            adding.add_document(base_id=base.id, tenant_id=tenant, filename=f"{n}.txt", source=text.encode())
        for job in (tasks.chunk_job, tasks.index_job):
            job(Progress(params={"index_id": base.index_id, "tenant_id": tenant}))
        with unit_of_work() as uow:
            self.documents[base.id] = {one.id for one in service.documents(uow, base.id, tenant)}
            self.chunks[base.id] = set(repository.chunk_ids(uow, base.index_id))
        self.indexes[base.id] = base.index_id
        self.bases[tenant].append(base.id)

    def question(self) -> str:
        """Return a question, or some words of a text, of either tenant."""
        if self.corpus.questions and self.rng.random() < 0.5:
            return self.rng.choice(self.corpus.questions).text
        text = self.rng.choice(list(self.corpus.documents.values()))
        start = self.rng.randrange(len(text))
        return text[start : start + WORDS]

    def other(self, tenant: str) -> str:
        """Return the other tenant."""
        return next(one for one in TENANTS if one != tenant)

    def stranger(self, tenant: str) -> str:
        """Return the id of a base that is not the tenant's: the other's, something like it, or nonsense."""
        theirs = self.rng.choice(self.bases[self.other(tenant)])
        like = (theirs, theirs, theirs, theirs.upper(), f" {theirs}", theirs[:-1], f"{theirs}' --")
        return self.rng.choice((*like, *MADE_UP))


def _shares(corpus: Corpus, count: int) -> list[list[str]]:
    """Return the texts of `count` bases: paragraphs dealt out to them, and one text that all have."""
    paragraphs = [part for text in corpus.documents.values() for part in text.split("\n\n") if part.strip()]
    common = "\n\n".join(paragraphs[::COMMON])
    return [["\n\n".join(paragraphs[n::count]), common] for n in range(count)]


def queries(count: int) -> list[Row]:
    """Ask `count` times, in a home with a database."""
    rng = Random(SEED)
    town = Town(rng)
    seen: Counter[str] = Counter()
    for _ in range(count):
        tenant = rng.choice(TENANTS)
        way = rng.choice((_own, _strange, _mixed, _deep))
        seen.update(way(town, tenant))
    refused = seen["refused"]
    return [
        at_most(f"foreign chunks in {count:,} queries across tenants", seen["foreign"], 0, "chunks"),
        at_most("questions to another's base that were not refused", seen["admitted"], 0, "queries"),
        Row(name="questions to another's base that were refused", value=refused, unit="queries"),
        share("questions to one's own base that found something", seen["found"] / (seen["own"] or 1)),
    ]


def _own(town: Town, tenant: str) -> Counter[str]:
    """Ask of one's own bases: only one's own documents may answer."""
    from engine.knowledge.retrieve import retrieve

    asked = town.rng.sample(town.bases[tenant], town.rng.randint(1, BASES))
    passages = retrieve(asked, tenant, town.question(), limit=LIMIT)
    return Counter(own=1, found=bool(passages), foreign=_foreign(town, asked, passages))


def _foreign(town: Town, allowed: Sequence[str], passages: Sequence[Passage]) -> int:
    """Return how many passages are not from the bases `allowed`."""
    documents = {one for base_id in allowed for one in town.documents[base_id]}
    chunks = {one for base_id in allowed for one in town.chunks[base_id]}
    return sum(one.document_id not in documents or one.chunk_id not in chunks for one in passages)


def _strange(town: Town, tenant: str) -> Counter[str]:
    """Ask of a base that is not one's own."""
    return _refused(town, tenant, [town.stranger(tenant)])


def _mixed(town: Town, tenant: str) -> Counter[str]:
    """Ask of one's own base and of another that is not, in any order."""
    asked = [town.rng.choice(town.bases[tenant]), town.stranger(tenant)]
    town.rng.shuffle(asked)
    return _refused(town, tenant, asked)


def _refused(town: Town, tenant: str, asked: list[str]) -> Counter[str]:
    from engine.kit.errors import NotFound
    from engine.knowledge.retrieve import retrieve

    try:
        passages = retrieve(asked, tenant, town.question(), limit=LIMIT)
    except NotFound:
        return Counter(refused=1)
    return Counter(admitted=1, foreign=_foreign(town, town.bases[tenant], passages))


def _deep(town: Town, tenant: str) -> Counter[str]:
    """Ask the index itself, as if nobody had looked at the base before."""
    from engine.knowledge import embedding, index

    base_id = town.rng.choice([one for bases in town.bases.values() for one in bases])
    question, model = town.question(), embedding.by_name("ngram")
    vector = model.embed_query(question)
    hits = index.full_text(town.indexes[base_id], tenant, text=question, limit=DEEP_LIMIT)
    hits += index.nearest(town.indexes[base_id], tenant, vector=vector, limit=DEEP_LIMIT)
    own = base_id in town.bases[tenant]
    allowed: Collection[str] = town.chunks[base_id] if own else ()
    foreign = sum(hit.chunk_id not in allowed for hit in hits)
    return Counter(own=own, found=own and bool(hits), foreign=foreign)
