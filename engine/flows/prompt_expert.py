"""An expert by a prompt: written, measured on held-out rows, and entered in the market beside the trained."""

from collections.abc import Sequence

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.datasets import service as datasets
from engine.flows import plan_limits, price_training, train_expert
from engine.flows.estimate_training import require_room
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput
from engine.kit.settings import settings
from engine.training import service as training
from engine.training.prompting import PromptRecipe
from engine.training.schemas import RunView


def start(
    person: Person,
    *,
    name: str,
    template: str,
    dataset_id: str,
    knowledge_base_ids: Sequence[str] = (),
    questions: Sequence[str] = (),
) -> tuple[RunView, JobView]:
    """Submit the measurement of a prompt; the expert is there when it is done.

    A name that the tenant has already gets a new version. `dataset_id` gives the rows to measure with, now
    and in the quality check; `questions` are answered once. Raises as `train_expert.start` does.
    """
    require(person, "developer")
    recipe = PromptRecipe(template=template)
    with unit_of_work() as uow:
        plan_limits.require_training(uow, person.tenant_id, device=False)
        dataset = datasets.get(uow, dataset_id, person.tenant_id)
        if not dataset.validation_rows:
            raise BadInput("training.nothing_held_out", field="dataset_id")
        require_room()
        price_training.require(uow, person.tenant_id, None, device=False)
        run = training.create_run(
            uow,
            person_id=person.id,
            tenant_id=person.tenant_id,
            name=name,
            dataset_id=dataset_id,
            base_model=settings().base_model,
            recipe=recipe,
            knowledge_base_ids=knowledge_base_ids,
            questions=questions,
            dataset_fingerprint=dataset.fingerprint,
        )
        job = train_expert.submit(uow, person, kind=train_expert.MEASURE, made=run, dataset=dataset)
        return training.attach_job(uow, run.id, person.tenant_id, job.id), job
