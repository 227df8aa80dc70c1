"""Writing an expert as a prompt."""

from dataclasses import dataclass, field

from engine.accounts.schemas import Person
from engine.flows import prompt_expert, train_expert
from engine.kit.errors import BadInput


@dataclass(frozen=True, kw_only=True)
class Draft:
    """What the form begins with."""

    name: str = ""
    template: str = ""
    dataset: str | None = None
    bases: list[str] = field(default_factory=list)
    questions: str = ""


def earlier(person: Person, run_id: str) -> Draft:
    """Return the prompt of a run, to go on from; an empty one without. Raises NotFound."""
    if not run_id:
        return Draft()
    run = train_expert.run(person, run_id)
    return Draft(
        name=run.name,
        template=str(run.recipe.get("template", "")),
        dataset=run.dataset_id,
        bases=run.knowledge_base_ids,
        questions="\n".join(run.questions),
    )


def make(
    person: Person, name: str, template: str, dataset_id: str, base_ids: list[str], questions: str
) -> str:
    """Start the measurement of a prompt and return its run's id. Raises BadInput naming the field."""
    if not dataset_id:
        raise BadInput("studio.choose_dataset", field="dataset")
    run, _ = prompt_expert.start(
        person,
        name=name or "",
        template=template or "",
        dataset_id=dataset_id,
        knowledge_base_ids=base_ids,
        questions=[line.strip() for line in (questions or "").splitlines() if line.strip()],
    )
    return run.id
