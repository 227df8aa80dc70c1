"""The values that cross the door of the training room."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict

from engine.kit.messages import t

Ended = Literal["done", "pruned", "failed"]
"""How a trial of a search ended."""


class Point(BaseModel):
    """What was measured at one optimiser step; None where nothing was measured.

    `loss` and `eval_loss` are mean cross-entropies in nats per answer token, or what the method puts in
    their place, `epoch` counts passes over the training rows, `tokens_per_second` counts prompt and answer
    tokens. `memory` is in bytes: the most that this attempt has held on a GPU so far, or what its process
    holds now where it trains on the CPU.

    Methods that learn from preferences have a reward: `beta` times how much likelier (nats) an answer is to
    the trained model than to the base model. `margin` is the mean reward of good answers less that of bad
    ones, in training; `eval_margin` the same on the held-out rows, and `eval_accuracy` the share of their
    pairs, from 0 to 1, in which the preferred answer has the larger reward.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    step: int
    epoch: float
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens_per_second: float | None = None
    memory: int | None = None
    margin: float | None = None
    eval_margin: float | None = None
    eval_accuracy: float | None = None


class Sample(BaseModel):
    """What the model in training answered at one step to one of the run's questions, the `number`-th."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    step: int
    number: int
    question: str
    answer: str


class RunView(BaseModel):
    """A training run as its owner sees it; its state and progress are those of its job.

    A trial of a search shares its job with others, so it has `ended` and a `result` of its own.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    tenant_id: str
    owner_id: str
    name: str
    job_id: str | None
    dataset_id: str
    knowledge_base_ids: list[str]
    questions: list[str] = []
    base_model: str
    recipe: dict[str, Any]
    dataset_fingerprint: str | None
    adapter_prefix: str | None
    final_loss: float | None
    final_eval_loss: float | None
    created_at: datetime
    finished_at: datetime | None
    search_id: str | None = None
    trial: int | None = None
    ended: Ended | None = None
    result: dict[str, Any] | None = None

    def result_in(self, given: dict[str, Any] | None) -> dict[str, Any] | None:
        """Return what this run gave; `given` is the result of its job, which trials of a search share."""
        if self.search_id is None or (given or {}).get("best_run_id") == self.id:
            return given
        return self.result


class SearchView(BaseModel):
    """A search for good values as its owner sees it; its state and progress are those of its job.

    `space` is that of SearchSpace, `recipe` holds what all trials share.
    """

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    tenant_id: str
    owner_id: str
    name: str
    job_id: str | None
    dataset_id: str
    dataset_fingerprint: str | None
    knowledge_base_ids: list[str]
    questions: list[str]
    base_model: str
    space: dict[str, Any]
    recipe: dict[str, Any]
    best_run_id: str | None
    created_at: datetime
    finished_at: datetime | None


class Trial(BaseModel):
    """One training of a search. `number` counts from 1; `ended` is None while it is the running one.

    `held_out` has the held-out loss after each epoch, `eval_loss` is the last of them: that of the adapter
    which the trial would hand out. A failed trial has the reason in `error` ("key" and "facts").
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    number: int
    rank: int
    learning_rate: float
    epochs: int
    ended: Ended | None = None
    eval_loss: float | None = None
    held_out: list[tuple[int, float]] = []
    seconds: float | None = None
    error: dict[str, Any] | None = None

    def error_text(self, language: str) -> str:
        """Return why it failed, nothing when it did not."""
        if self.error is None:
            return ""
        try:
            return t(self.error["key"], language, **self.error["facts"])
        except KeyError:
            return t("search.failed", language)


class Tally(BaseModel):
    """How far a search is: trials that have ended, and the lowest held-out loss of those that are done."""

    model_config = ConfigDict(frozen=True)

    ended: int = 0
    lowest: float | None = None


class Spread(BaseModel):
    """How a number is distributed over the rows; `p95` is reached or exceeded by one row in twenty."""

    model_config = ConfigDict(frozen=True)

    least: int
    median: float
    mean: float
    p95: int
    most: int


class RowStatistics(BaseModel):
    """The rows of one split as the model read them, with the passages that were put in front of them.

    An answer is a turn of the assistant; each is one training example. `prompt` is the characters of a
    row outside of its answers, `answer` those of one answer. `languages` counts rows by the language of
    their last turn.
    """

    model_config = ConfigDict(frozen=True)

    rows: int
    answers: int
    turns: Spread
    prompt: Spread
    answer: Spread
    languages: dict[str, int]


class Provenance(BaseModel):
    """What a training was made of, written down while it was still there.

    `base` and `data` are SHA-256 (see `base_digest`, `data_digest`), `files` maps the adapter's files to
    theirs. `device` is "cpu" or the name of the accelerator, `precision` the type of the weights; with
    `threads`, they decide in which order numbers are added.
    """

    model_config = ConfigDict(frozen=True)

    base: str
    data: str
    files: dict[str, str]
    versions: dict[str, str]
    device: str
    precision: str
    threads: int
    train: RowStatistics
    held_out: RowStatistics | None


class Probe(BaseModel):
    """A prompt and the trained model's greedy answer as token ids; the answer begins at `start`.

    `logprobs` are the log-probabilities (nats) of the answer's tokens.
    """

    model_config = ConfigDict(frozen=True)

    ids: list[int]
    start: int
    logprobs: list[float]


class Serving(BaseModel):
    """How what is served compares with what was trained, over `tokens` tokens of greedy answers.

    `others` counts those that the served model would choose differently, `largest` is the largest
    difference of a log-probability in nats.
    """

    model_config = ConfigDict(frozen=True)

    state: Literal["same", "differs", "unchecked"]
    tokens: int = 0
    others: int = 0
    largest: float = 0.0


class TrainingResult(BaseModel):
    """What a finished training hands back; also the result of its job.

    `loss` is the mean over the last epoch, `seconds` and `tokens` count all attempts together. Trainings
    from before it was recorded have no `provenance` and no `serving`; a prompt, which is only measured, has
    no `loss`, no steps and an empty `adapter_prefix`.
    """

    model_config = ConfigDict(frozen=True)

    adapter_prefix: str
    steps: int
    loss: float | None
    eval_loss: float | None
    seconds: float
    tokens: int
    provenance: Provenance | None = None
    serving: Serving | None = None


class Monitor(Protocol):
    """Who watches a training from outside: hears of progress and may ask it to stop."""

    def resumed(self, step: int) -> None:
        """The training is about to continue behind `step` (0: from the beginning)."""

    def points(self, new: Sequence[Point]) -> None:
        """New points of the curve; a step may come twice, the later one counts."""

    def samples(self, new: Sequence[Sample]) -> None:
        """New answers to the run's questions; one to the same question at the same step replaces it."""

    def progress(self, done: int, total: int, message: str, metrics: dict[str, Any]) -> None:
        """How far the training is, in optimiser steps."""

    def saved(self, step: int) -> None:
        """The checkpoint of `step` is complete, here and in the object store."""

    def stop_requested(self) -> Literal["pause", "cancel"] | None:
        """Return what is asked; the training then saves a checkpoint and ends."""
