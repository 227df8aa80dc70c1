"""Trainings under `kill -9`: part of `python -m benchmarks.training`.

A short training is done once without disturbance. Then the same training is begun anew, killed and
continued in another process until it is done, as often as it takes to reach the number of kills. Each kill
comes at a random moment of a random step, of the evaluating and writing before a checkpoint, of its sealing,
or of the start. Every second attempt is on another machine, which has only the object store. The processes
are forked from one that has imported everything already and has done nothing else.
"""

import contextlib
import importlib
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.corpora import Chat, write_rows
from benchmarks.rows import Row, at_most
from engine.kit.settings import REPOSITORY
from engine.training.recipe import LoraRecipe

SEED = 20_261_122
ROWS, VALIDATION_ROWS = 16, 4
LONGEST_ROW = 200  # characters
# Dropout, so that the state of the random numbers counts.
RECIPE = LoraRecipe(rank=8, alpha=16, dropout=0.1, learning_rate=8e-3, epochs=4, batch_size=4, save_steps=2)
STEPS = ROWS // RECIPE.batch_size * RECIPE.epochs
CHECKPOINTS = STEPS // RECIPE.save_steps
MOST_ATTEMPTS = 100
PLACES = {"start": "at the start", "step": "in a step", "save": "evaluating or writing", "seal": "sealing"}
SHARES = {"start": 0.1, "step": 0.4, "save": 0.25, "seal": 0.25}
NEVER = float("inf")


@dataclass(frozen=True, kw_only=True)
class Aim:
    """When to kill: so many seconds after the n-th time that an attempt came to a place."""

    place: str
    number: int
    seconds: float


@dataclass(kw_only=True)
class Attempt:
    """How an attempt ended, where it was then, and how long it was where each time, in seconds."""

    code: int = 0
    place: str = "start"
    times: dict[str, list[float]] = field(default_factory=lambda: {place: [] for place in PLACES})


class Nursery:
    """Processes for attempts at a training, one after the other."""

    def __init__(self, home: Path) -> None:
        with (home / "trainings.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.interruptions", str(os.getpid()), str(home)],
                cwd=REPOSITORY,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        self._line()  # it says so when it is ready

    def attempt(self, run: Path, machine: str, aim: Aim | None = None) -> Attempt:
        """Train in the folder of a run until it is done or killed."""
        assert self._process.stdin and self._process.stdout
        made, due = Attempt(), NEVER
        self._process.stdin.write(f"{json.dumps([str(run), machine])}\n".encode())
        pid = int(self._line())
        came = Counter(["start"])
        since = time.perf_counter()
        if aim and aim.place == "start":
            due = since + aim.seconds
        while True:
            left = None if due == NEVER else max(0.0, due - time.perf_counter())
            if not select.select([self._process.stdout], [], [], left)[0]:
                with contextlib.suppress(ProcessLookupError):  # it was done a moment ago
                    os.kill(pid, signal.SIGKILL)
                due = NEVER
                continue
            word, now = self._line(), time.perf_counter()
            made.times[made.place].append(now - since)
            if word.startswith("ended"):
                made.code = int(word.split()[1])
                return made
            made.place, since = word, now
            came[word] += 1
            if aim and (word, came[word]) == (aim.place, aim.number):
                due = now + aim.seconds

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()

    def _line(self) -> str:
        assert self._process.stdout
        line = self._process.stdout.readline().decode().strip()
        if not line:
            raise RuntimeError("the process that starts the trainings is gone")
        return line


def nursery(parent: int, home: Path) -> None:
    """Fork a process for each line [RUN, MACHINE]; say its pid, what it does, and its exit status."""
    from engine.kit import process

    process.die_with_parent(parent)
    for name in ("transformers.models.llama.modeling_llama", "trl", "engine.training.run"):
        importlib.import_module(name)
    say("ready")
    for line in sys.stdin:
        run, machine = json.loads(line)
        pid = os.fork()
        if not pid:
            process.die_with_parent()
            code = 1
            try:
                attempt(home, Path(run), machine)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        say(str(pid))
        say(f"ended {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}")


def say(word: str) -> None:
    """Tell the benchmark, in one write, which a kill cannot tear."""
    os.write(1, f"{word}\n".encode())


def attempt(home: Path, run: Path, machine: str) -> None:
    """Train in this process, from the newest checkpoint on, saying where it is."""
    from benchmarks.starter import STARTER
    from engine.kit.blobs import BlobStore
    from engine.training.checkpoints import CheckpointStore, Identity, Manifest, base_digest, data_digest
    from engine.training.run import train

    class Store(CheckpointStore):
        def seal(self, step: int, **facts: Any) -> Manifest:
            say("seal")
            return super().seal(step, **facts)

    paths = home / "train.jsonl", home / "validation.jsonl"
    identity = Identity(data=data_digest(*paths), recipe=RECIPE.digest(), base=base_digest(STARTER))
    blobs = BlobStore((run / "blobs").as_uri())
    train(
        base=STARTER,
        base_name="starter",
        train_path=paths[0],
        validation_path=paths[1],
        recipe=RECIPE,
        workdir=run / machine,
        store=Store(run / machine / "trainer", blobs, "checkpoints/r", identity),
        monitor=Scribe(run / "curve.jsonl"),
    )


