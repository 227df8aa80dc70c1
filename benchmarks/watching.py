"""What watching a training costs: part of `python -m benchmarks.training`.

Two trainings of the same rows take their steps in turn, so that other work on the machine meets both
alike, and each is the first at every second step: shapes seen a moment ago are computed faster. One is the
job of a person, with progress and a curve in PostgreSQL and checkpoints in the folder of an object store;
the other is the same trainer alone.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from typing import Any

from transformers import TrainerCallback, TrainerState

from benchmarks.corpora import TENANT, Chat, write_rows
from benchmarks.rows import Row
from benchmarks.starter import STARTER
from engine.training.recipe import LoraRecipe

LARGEST_SHARE = 0.03
MORE_THAN_STEPS = 10_000


class Turn(TrainerCallback):  # type: ignore[misc]
    """Lets a training take two steps, with all that follows them, then another; counts its seconds.

    `until` is 1 to hand over after odd steps, 0 after even ones.
    """

    def __init__(self, mine: Semaphore, other: Semaphore, until: int) -> None:
        self._mine, self._other, self._until = mine, other, until
        self._since = 0.0
        self.seconds = 0.0

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Wait for the first turn."""
        self._mine.acquire()
        self._since = time.perf_counter()

    def on_step_begin(self, args: Any, state: TrainerState, *_: Any, **__: Any) -> None:
        """Count the last step, and all before it; the first step, which loads much, does not count."""
        self._count()
        if state.global_step <= 1:
            self.seconds = 0.0
        if state.global_step and state.global_step % 2 == self._until:
            self._other.release()
            self._mine.acquire()
        self._since = time.perf_counter()

    def on_train_end(self, *_: Any, **__: Any) -> None:
        """End the last turn."""
        self._count()

    def leave(self) -> None:
        """Let the other one go on without waiting, also when this training failed."""
        self._other.release(MORE_THAN_STEPS)

    def _count(self) -> None:
        self.seconds += time.perf_counter() - self._since


class Pair:
    """The two trainings."""

    def __init__(self, home: Path, conversations: Sequence[Chat]) -> None:
        from engine.training.run import load_examples

        self._folder = home / "watching"
        self._folder.mkdir()
        self._rows = write_rows(self._folder / "rows.jsonl", conversations)
        self._examples = load_examples(self._rows)
        # As often as otherwise in the time that the training itself takes, which is half of all.
        often = 2 * LoraRecipe().save_seconds
        recipe = LoraRecipe.preset("balanced", len(conversations))
        self._recipe = recipe.changed({"epochs": 1, "save_seconds": often})
        self.steps, self.inside = 0, 0.0

    def train(self) -> tuple[float, float]:
        """Return the seconds of the watched training, and of the other."""
        first, second = Semaphore(1), Semaphore(0)
        watched, alone = Turn(first, second, until=1), Turn(second, first, until=0)
        trainers = self._watched(watched), self._alone(alone)

        def train(trainer: Any, turn: Turn) -> None:
            try:
                trainer.train()
            finally:
                turn.leave()

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(train, trainers, (watched, alone)))
        self.steps = trainers[0].state.global_step
        return watched.seconds, alone.seconds

    def _alone(self, turn: Turn) -> Any:
        trainer, callback, _ = self._trainer("alone")
        trainer.remove_callback(callback)
        trainer.add_callback(turn)
        return trainer

    def _watched(self, turn: Turn) -> Any:
        trainer, callback, monitor = self._trainer("watched")
        # Both at the end of a step, one after the other: what is decided, and what is done.
        callback.on_step_end = self._timed(callback.on_step_end)
        trainer._maybe_log_save_evaluate = self._timed(trainer._maybe_log_save_evaluate)
        trainer.add_callback(turn)
        monitor.resumed(0)
        return trainer

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                self.inside += time.perf_counter() - began

        return timed

    def _trainer(self, name: str) -> tuple[Any, Any, Any]:
        """Return a trainer, its callback and what that one tells."""
        from engine.kit.blobs import blobs
        from engine.training.callbacks import RunCallback
        from engine.training.checkpoints import CheckpointStore, Identity, base_digest, data_digest
        from engine.training.run import _trainer
        from engine.training.samples import Sampler
        from engine.training.tasks import checkpoint_prefix

        run_id, monitor = self._job(name)
        folder = self._folder / name
        identity = Identity(
            data=data_digest(self._rows), recipe=self._recipe.digest(), base=base_digest(STARTER)
        )
        store = CheckpointStore(folder, blobs(), checkpoint_prefix(run_id), identity)
        sampler = Sampler({}, self._recipe.epochs)
        callback = RunCallback(self._recipe, store, monitor, evaluates=False, sampler=sampler)
        trainer = _trainer(STARTER, self._recipe, folder, self._examples, [], callback)
        # Both draw from the same random numbers, so a shuffle would give them different steps.
        trainer.args.train_sampling_strategy = "sequential"
        return trainer, callback, monitor

    def _job(self, name: str) -> tuple[str, Any]:
        """Return a new run and what watches it: the row of its job, claimed as a worker claims it."""
        from engine.flows.train_expert import TRAIN
        from engine.jobs import service as jobs
        from engine.jobs.context import JobContext
        from engine.kit.database import unit_of_work
        from engine.training import service
        from engine.training.tasks import JobMonitor

        with unit_of_work() as uow:
            run = service.create_run(
                uow,
                person_id="p",
                tenant_id=TENANT,
                name=name,
                dataset_id="rows",
                base_model="starter",
                recipe=self._recipe,
            )
            job = jobs.submit(uow, kind=TRAIN, person_id="p", tenant_id=TENANT, title=name, params={})
        with unit_of_work() as uow:
            claim = jobs.claim(uow, job.id)
            assert claim
            held = jobs.held(uow, job.id, claim.token)
        return run.id, JobMonitor(JobContext(held, claim.token), run.id)


def watching(home: Path, conversations: Sequence[Chat], *, judged: bool) -> Iterator[Row]:
    """Train with and without; `judged` when the rows are enough for the goals to make sense."""
    pair = Pair(home, conversations)
    watched, alone = pair.train()
    title = f"callbacks, progress, checkpoints: {pair.steps} steps, {watched:.0f} s"
    cost, inside = watched / alone - 1, pair.inside / watched
    for name, value in (("seconds they add", cost), ("share of the time spent in them", inside)):
        yield Row(
            name=f"{title}; {name}",
            value=round(value, 4),
            unit="share",
            goal=f"<= {LARGEST_SHARE}" if judged else "",
            ok=value <= LARGEST_SHARE if judged else None,
        )
