"""The rules of training runs: what may be started, who may see it, who may write its curve."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from engine.kit.clock import now
from engine.kit.errors import BadInput, NotFound
from engine.kit.ids import new_id
from engine.kit.settings import settings
from engine.training import repository
from engine.training.models import TrainingRun
from engine.training.prompting import PromptRecipe
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Point, RunView, Sample, TrainingResult

NAME_LIMIT = 80
SPEEDS = 200  # newest measurements that tell how fast trainings go
MOST_BASES = 10
MOST_QUESTIONS = 5
QUESTION_LIMIT = 500


def create_run(
    uow: Session,
    *,
    person_id: str,
    tenant_id: str,
    name: str,
    dataset_id: str,
    base_model: str,
    recipe: LoraRecipe | PromptRecipe,
    knowledge_base_ids: Sequence[str] = (),
    questions: Sequence[str] = (),
    dataset_fingerprint: str | None = None,
) -> RunView:
    """Write down a run that a job will carry out.

    `questions` are asked while it goes. Raises as `require_startable` does.
    """
    asked = require_startable(name, recipe, knowledge_base_ids, questions)
    run = TrainingRun(
        id=new_id("run"),
        tenant_id=tenant_id,
        owner_id=person_id,
        name=name.strip(),
        dataset_id=dataset_id,
        knowledge_base_ids=list(knowledge_base_ids),
        questions=asked,
        base_model=base_model,
        recipe=recipe.to_dict(),
        dataset_fingerprint=dataset_fingerprint,
        created_at=now(),
    )
    repository.add_run(uow, run)
    return RunView.model_validate(run)


def require_startable(
    name: str,
    recipe: LoraRecipe | PromptRecipe,
    knowledge_base_ids: Sequence[str],
    questions: Sequence[str],
) -> list[str]:
    """Return the questions without space around them.

    Raises BadInput for an empty or long name, for knowledge bases or questions that are too many or given
    twice, for a question that is empty or long, and for a rank above `max_lora_rank`: such an adapter could
    be trained but not served.
    """
    name = name.strip()
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise BadInput("training.bad_name", field="name", most=NAME_LIMIT)
    most = settings().max_lora_rank
    if isinstance(recipe, LoraRecipe) and recipe.rank > most:
        raise BadInput("training.rank_not_served", field="rank", value=recipe.rank, most=most)
    if len(knowledge_base_ids) > MOST_BASES:
        raise BadInput(
            "training.too_many_bases", field="kb_ids", count=len(knowledge_base_ids), most=MOST_BASES
        )
    if len(set(knowledge_base_ids)) < len(knowledge_base_ids):
        raise BadInput("training.base_twice", field="kb_ids")
    return _checked(questions)


def attach_job(uow: Session, run_id: str, tenant_id: str, job_id: str) -> RunView:
    """Remember which job carries out a run. Raises NotFound."""
    run = _run(uow, run_id, tenant_id)
    run.job_id = job_id
    return RunView.model_validate(run)


def get_run(uow: Session, run_id: str, tenant_id: str) -> RunView:
    """Return a run. Raises NotFound, also for a run of another tenant."""
    return RunView.model_validate(_run(uow, run_id, tenant_id))


def runs(uow: Session, tenant_id: str, limit: int = 100) -> list[RunView]:
    """Return the newest runs of a tenant."""
    return [RunView.model_validate(run) for run in repository.runs(uow, tenant_id, limit)]


def points(uow: Session, run_id: str, tenant_id: str, after_step: int = -1) -> list[Point]:
    """Return the curve of a run behind `after_step`; it grows while the run goes. Raises NotFound."""
    _run(uow, run_id, tenant_id)
    return [Point.model_validate(point) for point in repository.points(uow, run_id, after_step)]


def usual_speed(uow: Session, base_model: str, method: str = "sft") -> float | None:
    """Return how many tokens a second trainings of a base model by a method have made here lately; None
    before the first.

    All tenants' count: it tells of the machine.
    """
    return repository.usual_speed(uow, base_model, method, SPEEDS)


def restart_curve(uow: Session, run_id: str, from_step: int) -> None:
    """Drop the points and answers behind the step from which a run continues.

    Like `add_points`, only for the holder of the run's job: the caller fences the same transaction.
    """
    repository.drop_points(uow, run_id, from_step)
    repository.drop_samples(uow, run_id, from_step)


def add_points(uow: Session, run_id: str, new: Sequence[Point]) -> None:
    """Add to the curve of a run, replacing points of the same step."""
    repository.put_points(uow, run_id, new)


def samples(uow: Session, run_id: str, tenant_id: str) -> list[Sample]:
    """Return what the model answered so far, by step. Raises NotFound."""
    _run(uow, run_id, tenant_id)
    return [Sample.model_validate(sample) for sample in repository.samples(uow, run_id)]


def add_samples(uow: Session, run_id: str, new: Sequence[Sample]) -> None:
    """Keep answers, replacing those to the same question at the same step; fenced as `add_points` is."""
    kept = [sample.model_copy(update={"answer": _storable(sample.answer)}) for sample in new]
    repository.put_samples(uow, run_id, kept)


def finish_run(uow: Session, run_id: str, tenant_id: str, result: Mapping[str, Any]) -> RunView:
    """Write down what a run gave; `result` is that of its job. Raises NotFound."""
    run = _run(uow, run_id, tenant_id)
    outcome = TrainingResult.model_validate(result)
    run.adapter_prefix = outcome.adapter_prefix
    run.final_loss = outcome.loss
    run.final_eval_loss = outcome.eval_loss
    run.finished_at = now()
    return RunView.model_validate(run)


def _run(uow: Session, run_id: str, tenant_id: str) -> TrainingRun:
    run = repository.run(uow, run_id, tenant_id)
    if run is None:
        raise NotFound("training.no_run")
    return run


def _checked(questions: Sequence[str]) -> list[str]:
    """Return the questions without space around them. Raises BadInput."""
    asked = [question.strip() for question in questions]
    if len(asked) > MOST_QUESTIONS:
        raise BadInput(
            "training.too_many_questions", field="questions", count=len(asked), most=MOST_QUESTIONS
        )
    for number, question in enumerate(asked, 1):
        if not question or len(question) > QUESTION_LIMIT or question != _storable(question):
            raise BadInput("training.bad_question", field="questions", number=number, most=QUESTION_LIMIT)
    if len(set(asked)) < len(asked):
        raise BadInput("training.question_twice", field="questions")
    return asked


def _storable(text: str) -> str:
    """Return `text` without what PostgreSQL refuses: NUL and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "ignore").decode()
