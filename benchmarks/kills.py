"""Chunking and indexing under `kill -9`: part of `python -m benchmarks.ingest`.

A base is prepared as the product does it: the flow submits the job, it is claimed as a worker claims
it, `engine.jobs.child` does it in a process of its own and is killed at a random moment, the job is
settled as a worker settles it, and taken again from its checkpoint, until the base is ready. Only the
start differs: the processes are forked from one that has imported everything already, since a fresh
one would spend most of its time on that. They share no connection, thread or file with each other.
"""

import contextlib
import importlib
import os
import select
import signal
import statistics
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.corpora import samples
from benchmarks.rows import Row, at_most, share
from engine.kit.settings import REPOSITORY

SEED = 20_261_121
COPIES = 2
"""How often the samples' text is in the long document: enough for several checkpoints of both jobs."""
QUESTIONS = 10
CALM_RUNS = 3
LONGEST = 120.0  # seconds that no attempt takes, even on a slow machine
MOST_ATTEMPTS = 100


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What a base holds: its chunks without their base; of its index the rows' ids, what is kept of
    each chunk, and what full-text search finds."""

    chunks: Counter[tuple[Any, ...]]
    rows: Counter[str]
    kept: dict[str, tuple[str, list[float]]]
    found: list[set[str]]


class Nursery:
    """Processes for attempts at jobs, one after the other."""

    def __init__(self, home: Path) -> None:
        with (home / "jobs.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.kills", str(os.getpid())],
                cwd=REPOSITORY,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._line()  # it says so when it is ready

    def attempt(self, job_id: str, token: int, seconds: float) -> tuple[int, float]:
        """Do a job until `seconds` have passed; returns the exit status and the seconds it took."""
        assert self._process.stdin and self._process.stdout
        started = time.perf_counter()
        self._process.stdin.write(f"{job_id} {token}\n".encode())
        pid = int(self._line())
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            with contextlib.suppress(ProcessLookupError):  # it was done a moment ago
                os.kill(pid, signal.SIGKILL)
        return int(self._line()), time.perf_counter() - started

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline().decode()
        if not line:
            raise RuntimeError("the process that starts the jobs is gone")
        return line


def nursery(parent: int) -> None:
    """Fork a process for each line "JOB_ID TOKEN"; say its pid, then its exit status."""
    from engine import wiring
    from engine.jobs import child
    from engine.kit import logs, process
    from engine.knowledge import embedding

    process.die_with_parent(parent)
    logs.configure("job")
    wiring.register_jobs()
    for name in ("lancedb.expr", "lancedb.index"):
        importlib.import_module(name)
    embedding.by_name("ngram")
    warnings.filterwarnings("ignore", message="lancedb fork support")
    print("ready", flush=True)
    for line in sys.stdin:
        job_id, token = line.split()
        pid = os.fork()
        if not pid:
            process.die_with_parent()
            os._exit(child.run(job_id, int(token)))
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


@dataclass(kw_only=True)
class Toll:
    """What happened so far: attempts killed, by kind of job, and attempts that failed of themselves."""

    kills: Counter[str]
    crashes: int = 0


class Bases:
    """Bases with the same documents, each prepared once."""

    def __init__(self, processes: Nursery) -> None:
        from engine.accounts import service as accounts
        from engine.kit.database import unit_of_work

        self._processes = processes
        with unit_of_work() as uow:
            self.person = accounts.create_person(
                uow,
                email="k@example.com",
                name="K",
                password="correct horse",
                roles=["developer"],
                plan="enterprise",
            )
        corpus = samples("zh")
        texts = corpus.documents
        # One document of several checkpoints, and the same text again in small ones.
        long = "\n\n".join(f"# {n}\n\n{text}" for n in range(COPIES) for text in texts.values())
        self._documents = {**texts, "all.md": long}
        self._questions = [one.text for one in corpus.questions[:QUESTIONS]]

    def fill(self) -> str:
        """Return the id of a new base."""
        from engine.flows import prepare_knowledge as flow

        base_id = flow.create_base(self.person, name="Killed", language="zh").id
        for name, text in self._documents.items():
            flow.add_document(self.person, base_id, name, text.encode())
        flow.start(self.person, base_id)
        return base_id

    def remove(self, base_id: str) -> None:
        """Delete a base, so that the next one finds no more tables beside it than this one did."""
        from engine.kit.database import unit_of_work
        from engine.knowledge import service

        with unit_of_work() as uow:
            service.delete_base(uow, base_id, self.person.tenant_id)

    def step(self, base_id: str, seconds: dict[str, float]) -> tuple[str, int, float] | None:
        """Make one attempt at the base's job; returns its kind, exit status and time, None when all is done.

        An attempt at a kind of job is killed after `seconds` of that kind. A job that was given up is
        resumed, as people do.
        """
        from engine.jobs import service
        from engine.jobs.child import HANDED_BACK
        from engine.kit.database import unit_of_work
        from engine.knowledge import service as knowledge

        with unit_of_work() as uow:
            index_id = knowledge.get_base(uow, base_id, self.person.tenant_id).index_id
            jobs = service.listing(uow, self.person.tenant_id, subject_id=index_id)
            job = next((one for one in jobs if one.state != "succeeded"), None)
            if job is None:
                return None
            if job.state == "failed":
                service.resume(uow, job.id, self.person.tenant_id)
            claim = service.claim(uow, job.id)
        assert claim
        code, took = self._processes.attempt(job.id, claim.token, seconds.get(job.kind, LONGEST))
        with unit_of_work() as uow:
            handed_back = code == HANDED_BACK
            service.ended(uow, job.id, claim.token, code=code, handed_back=handed_back, stopping=False)
            crashed = service.get(uow, job.id, self.person.tenant_id).error_key == "jobs.crashed"
        return job.kind, -1 if crashed else code, took

    def contents(self, base_id: str) -> Contents:
        """Return what a base that is ready holds."""
        from engine.kit.database import unit_of_work
        from engine.knowledge import index, service

        tenant = self.person.tenant_id
        with unit_of_work() as uow:
            index_id = service.get_base(uow, base_id, tenant).index_id
            names = {one.id: one.name for one in service.documents(uow, base_id, tenant)}
            chunks = service.chunks(uow, base_id, tenant, limit=1_000_000)
        table = index._database().open_table(index_id)
        rows = table.search().limit(None).to_arrow().to_pylist()
        found = [
            index.full_text(index_id, tenant, text=question, limit=2 * len(chunks))
            for question in self._questions
        ]
        return Contents(
            chunks=Counter(
                (names[one.document_id], one.ordinal, one.id, one.text, one.start, one.end, one.heading)
                for one in chunks
            ),
            rows=Counter(row["id"] for row in rows),
            kept={row["id"]: (row["text"], row["vector"]) for row in rows},
            found=[{hit.chunk_id for hit in hits} for hits in found],
        )


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What a base lacks and has too much, the share of its index that is right, and whether full-text
    search finds the same."""

    lost: int
    doubled: int
    index: float
    search: bool