class Scribe:
    """A monitor that writes each point of the curve into a file at once, and says where the training is."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def resumed(self, step: int) -> None:
        """Nothing: what comes twice must be the same."""

    def points(self, new: Sequence[Any]) -> None:
        """Keep points; behind one that is due for a checkpoint comes the saving."""
        for point in new:
            os.write(self._file, f"{point.model_dump_json()}\n".encode())
        say("save" if new[-1].step % RECIPE.save_steps == 0 else "step")

    def samples(self, new: Sequence[Any]) -> None:
        """Nothing: no questions are asked."""

    def progress(self, done: int, total: int, message: str, metrics: dict[str, Any]) -> None:
        """Nothing."""

    def saved(self, step: int) -> None:
        """A checkpoint is sealed; the next step begins."""
        say("step")

    def stop_requested(self) -> None:
        """Never stop."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The largest differences of two trainings, and how many steps' losses one of them lacks."""

    weights: float
    losses: float
    missing: int


def compare(calm: Path, shaken: Path) -> Difference:
    """Hold a training against one that nobody disturbed; points that came twice count twice."""
    from safetensors.torch import load_file

    first, second = (load_file(next(run.glob("*/adapter/*.safetensors"))) for run in (calm, shaken))
    if first.keys() != second.keys():
        raise RuntimeError("the adapters have different parts")
    expected = {(step, name): value for step, name, value in curve(calm)}
    found = curve(shaken)
    return Difference(
        weights=max(float((first[name] - second[name]).abs().max()) for name in first),
        losses=max(abs(value - expected[step, name]) for step, name, value in found),
        missing=len(expected.keys() - {(step, name) for step, name, _ in found}),
    )


def curve(run: Path) -> list[tuple[int, str, float]]:
    """Return (step, what, value) of all that was measured in a run."""
    points = map(json.loads, (run / "curve.jsonl").read_text().splitlines())
    names = ("loss", "eval_loss", "grad_norm")
    return [(p["step"], name, p[name]) for p in points for name in names if p[name] is not None]


def interruptions(home: Path, chats: Sequence[Chat], count: int) -> Iterator[Row]:
    """Kill `count` attempts, over as many trainings as that takes."""
    home = home / "interruptions"
    home.mkdir()
    short = [one for one in chats if sum(len(turn["content"]) for turn in one) <= LONGEST_ROW]
    write_rows(home / "train.jsonl", short[:ROWS])
    write_rows(home / "validation.jsonl", short[ROWS : ROWS + VALIDATION_ROWS])
    rng, places, crashes = Random(SEED), Counter[str](), 0
    outcomes: list[Difference] = []
    started = time.perf_counter()
    processes = Nursery(home)
    try:
        calm = processes.attempt(_folder(home, "calm"), "here")
        if calm.code:
            raise RuntimeError(f"a training ended with {calm.code} although nobody killed it")
        while places.total() < count:
            run = _folder(home, f"run-{len(outcomes)}")
            crashes += _shake(processes, run, calm, rng, places, count)
            outcomes.append(compare(home / "calm", run))
    finally:
        processes.close()
    where = ", ".join(f"{places[place]} {words}" for place, words in PLACES.items())
    yield Row(
        name=f"kill -9: {where}; {len(outcomes)} trainings of {STEPS} steps",
        value=round(time.perf_counter() - started),
        unit="s",
    )
    worst = {name: max(getattr(one, name) for one in outcomes) for name in ("weights", "losses", "missing")}
    yield at_most("kill -9: the adapter's weights differ by at most", worst["weights"], 0, "weight")
    yield at_most("kill -9: the losses of the curve differ by at most", worst["losses"], 0, "nats/token")
    yield at_most("kill -9: missing in the curve", worst["missing"], 0, "points")
    yield at_most("kill -9: attempts that then failed by themselves", crashes, 0, "attempts")


def _folder(home: Path, name: str) -> Path:
    folder = home / name
    folder.mkdir()
    return folder


def _shake(
    processes: Nursery, run: Path, calm: Attempt, rng: Random, places: Counter[str], count: int
) -> int:
    """Train with kills until `count` is reached or it is done; returns the attempts that failed otherwise."""
    crashes, sealed, machine = 0, 0, 0
    for number in range(MOST_ATTEMPTS):
        machine += number % 2
        [place] = rng.choices(list(SHARES), list(SHARES.values()))
        times = calm.times[place]
        # What a resumed training still has before it.
        left = max(1, len(times) * (CHECKPOINTS - sealed) // CHECKPOINTS)
        lasts = statistics.median(times)
        aim = Aim(place=place, number=rng.randint(1, left), seconds=rng.uniform(0, lasts))
        made = processes.attempt(run, f"machine-{machine}", aim if places.total() < count else None)
        if not made.code:
            return crashes
        sealed += max(0, len(made.times["seal"]) - (made.place == "seal"))
        places[made.place] += made.code == -signal.SIGKILL
        crashes += made.code != -signal.SIGKILL
    raise RuntimeError(f"a training was not done after {MOST_ATTEMPTS} attempts")


if __name__ == "__main__":
    nursery(int(sys.argv[1]), Path(sys.argv[2]))
