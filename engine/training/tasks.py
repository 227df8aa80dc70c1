"""The job that carries out a training run; the only place where training and jobs touch."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, Protocol

from sqlalchemy.orm import Session

from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.training import service
from engine.training.checkpoints import CheckpointStore, Identity, base_digest, data_digest
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Point, Probe, Provenance, RunView, Sample, Serving, TrainingResult
from engine.training.statistics import row_statistics

FLUSH_SECONDS = 1.0
"""Points are written together, at most this often."""


class JobContext(Protocol):
    """What a training needs of the job it runs in; every write raises when another worker holds the job."""

    params: dict[str, Any]

    @property
    def workdir(self) -> Path:
        """A scratch folder of the job on this machine."""

    def report(
        self,
        *,
        done: int | None = None,
        total: int | None = None,
        message: str | None = None,
        metrics: dict[str, Any] | None = None,
    ) -> None:
        """Tell people how far the job is."""

    def save_checkpoint(self, checkpoint: dict[str, Any], *, uow: Session | None = None) -> None:
        """Keep `checkpoint`, together with the other writes in `uow`."""

    def stop_requested(self) -> Literal["pause", "cancel"] | None:
        """Return what the job is asked to do."""

    def check_stop(self) -> None:
        """Raise when the job is asked to stop."""


class DatasetSource(Protocol):
    """Writes the two splits of a run's data into a folder and returns their paths."""

    def __call__(self, run_id: str, tenant_id: str, folder: Path) -> tuple[Path, Path]:
        """Return (train.jsonl, validation.jsonl)."""


class QuestionSource(Protocol):
    """Returns what a model reads for each of a run's questions."""

    def __call__(self, run: RunView) -> dict[str, list[dict[str, str]]]:
        """Return conversations by question."""


def as_asked(run: RunView) -> dict[str, list[dict[str, str]]]:
    """Return each question as a conversation of its own, with nothing in front of it."""
    return {question: [{"role": "user", "content": question}] for question in run.questions}


def adapter_prefix(run_id: str) -> str:
    """Return where the adapter of a run lies in the object store."""
    return f"adapters/{run_id}"


def checkpoint_prefix(run_id: str) -> str:
    """Return where the checkpoints of a run lie in the object store."""
    return f"checkpoints/{run_id}"


class Proof(Protocol):
    """Holds what is served against what was trained."""

    def __call__(
        self, ctx: JobContext, adapter_prefix: str, precision: str, probes: Sequence[Probe]
    ) -> Serving:
        """Return how they compare."""


def make_train_job(
    source: DatasetSource,
    resolve_base: Callable[[str], Path],
    prove: Proof,
    questions: QuestionSource = as_asked,
) -> Callable[[JobContext], dict[str, Any]]:
    """Return the handler of "training.sft" jobs; `params` are {"run_id", "tenant_id"}.

    `resolve_base` turns the name of a base model into its folder. The handler's result is a
    TrainingResult as a dict. Raises NotFound, BadInput and Diverged, and what the context raises.
    """

    def train_job(ctx: JobContext) -> dict[str, Any]:
        with unit_of_work() as uow:
            run = service.get_run(uow, ctx.params["run_id"], ctx.params["tenant_id"])
        ctx.report(message="rows")
        paths = source(run.id, run.tenant_id, ctx.workdir / "rows")
        ctx.report(message="base model")
        base = resolve_base(run.base_model)
        return _train(ctx, run, paths, base, questions(run), prove).model_dump()

    return train_job


def _train(
    ctx: JobContext,
    run: RunView,
    paths: tuple[Path, Path],
    base: Path,
    questions: dict[str, list[dict[str, str]]],
    prove: Proof,
) -> TrainingResult:
    # torch is imported in the job's own process, not where the handler is registered.
    from engine.training.run import surroundings, train

    recipe = LoraRecipe.from_dict(run.recipe)
    identity = Identity(data=data_digest(*paths), recipe=recipe.digest(), base=base_digest(base))
    store = CheckpointStore(ctx.workdir / "trainer", blobs(), checkpoint_prefix(run.id), identity)
    monitor = JobMonitor(ctx, run.id)
    outcome = train(
        base=base,
        base_name=run.base_model,
        train_path=paths[0],
        validation_path=paths[1],
        recipe=recipe,
        workdir=ctx.workdir,
        store=store,
        monitor=monitor,
        questions=questions,
    )
    monitor.flush()
    if outcome.adapter is None or ctx.stop_requested() == "cancel":
        ctx.check_stop()
    assert outcome.adapter is not None, "a stopped training raises in check_stop"
    files = blobs().upload_folder(adapter_prefix(run.id), outcome.adapter)
    provenance = Provenance(
        base=identity.base,
        data=identity.data,
        files={info.key.rpartition("/")[2]: info.sha256 for info in files},
        train=row_statistics(paths[0]),
        held_out=row_statistics(paths[1]) if paths[1].stat().st_size else None,
        **asdict(surroundings()),
    )
    return TrainingResult(
        adapter_prefix=adapter_prefix(run.id),
        steps=outcome.steps,
        loss=outcome.loss,
        eval_loss=outcome.eval_loss,
        seconds=outcome.seconds,
        tokens=outcome.tokens,
        provenance=provenance,
        serving=prove(ctx, adapter_prefix(run.id), provenance.precision, outcome.probes),
    )


class JobMonitor:
    """Carries what a training says to its job's row and to the run's curve.

    Points and answers are written in the transaction that also writes the job's checkpoint: that write
    carries the fencing token, so a worker that comes back late cannot touch what its successor wrote.
    """

    def __init__(self, ctx: JobContext, run_id: str) -> None:
        self._ctx, self._run_id = ctx, run_id
        self._step = 0
        self._waiting: dict[int, Point] = {}
        self._said: dict[tuple[int, int], Sample] = {}
        self._flushed = time.monotonic()

    def resumed(self, step: int) -> None:
        """Cut the curve at the step from which the training continues."""
        self._step = step
        with unit_of_work() as uow:
            self._ctx.save_checkpoint({"step": step}, uow=uow)
            service.restart_curve(uow, self._run_id, step)

    def points(self, new: Sequence[Point]) -> None:
        """Keep points for the next write."""
        self._waiting |= {point.step: point for point in new}
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            self.flush()

    def samples(self, new: Sequence[Sample]) -> None:
        """Write answers at once: they come seldom, and somebody waits for them."""
        self._said |= {(sample.step, sample.number): sample for sample in new}
        self.flush()

    def progress(self, done: int, total: int, message: str, metrics: dict[str, Any]) -> None:
        """Pass progress on to the job."""
        self._ctx.report(done=done, total=total, message=message, metrics=metrics)

    def saved(self, step: int) -> None:
        """Note the newest checkpoint in the job, with the points up to it."""
        self._step = step
        self.flush()

    def stop_requested(self) -> Literal["pause", "cancel"] | None:
        """Return what the job is asked to do."""
        return self._ctx.stop_requested()

    def flush(self) -> None:
        """Write the waiting points and answers."""
        with unit_of_work() as uow:
            self._ctx.save_checkpoint({"step": self._step}, uow=uow)
            service.add_points(uow, self._run_id, list(self._waiting.values()))
            service.add_samples(uow, self._run_id, list(self._said.values()))
        self._waiting, self._said, self._flushed = {}, {}, time.monotonic()
