"""The rules of searches: what may be searched, who may see it, who may write down its trials."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from engine.kit.clock import now
from engine.kit.errors import BadInput, NotFound
from engine.kit.ids import new_id
from engine.training import repository
from engine.training.models import TrainingRun, TrainingSearch
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Ended, RunView, SearchView, Tally, Trial
from engine.training.search import Choice, SearchSpace, with_choice
from engine.training.service import require_startable


def create(
    uow: Session,
    *,
    person_id: str,
    tenant_id: str,
    name: str,
    dataset_id: str,
    held_out_rows: int,
    base_model: str,
    recipe: LoraRecipe,
    space: SearchSpace,
    knowledge_base_ids: Sequence[str] = (),
    questions: Sequence[str] = (),
    dataset_fingerprint: str | None = None,
) -> SearchView:
    """Write down a search that a job will carry out; `recipe` holds what the trials share.

    Raises what `create_run` raises for the largest rank, and BadInput without rows that are held out.
    """
    if not held_out_rows:
        raise BadInput("search.no_held_out", field="dataset_id")
    asked = require_startable(name, space.largest(recipe), knowledge_base_ids, questions)
    search = TrainingSearch(
        id=new_id("search"),
        tenant_id=tenant_id,
        owner_id=person_id,
        name=name.strip(),
        dataset_id=dataset_id,
        dataset_fingerprint=dataset_fingerprint,
        knowledge_base_ids=list(knowledge_base_ids),
        questions=asked,
        base_model=base_model,
        space=space.to_dict(),
        recipe=recipe.to_dict(),
        created_at=now(),
    )
    repository.add_search(uow, search)
    return SearchView.model_validate(search)


def attach_job(uow: Session, search_id: str, tenant_id: str, job_id: str) -> SearchView:
    """Remember which job carries out a search. Raises NotFound."""
    search = _search(uow, search_id, tenant_id)
    search.job_id = job_id
    return SearchView.model_validate(search)


def get(uow: Session, search_id: str, tenant_id: str) -> SearchView:
    """Return a search. Raises NotFound, also for one of another tenant."""
    return SearchView.model_validate(_search(uow, search_id, tenant_id))


def listing(uow: Session, tenant_id: str, limit: int = 100) -> list[tuple[SearchView, Tally]]:
    """Return the newest searches of a tenant, with how far they are."""
    found = [SearchView.model_validate(search) for search in repository.searches(uow, tenant_id, limit)]
    rows = repository.tallies(uow, [search.id for search in found])
    tallies = {search_id: Tally(ended=ended, lowest=lowest) for search_id, ended, lowest in rows}
    return [(search, tallies.get(search.id, Tally())) for search in found]


def trials(uow: Session, search_id: str, tenant_id: str) -> list[Trial]:
    """Return the trials of a search so far, in their order. Raises NotFound."""
    _search(uow, search_id, tenant_id)
    held_out: dict[str, list[tuple[int, float]]] = {}
    for run_id, epoch, loss in repository.held_out(uow, search_id):
        held_out.setdefault(run_id, []).append((round(epoch), loss))
    return [_trial(run, held_out.get(run.id, [])) for run in repository.trials(uow, search_id)]


def begin(uow: Session, search: SearchView, number: int, choice: Choice) -> RunView:
    """Write down the run of a trial. Only for the holder of the search's job, who fences the transaction."""
    run = TrainingRun(
        id=new_id("run"),
        tenant_id=search.tenant_id,
        owner_id=search.owner_id,
        # Its rows and its questions are read under this name, as its expert's will be.
        name=search.name,
        job_id=search.job_id,
        dataset_id=search.dataset_id,
        knowledge_base_ids=search.knowledge_base_ids,
        questions=search.questions,
        base_model=search.base_model,
        recipe=with_choice(LoraRecipe.from_dict(search.recipe), choice).to_dict(),
        dataset_fingerprint=search.dataset_fingerprint,
        created_at=now(),
        search_id=search.id,
        trial=number,
    )
    repository.add_run(uow, run)
    return RunView.model_validate(run)


def end(uow: Session, run: RunView, ended: Ended, result: dict[str, Any]) -> None:
    """Write down how a trial ended; `result` is that of a training, or a part of it. Fenced as `begin` is."""
    row = repository.run(uow, run.id, run.tenant_id)
    assert row is not None, "nobody deletes the run of a trial"
    row.ended, row.result, row.finished_at = ended, result, now()
    row.final_loss, row.final_eval_loss = result.get("loss"), result.get("eval_loss")


def finish(uow: Session, search_id: str, tenant_id: str, best_run_id: str) -> SearchView:
    """Write down which trial was the best. Raises NotFound."""
    search = _search(uow, search_id, tenant_id)
    search.best_run_id, search.finished_at = best_run_id, now()
    return SearchView.model_validate(search)


def _trial(run: TrainingRun, held_out: list[tuple[int, float]]) -> Trial:
    result = run.result or {}
    return Trial.model_validate(
        {
            "run_id": run.id,
            "number": run.trial,
            **{name: run.recipe[name] for name in Choice._fields},
            "ended": run.ended,
            "eval_loss": run.final_eval_loss,
            "held_out": held_out,
            "seconds": result.get("seconds"),
            "error": result.get("error"),
        }
    )


def _search(uow: Session, search_id: str, tenant_id: str) -> TrainingSearch:
    search = repository.search(uow, search_id, tenant_id)
    if search is None:
        raise NotFound("search.unknown")
    return search
