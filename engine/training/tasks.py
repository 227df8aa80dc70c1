"""The job that carries out a training run; the only place where training and jobs touch."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from sqlalchemy.orm import Session

from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.training import service
from engine.training.checkpoints import CheckpointStore, Identity, base_digest, data_digest
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Point, Probe, Provenance, RunView, Sample, Serving, TrainingResult
from engine.training.statistics import row_statistics

if TYPE_CHECKING:
    from engine.training.run import Outcome

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
        material = Material.of(resolve_base(run.base_model), paths)
        outcome = carry_out(run, material, questions(run), ctx.workdir, JobMonitor(ctx, run.id))
        if outcome.adapter is None or ctx.stop_requested() == "cancel":
            ctx.check_stop()
        result = keep(run, material, outcome)
        return with_proof(ctx, result, outcome.probes, prove).model_dump()

    return train_job


@dataclass(frozen=True, kw_only=True)
class Material:
    """What trainings are made of: the folder of the base model and the two files of rows, with digests."""

    base: Path
    paths: tuple[Path, Path]
    base_digest: str
    data_digest: str

    @classmethod
    def of(cls, base: Path, paths: tuple[Path, Path]) -> "Material":
        """Return the material, read once for its digests."""
        return cls(base=base, paths=paths, base_digest=base_digest(base), data_digest=data_digest(*paths))


def carry_out(
    run: RunView,
    material: Material,
    questions: dict[str, list[dict[str, str]]],
    workdir: Path,
    monitor: "JobMonitor",
) -> "Outcome":
    """Train a run in `workdir` until it is done or has to stop. Raises what `run.train` raises."""
    # torch is imported in the job's own process, not where the handler is registered.
    from engine.training.run import train

    recipe = LoraRecipe.from_dict(run.recipe)
    identity = Identity(data=material.data_digest, recipe=recipe.digest(), base=material.base_digest)
    outcome = train(
        base=material.base,
        base_name=run.base_model,
        train_path=material.paths[0],
        validation_path=material.paths[1],
        recipe=recipe,
        workdir=workdir,
        store=CheckpointStore(workdir / "trainer", blobs(), checkpoint_prefix(run.id), identity),
        monitor=monitor,
        questions=questions,
    )
    monitor.flush()
    return outcome


def keep(run: RunView, material: Material, outcome: "Outcome") -> TrainingResult:
    """Store the adapter of a finished training, and return what is known of it."""
    from engine.training.run import surroundings

    assert outcome.adapter is not None, "a stopped training raises in check_stop"
    files = blobs().upload_folder(adapter_prefix(run.id), outcome.adapter)
    train, held_out = material.paths
    return TrainingResult(
        adapter_prefix=adapter_prefix(run.id),
        steps=outcome.steps,
        loss=outcome.loss,
        eval_loss=outcome.eval_loss,
        seconds=outcome.seconds,
        tokens=outcome.tokens,
        provenance=Provenance(
            base=material.base_digest,
            data=material.data_digest,
            files={info.key.rpartition("/")[2]: info.sha256 for info in files},
            train=row_statistics(train),
            held_out=row_statistics(held_out) if held_out.stat().st_size else None,
            **asdict(surroundings()),
        ),
    )


def with_proof(
    ctx: JobContext, result: TrainingResult, probes: Sequence[Probe], prove: Proof
) -> TrainingResult:
    """Return the result with how what is served compares with what was trained."""
    assert result.provenance is not None, "`keep` writes it"
    serving = prove(ctx, result.adapter_prefix, result.provenance.precision, probes)
    return result.model_copy(update={"serving": serving})


class JobMonitor:
    """Carries what a training says to its job's row and to the run's curve.

    Points and answers are written in the transaction that also writes the job's checkpoint: that write
    carries the fencing token, so a worker that comes back late cannot touch what its successor wrote.
    """

    def __init__(self, ctx: JobContext, run_id: str, kept: Mapping[str, Any] | None = None) -> None:
        """`kept` stands in the job's checkpoint beside the step."""
        self._ctx, self._run_id, self._kept = ctx, run_id, dict(kept or {})
        self._step = 0
        self._waiting: dict[int, Point] = {}
        self._said: dict[tuple[int, int], Sample] = {}
        self._flushed = time.monotonic()

    def resumed(self, step: int) -> None:
        """Cut the curve at the step from which the training continues."""
        self._step = step
        with unit_of_work() as uow:
            self._ctx.save_checkpoint({**self._kept, "step": step}, uow=uow)
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
            self._ctx.save_checkpoint({**self._kept, "step": self._step}, uow=uow)
            service.add_points(uow, self._run_id, list(self._waiting.values()))
            service.add_samples(uow, self._run_id, list(self._said.values()))
        self._waiting, self._said, self._flushed = {}, {}, time.monotonic()
