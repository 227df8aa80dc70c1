"""The job that carries out a search: one training after another in it, each a run with a curve of its own."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol

from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, EngineError
from engine.training import searches, service
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Ended, Point, Probe, RunView, SearchView, TrainingResult, Trial
from engine.training.search import SearchSpace, best
from engine.training.tasks import (
    JobContext,
    JobMonitor,
    Material,
    Proof,
    QuestionSource,
    adapter_prefix,
    as_asked,
    carry_out,
    checkpoint_prefix,
    keep,
    with_proof,
)


class SearchSource(Protocol):
    """Writes the two splits of a search's data into a folder and returns their paths."""

    def __call__(self, search: SearchView, folder: Path) -> tuple[Path, Path]:
        """Return (train.jsonl, validation.jsonl)."""


class Pruned(BaseException):
    """The running trial is given up. Like StopJob, no `except Exception` on its way may hold it."""


class NoneSucceeded(EngineError):
    """All trials of a search failed; its message is that of the last one."""

    status = 422


def make_search_job(
    source: SearchSource,
    resolve_base: Callable[[str], Path],
    prove: Proof,
    questions: QuestionSource = as_asked,
) -> Callable[[JobContext], dict[str, Any]]:
    """Return the handler of "training.search" jobs; `params` are {"search_id", "tenant_id"}.

    The handler's result is the TrainingResult of the best trial as a dict, with its "best_run_id" and how
    many "trials" there were. Raises NotFound, NoneSucceeded, BadInput and DiskFull, and what the context
    raises.
    """

    def search_job(ctx: JobContext) -> dict[str, Any]:
        with unit_of_work() as uow:
            search = searches.get(uow, ctx.params["search_id"], ctx.params["tenant_id"])
        ctx.report(message="rows")
        paths = source(search, ctx.workdir / "rows")
        ctx.report(message="base model")
        material = Material.of(resolve_base(search.base_model), paths)
        work = Work(ctx=ctx, search=search, material=material, prove=prove, questions=questions)
        return work.do()

    return search_job


