"""What happens beside the training loop: the curve, the checkpoints, the stop sign."""

import math
import time
from collections.abc import Callable
from typing import Any, Literal

import psutil
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from engine.kit.errors import EngineError
from engine.training.checkpoints import CheckpointStore
from engine.training.recipe import LoraRecipe
from engine.training.samples import Sampler
from engine.training.schemas import Monitor, Point

POINTS_PER_RUN = 500
SAVING_SHARE = 0.05
"""Largest share of the time that may go into checkpoints written by the clock."""


class Diverged(EngineError):
    """The loss is not a number any more; the last checkpoint is from before that."""

    status = 422


class RunCallback(TrainerCallback):
    """Reports, saves and stops one training.

    Everything is decided at the end of a step, in this order: log, ask, evaluate, save. A checkpoint
    therefore always holds the random state after the evaluation, and a run that continues from it draws the
    same numbers as one that was never interrupted.
    """

    def __init__(
        self,
        recipe: LoraRecipe,
        store: CheckpointStore,
        monitor: Monitor,
        *,
        evaluates: bool,
        sampler: Sampler,
        seconds: float = 0.0,
        tokens: int = 0,
        kept_step: int = 0,
    ) -> None:
        self.recipe, self.store, self.monitor, self.evaluates = recipe, store, monitor, evaluates
        self.sampler = sampler
        self.stopped: Literal["pause", "cancel"] | None = None
        self.kept_step = kept_step
        self.eval_loss: float | None = None
        self._seconds_before, self._tokens_before = seconds, tokens
        self._tokens = 0
        self._point: Point | None = None
        self._save_cost = 0.0
        self._began = self._saved = self._mark = self._deciding = time.monotonic()
        self._first_step = 0

    @property
    def seconds(self) -> float:
        """Time spent so far, with earlier attempts."""
        return self._seconds_before + time.monotonic() - self._began

    @property
    def tokens(self) -> int:
        """Tokens seen so far, with earlier attempts."""
        return self._tokens_before + self._tokens

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clocks."""
        self._began = self._saved = self._mark = time.monotonic()
        self._first_step = state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Decide what follows this step."""
        self._deciding = time.monotonic()
        step, last = state.global_step, state.global_step >= state.max_steps
        epoch_ends = self._epoch_ends(state)
        control.should_evaluate = epoch_ends and self.evaluates
        if not last:
            self.stopped = self.monitor.stop_requested()
        control.should_training_stop = last or self.stopped is not None
        control.should_save = control.should_training_stop or self._save_due(step, epoch_ends)
        every = max(1, state.max_steps // POINTS_PER_RUN)
        asks = self.sampler.due(step, state.max_steps)
        control.should_log = step % every == 0 or control.should_save or control.should_evaluate or asks

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **parts: Any,
    ) -> None:
        """Turn what the trainer logs into points, and stop at a loss that is not a number."""
        values = logs or {}
        if "loss" in values:
            self._train_point(state, values)
            self._ask(state, parts)
        elif "eval_loss" in values:
            self.eval_loss = self._finite(state, float(values["eval_loss"]))
            point = self._point or Point(step=state.global_step, epoch=state.epoch or 0.0)
            measured = {
                "eval_loss": self.eval_loss,
                "eval_margin": values.get("eval_rewards/margins"),
                "eval_accuracy": values.get("eval_rewards/accuracies"),
            }
            self._publish(state, point.model_copy(update=measured))

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave the evaluation out of the training speed."""
        self._mark = time.monotonic()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Make what the trainer wrote a checkpoint."""
        measured = self.eval_loss if self._epoch_ends(state) else None
        self.store.seal(state.global_step, eval_loss=measured, seconds=self.seconds, tokens=self.tokens)
        self.kept_step = state.global_step
        self._saved = self._mark = time.monotonic()
        self._save_cost = self._saved - self._deciding
        self.monitor.saved(state.global_step)

    def _epoch_ends(self, state: TrainerState) -> bool:
        return state.global_step % max(1, state.max_steps // self.recipe.epochs) == 0

    def _save_due(self, step: int, epoch_ends: bool) -> bool:
        if self.recipe.save_steps:
            return step % self.recipe.save_steps == 0
        wait = self.recipe.save_seconds / (4 if epoch_ends else 1)
        return time.monotonic() - self._saved >= max(wait, self._save_cost / SAVING_SHARE)

    def _train_point(self, state: TrainerState, values: dict[str, Any]) -> None:
        now = time.monotonic()
        seen = int(values.get("num_tokens", 0))
        speed = (seen - self._tokens) / max(now - self._mark, 1e-6)
        self._tokens, self._mark = seen, now
        self._point = Point(
            step=state.global_step,
            epoch=round(state.epoch or 0.0, 4),
            loss=self._finite(state, float(values["loss"])),
            learning_rate=float(values["learning_rate"]),
            grad_norm=self._finite(state, float(values.get("grad_norm", 0.0))),
            tokens_per_second=round(speed, 1),
            memory=_memory(),
            margin=values.get("rewards/margins"),
        )
        self._publish(state, self._point)

    def _ask(self, state: TrainerState, parts: dict[str, Any]) -> None:
        """Have the run's questions answered when it is time, and leave that out of the training speed."""
        if self.sampler.due(state.global_step, state.max_steps):
            said = self.sampler.ask(parts["model"], parts["processing_class"], state.global_step)
            self.monitor.samples(said)
            self._mark = time.monotonic()

    def _publish(self, state: TrainerState, point: Point) -> None:
        self.monitor.points([point])
        done = state.global_step - self._first_step
        pace = (time.monotonic() - self._began) / max(1, done)
        metrics = point.model_dump(exclude={"step"}, exclude_none=True)
        metrics["seconds_left"] = round(pace * (state.max_steps - state.global_step), 1)
        metrics["seconds"] = round(self.seconds, 1)
        metrics["checkpoint_step"] = self.kept_step
        message = f"step {state.global_step}/{state.max_steps}"
        self.monitor.progress(state.global_step, state.max_steps, message, metrics)

    def _finite(self, state: TrainerState, value: float) -> float:
        if math.isfinite(value):
            return value
        rate = f"{self.recipe.learning_rate:g}"
        raise Diverged("training.diverged", step=state.global_step, kept=self.kept_step, rate=rate)


class EvaluationCallback(TrainerCallback):
    """Tells after each batch of an evaluation how many are done, and of how many."""

    def __init__(self, seen: Callable[[int, int], None]) -> None:
        self._seen, self._done = seen, 0

    def on_prediction_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        eval_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Count the batch."""
        self._done += 1
        self._seen(self._done, len(eval_dataloader))


def _memory() -> int:
    """Return the bytes that a point reports; see `Point`."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)
