"""The job that measures a prompt: how well the base model foresees the held-out answers with it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput
from engine.training import service
from engine.training.checkpoints import base_digest, data_digest
from engine.training.examples import examples as examples_of
from engine.training.examples import load_examples
from engine.training.prompting import PromptRecipe
from engine.training.samples import Conversation, Sampler
from engine.training.schemas import Provenance, Sample, TrainingResult
from engine.training.statistics import row_statistics
from engine.training.tasks import DatasetSource, JobContext, QuestionSource, as_asked

BATCH = 8


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The mean cross-entropy (nats per answer token) of the rows, the tokens read, and what was answered."""

    loss: float
    seconds: float
    tokens: int
    samples: list[Sample]


def make_measure_job(
    source: DatasetSource, resolve_base: Callable[[str], Path], questions: QuestionSource = as_asked
) -> Callable[[JobContext], dict[str, Any]]:
    """Return the handler of "training.prompt" jobs; parameters and result are those of a training.

    The rows that `source` writes have the prompt in them. Raises NotFound, and BadInput when none is held
    out or fits.
    """

    def measure_job(ctx: JobContext) -> dict[str, Any]:
        from engine.training.run import surroundings

        with unit_of_work() as uow:
            run = service.get_run(uow, ctx.params["run_id"], ctx.params["tenant_id"])
        recipe = PromptRecipe.from_dict(run.recipe)
        ctx.report(message="rows")
        paths = source(run.id, run.tenant_id, ctx.workdir / "rows")
        ctx.report(message="base model")
        base = resolve_base(run.base_model)
        # Earlier answers of a row follow questions that such a prompt is not put around.
        last_only = "{question}" in recipe.template
        found = measure(base, paths[1], recipe.max_length, ctx.workdir, questions(run), ctx, last_only)
        with unit_of_work() as uow:
            ctx.save_checkpoint({"measured": True}, uow=uow)
            service.add_samples(uow, run.id, found.samples)
        provenance = Provenance(
            base=base_digest(base),
            data=data_digest(*paths),
            files={},
            train=row_statistics(paths[0]),
            held_out=row_statistics(paths[1]),
            **asdict(surroundings()),
        )
        return TrainingResult(
            adapter_prefix="",
            steps=0,
            loss=None,
            eval_loss=found.loss,
            seconds=found.seconds,
            tokens=found.tokens,
            provenance=provenance,
        ).model_dump()

    return measure_job


def measure(
    base: Path,
    rows: Path,
    max_length: int,
    folder: Path,
    questions: Mapping[str, Conversation],
    ctx: JobContext,
    last_only: bool = False,
) -> Measured:
    """Return how well a base model foresees the answers of `rows`, reckoned as a training's held-out loss.

    With `last_only`, of each row only its last answer counts. Nothing is written but below `folder`. Raises
    BadInput when no row fits into `max_length`.
    """
    from datasets import Dataset

    from engine.training.run import evaluator

    began = time.monotonic()
    examples = list(_last_answers(rows)) if last_only else load_examples(rows)
    if not examples:
        raise BadInput("training.nothing_held_out", field="dataset_id")

    def seen(done: int, total: int) -> None:
        ctx.check_stop()
        ctx.report(done=done, total=total, message=f"batch {done}/{total}")

    trainer = evaluator(base, examples, max_length, BATCH, folder, seen)
    found = trainer.evaluate()
    if "eval_loss" not in found:
        raise BadInput("training.no_rows", field="max_length", max_length=max_length)
    said = Sampler(questions, 1).ask(trainer.model, trainer.processing_class, 0) if questions else []
    tokens = sum(map(len, cast(Dataset, trainer.eval_dataset)["input_ids"]))
    return Measured(
        loss=float(found["eval_loss"]),
        seconds=round(time.monotonic() - began, 2),
        tokens=tokens,
        samples=said,
    )


def _last_answers(rows: Path) -> Iterator[dict[str, Any]]:
    with rows.open(encoding="utf-8") as lines:
        for line in lines:
            yield from list(examples_of(json.loads(line)))[-1:]