@dataclass(frozen=True, kw_only=True)
class Work:
    """One attempt at a search. All that it knows of trials is what the database holds of them."""

    ctx: JobContext
    search: SearchView
    material: Material
    prove: Proof
    questions: QuestionSource
    dropped: set[str] = field(default_factory=set)

    @property
    def space(self) -> SearchSpace:
        """Where it looks."""
        return SearchSpace.from_dict(self.search.space)

    def do(self) -> dict[str, Any]:
        """Make the trials that are left and return what the best one gave."""
        while (run := self._next()) is not None:
            self._make(run)
        trials = self._trials()
        found = best(trials)
        if found is None:
            raise _failure(trials)
        run = self._run(found)
        result = TrainingResult.model_validate(run.result)
        probes = [Probe.model_validate(each) for each in json.loads(blobs().read(_probes_key(run.id)))]
        told = with_proof(self.ctx, result, probes, self.prove)
        return {**told.model_dump(), "best_run_id": run.id, "trials": len(trials)}

    def _next(self) -> RunView | None:
        """Return the run to train: the one that was interrupted, else a new one; None when all have ended."""
        from engine.training.optimiser import propose

        trials = self._trials()
        ended = [trial for trial in trials if trial.ended]
        self._drop_beaten(ended)
        self.ctx.report(done=len(ended), total=self.space.trials)
        self._check_stop()
        if len(ended) < len(trials):
            return self._run(trials[-1])
        if len(trials) == self.space.trials:
            return None
        choice = propose(self.space, LoraRecipe.from_dict(self.search.recipe), trials)
        with unit_of_work() as uow:
            self.ctx.save_checkpoint({"trial": len(trials) + 1, "step": 0}, uow=uow)
            return searches.begin(uow, self.search, len(trials) + 1, choice)

    def _make(self, run: RunView) -> None:
        """Train a run until it has ended. Raises what the context raises when the job has to stop."""
        from engine.training.callbacks import Diverged
        from engine.training.failures import OutOfMemory
        from engine.training.run import release

        monitor = TrialMonitor(self.ctx, self.search, run)
        ended: Ended = "pruned"
        result: dict[str, Any] = {}
        try:
            outcome = carry_out(run, self.material, self.questions(run), self._folder(run.id), monitor)
            if outcome.adapter is None:
                self._check_stop()
            if outcome.eval_loss is None and outcome.adapter is not None:
                # No held-out row fits or has an answer to learn: no trial could be told from another.
                raise BadInput("search.nothing_measured", field="max_length")
            ended, result = "done", keep(run, self.material, outcome).model_dump()
            blobs().put(_probes_key(run.id), json.dumps([p.model_dump() for p in outcome.probes]).encode())
        except Pruned:
            result = monitor.so_far
        except (Diverged, OutOfMemory) as error:
            monitor.flush()
            ended, result = "failed", {**monitor.so_far, "error": {"key": error.key, "facts": error.facts}}
        with unit_of_work() as uow:
            self.ctx.save_checkpoint({"trial": run.trial, "step": 0}, uow=uow)
            searches.end(uow, run, ended, result)
        release()

    def _check_stop(self) -> None:
        """Raise when the job is asked to stop; of a search that is given up for good the files go."""
        if self.ctx.stop_requested() == "cancel":
            self._drop(self._trials())
        self.ctx.check_stop()

    def _drop_beaten(self, ended: Sequence[Trial]) -> None:
        """Delete the files of all trials but the best: a recipe is enough to train them again."""
        found = best(ended)
        self._drop([trial for trial in ended if trial is not found and trial.run_id not in self.dropped])

    def _drop(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            blobs().delete(adapter_prefix(trial.run_id))
            blobs().delete(checkpoint_prefix(trial.run_id))
            shutil.rmtree(self._folder(trial.run_id), ignore_errors=True)
            self.dropped.add(trial.run_id)

    def _folder(self, run_id: str) -> Path:
        return self.ctx.workdir / "trials" / run_id

    def _trials(self) -> list[Trial]:
        with unit_of_work() as uow:
            return searches.trials(uow, self.search.id, self.search.tenant_id)

    def _run(self, trial: Trial) -> RunView:
        with unit_of_work() as uow:
            return service.get_run(uow, trial.run_id, self.search.tenant_id)


class TrialMonitor(JobMonitor):
    """Carries what a trial says to its own curve and to the search's job; gives it up when it is hopeless."""

    def __init__(self, ctx: JobContext, search: SearchView, run: RunView) -> None:
        super().__init__(ctx, run.id, {"trial": run.trial})
        self.space, self._search = SearchSpace.from_dict(search.space), search
        self._ended: list[Trial] = []
        self._own: Trial | None = None
        self._loss: float | None = None
        self._seconds = 0.0

    @property
    def so_far(self) -> dict[str, Any]:
        """Return what is known of a trial that did not come to its end."""
        assert self._own is not None, "`resumed` comes first"
        held_out = self._own.held_out
        return {
            "loss": self._loss,
            "eval_loss": held_out[-1][1] if held_out else None,
            "seconds": self._seconds,
        }

    def resumed(self, step: int) -> None:
        """Cut the curve, and take from the database what decides about this trial."""
        super().resumed(step)
        with unit_of_work() as uow:
            *self._ended, self._own = searches.trials(uow, self._search.id, self._search.tenant_id)

    def points(self, new: Sequence[Point]) -> None:
        """Keep points; raise Pruned behind a held-out loss that makes the trial hopeless."""
        super().points(new)
        for point in new:
            self._loss = point.loss if point.loss is not None else self._loss
            if point.eval_loss is not None:
                self._measured(round(point.epoch), point.eval_loss)

    def progress(self, done: int, total: int, message: str, metrics: dict[str, Any]) -> None:
        """Say how far the search is; the time left counts the trials to come like those so far."""
        assert self._own is not None, "`resumed` comes first"
        number, trials = self._own.number, self.space.trials
        self._seconds = metrics["seconds"]
        whole = self._seconds + metrics["seconds_left"]
        usual = fmean([whole, *(trial.seconds for trial in self._ended if trial.seconds is not None)])
        left = metrics["seconds_left"] + (trials - number) * usual
        self._ctx.report(
            done=len(self._ended),
            total=trials,
            message=f"trial {number}/{trials} · {message}",
            metrics={**metrics, "seconds_left": round(left, 1), "trial_step": done, "trial_steps": total},
        )

    def _measured(self, epoch: int, loss: float) -> None:
        from engine.training.optimiser import hopeless

        assert self._own is not None, "`resumed` comes first"
        self._own = self._own.model_copy(update={"held_out": [*self._own.held_out, (epoch, loss)]})
        if epoch < self._own.epochs and hopeless(self.space, self._ended, self._own):
            self.flush()
            raise Pruned


def _probes_key(run_id: str) -> str:
    """Return where the answers of a trial wait until it is known whether it is the best."""
    return f"{checkpoint_prefix(run_id)}/probes.json"


def _failure(trials: Sequence[Trial]) -> EngineError:
    """Return why there is no best trial, in the words of the last one."""
    error = next((trial.error for trial in reversed(trials) if trial.error), None)
    return NoneSucceeded(error["key"], **error["facts"]) if error else NoneSucceeded("search.failed")