def compare(calm: Contents, shaken: Contents) -> Difference:
    """Hold a base against one that nobody disturbed."""
    same = sum(shaken.kept.get(chunk) == kept for chunk, kept in calm.kept.items())
    return Difference(
        lost=(calm.chunks - shaken.chunks).total() + (calm.rows - shaken.rows).total(),
        doubled=(shaken.chunks - calm.chunks).total() + (shaken.rows - calm.rows).total(),
        index=same / len(calm.kept),
        search=calm.found == shaken.found,
    )


@contextmanager
def _nursery(home: Path) -> Iterator[Nursery]:
    made = Nursery(home)
    try:
        yield made
    finally:
        made.close()


def kills(home: Path, count: int) -> list[Row]:
    """Kill `count` attempts, over as many bases as that takes; in a home with a database."""
    rng = Random(SEED)
    toll = Toll(kills=Counter())
    outcomes: list[Difference] = []
    started = time.perf_counter()
    with _nursery(home) as processes:
        bases = Bases(processes)
        expected, calm = _calm(bases)
        while toll.kills.total() < count:
            base_id = bases.fill()
            _shake(bases, base_id, expected, rng, toll, count)
            outcomes.append(compare(calm, bases.contents(base_id)))
            bases.remove(base_id)
    spent = time.perf_counter() - started
    by_kind = ", ".join(f"{number} of {kind}" for kind, number in sorted(toll.kills.items()))
    size = f"{len(outcomes)} bases of {calm.chunks.total()} chunks"
    return [
        Row(name=f"kill -9: {by_kind}; {size}", value=round(spent), unit="s"),
        at_most("kill -9: lost", sum(one.lost for one in outcomes), 0, "chunks and rows"),
        at_most("kill -9: duplicated", sum(one.doubled for one in outcomes), 0, "chunks and rows"),
        at_most("kill -9: attempts that then failed by themselves", toll.crashes, 0, "attempts"),
        share("kill -9: index as without kills", min(one.index for one in outcomes), at_least=1.0),
        at_most(
            "kill -9: full-text search finds something else",
            sum(not one.search for one in outcomes),
            0,
            "bases",
        ),
    ]


def _calm(bases: Bases) -> tuple[dict[str, float], Contents]:
    """Return the seconds that each kind of job takes when nobody kills it, and what comes of it."""
    took: dict[str, list[float]] = {}
    for _ in range(CALM_RUNS):
        base_id = bases.fill()
        while step := bases.step(base_id, {}):
            kind, code, seconds = step
            if code:
                raise RuntimeError(f"{kind} ended with {code} although nobody killed it")
            took.setdefault(kind, []).append(seconds)
    return {kind: statistics.median(times) for kind, times in took.items()}, bases.contents(base_id)


def _shake(
    bases: Bases, base_id: str, expected: dict[str, float], rng: Random, toll: Toll, count: int
) -> None:
    """Prepare a base whose attempts are killed until `count` is reached or it is ready."""
    for _ in range(MOST_ATTEMPTS):
        enough = toll.kills.total() >= count
        step = bases.step(base_id, {} if enough else {k: rng.uniform(0, s) for k, s in expected.items()})
        if step is None:
            return
        toll.kills[step[0]] += step[1] == -signal.SIGKILL
        toll.crashes += step[1] not in (0, -signal.SIGKILL)
    raise RuntimeError(f"base {base_id} was not ready after {MOST_ATTEMPTS} attempts")


def main(arguments: Sequence[str]) -> None:
    """Entry point of the process that the attempts are forked from."""
    nursery(int(arguments[0]))


if __name__ == "__main__":
    main(sys.argv[1:])
