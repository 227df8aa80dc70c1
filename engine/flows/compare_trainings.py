"""Training runs side by side: how they were set, how well they did, and what they answered."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView, State
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.knowledge import service as knowledge
from engine.training import service as training
from engine.training.drawing import lines
from engine.training.recipe import RANGES
from engine.training.schemas import RunView, Sample

MOST = 4

Verdict = Literal["lower", "equal", "other_data", "other_base", "other_method", "not_measured"]


class Contender(BaseModel):
    """One of the runs: losses as in `Point`, `held_out` by step as far as it has come.

    `held_out_loss` is the last of `held_out`; None where nothing was held out or measured yet.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str
    name: str
    state: State | None
    steps: int
    loss: float | None
    held_out_loss: float | None
    seconds: float | None
    held_out: list[tuple[int, float]]


class Setting(BaseModel):
    """A setting that is not the same for all runs: its values in their order.

    `name` is that of a field of LoraRecipe, or dataset, knowledge_bases or base_model.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    values: list[Any]


class Answers(BaseModel):
    """The newest answers of all runs to a question, in their order; None where one has not been asked yet."""

    model_config = ConfigDict(frozen=True)

    question: str
    answers: list[Sample | None]


class Comparison(BaseModel):
    """Two to four runs, with the settings that differ and the questions that all of them have.

    Held-out losses are `comparable` only over the same rows, learnt by the same base model and method:
    `verdict` says why they are not, or whether one is lower; `lowest` is the id of that run.
    """

    model_config = ConfigDict(frozen=True)

    runs: list[Contender]
    settings: list[Setting]
    answers: list[Answers]
    comparable: bool
    verdict: Verdict
    lowest: str | None = None


def compare(person: Person, run_ids: Sequence[str]) -> Comparison:
    """Compare runs of the tenant, in the order given.

    Raises NotFound, and BadInput unless there are two to four.
    """
    require(person, "developer")
    wanted = list(dict.fromkeys(run_ids))
    if not 2 <= len(wanted) <= MOST:
        raise BadInput("runs.compare_count", field="runs", count=len(wanted), most=MOST)
    with unit_of_work() as uow:
        runs = [training.get_run(uow, run_id, person.tenant_id) for run_id in wanted]
        carried = [_job(uow, run) for run in runs]
        found = [_contender(uow, run, job) for run, job in zip(runs, carried, strict=True)]
        settings = _settings([_set(uow, run, job) for run, job in zip(runs, carried, strict=True)])
        said = [training.samples(uow, run.id, person.tenant_id) for run in runs]
    data = [(*_data(run, job), _measured(run, job)) for run, job in zip(runs, carried, strict=True)]
    verdict, lowest = _verdict(found, data, runs)
    return Comparison(
        runs=found,
        settings=settings,
        answers=_answers(runs, said),
        comparable=not verdict.startswith("other_"),
        verdict=verdict,
        lowest=lowest,
    )


def _job(uow: Session, run: RunView) -> JobView | None:
    try:
        return jobs.get(uow, run.job_id or "", run.tenant_id)
    except NotFound:
        return None


def _contender(uow: Session, run: RunView, job: JobView | None) -> Contender:
    points = training.points(uow, run.id, run.tenant_id)
    train, held_out = lines(points)
    result = run.result_in(job.result if job else None) or {}
    return Contender(
        run_id=run.id,
        name=run.name,
        state=job.state if job else None,
        steps=points[-1].step if points else 0,
        loss=run.final_loss if run.final_loss is not None or not train else train[-1][1],
        held_out_loss=held_out[-1][1] if held_out else run.final_eval_loss,
        seconds=result.get("seconds"),
        held_out=list(held_out),
    )


def _set(uow: Session, run: RunView, job: JobView | None) -> dict[str, tuple[Any, Any]]:
    """Return how a run was set, as (what tells it apart, what is shown of it) by name."""
    params = job.params if job else {}
    kept = params.get("dataset") or {}
    names = {base["id"]: base["name"] for base in params.get("bases", [])}
    shown = [_base_name(uow, run, base_id, names) for base_id in run.knowledge_base_ids]
    values = {name: (run.recipe.get(name), run.recipe.get(name)) for name in RANGES}
    return values | {
        "method": (_method(run), _method(run)),
        "template": (run.recipe.get("template"), run.recipe.get("template")),
        "dataset": (run.dataset_id, kept.get("name") or run.dataset_id),
        "knowledge_bases": (run.knowledge_base_ids, shown),
        "base_model": (run.base_model, run.base_model),
    }


def _method(run: RunView) -> str:
    # Runs from before there were several have none written down.
    return str(run.recipe.get("method", "sft"))


def _base_name(uow: Session, run: RunView, base_id: str, names: dict[str, str]) -> str:
    try:
        return names.get(base_id) or knowledge.get_base(uow, base_id, run.tenant_id).name
    except NotFound:
        return base_id


def _settings(found: Sequence[dict[str, tuple[Any, Any]]]) -> list[Setting]:
    return [
        Setting(name=name, values=[each[name][1] for each in found])
        for name in found[0]
        if any(each[name][0] != found[0][name][0] for each in found)
    ]


def _data(run: RunView, job: JobView | None) -> tuple[Any, ...]:
    """Return what decides which rows are held out."""
    kept = (job.params.get("dataset") if job else None) or {}
    return run.dataset_fingerprint, kept.get("seed"), kept.get("validation_percent")


def _measured(run: RunView, job: JobView | None) -> str:
    """Return which answers of a row the loss is of, where its rows have several: a prompt with a place for
    the question is measured by the last one."""
    origin = ((job.result if job else None) or {}).get("provenance") or {}
    held_out = origin.get("held_out") or {}
    several = held_out.get("answers", 0) > held_out.get("rows", 0)
    return "last" if several and "{question}" in str(run.recipe.get("template", "")) else "all"


def _verdict(
    found: Sequence[Contender], data: Sequence[tuple[Any, ...]], runs: Sequence[RunView]
) -> tuple[Verdict, str | None]:
    if len(set(data)) > 1 or data[0][0] is None:
        return "other_data", None
    if len({run.base_model for run in runs}) > 1:
        return "other_base", None
    # A prompt and a training by answers are measured by the same loss.
    if len({_method(run).replace("prompt", "sft") for run in runs}) > 1:
        return "other_method", None
    losses = {run.run_id: run.held_out_loss for run in found if run.held_out_loss is not None}
    if len(losses) < len(found):
        return "not_measured", None
    least = min(losses.values())
    lowest = [run_id for run_id, loss in losses.items() if loss == least]
    return ("lower", lowest[0]) if len(lowest) == 1 else ("equal", None)


def _answers(runs: Sequence[RunView], said: Sequence[Sequence[Sample]]) -> list[Answers]:
    # Samples come by step, so the newest stays.
    newest = [{sample.question: sample for sample in of_run} for of_run in said]
    common = [question for question in runs[0].questions if all(question in run.questions for run in runs)]
    return [Answers(question=one, answers=[found.get(one) for found in newest]) for one in common]
