"""A search is started, watched and finished through its flow, by its own tenant and within its plan."""

import json
from io import BytesIO
from typing import Any

import pytest

from engine.accounts import service as accounts
from engine.accounts.schemas import Person
from engine.flows import (
    compare_trainings,
    import_dataset,
    plan_limits,
    publish_expert,
    report_training,
    reproduce_training,
    schedule_jobs,
    search_training,
    train_expert,
)
from engine.jobs.models import Job
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from engine.training import searches, service
from engine.training.schemas import Point, SearchView
from engine.training.search import Choice
from tests.support import make_person

RESULT = {
    "adapter_prefix": "adapters/r",
    "steps": 9,
    "loss": 0.5,
    "eval_loss": 1.5,
    "seconds": 1.0,
    "tokens": 90,
}
CHOICES = (Choice(32, 8e-3, 20), Choice(16, 4e-3, 30), Choice(16, 2e-2, 10))


def dataset(person: Person, rows: int = 20) -> str:
    data = "\n".join(json.dumps({"question": f"Q{n}", "answer": f"A{n}"}) for n in range(rows))
    source = BytesIO(data.encode())
    return import_dataset.import_file(person, name="Talks", filename="t.jsonl", source=source).id


@pytest.fixture
def dataset_id(dana: Person) -> str:
    return dataset(dana)


def begun(search: SearchView, losses: tuple[float | None, ...]) -> list[str]:
    """Write down trials as a job would; one without a loss has failed."""
    made = []
    for number, (choice, loss) in enumerate(zip(CHOICES, losses, strict=False), 1):
        with unit_of_work() as uow:
            run = searches.begin(uow, search, number, choice)
            if loss is None:
                error = {"key": "training.diverged", "facts": {"step": 1, "kept": 0, "rate": "0.02"}}
                searches.end(uow, run, "failed", {"seconds": 1.0, "error": error})
            else:
                service.add_points(uow, run.id, [Point(step=9, epoch=1.0, loss=1.0, eval_loss=loss)])
                searches.end(uow, run, "done", {**RESULT, "eval_loss": loss, "seconds": number})
        made.append(run.id)
    return made


def finished(search: SearchView, job: JobView, best_run_id: str) -> None:
    result = {**RESULT, "best_run_id": best_run_id, "trials": 3}
    with unit_of_work() as uow:
        row = uow.get(Job, job.id)
        assert row is not None
        row.state, row.result = "succeeded", result
        search_training.finish(uow, job, result)


def test_a_search_is_one_job_and_its_trials_stay_out_of_the_list_of_trainings(
    dana: Person, dataset_id: str
) -> None:
    search, job = search_training.start(
        dana, name="Shop", dataset_id=dataset_id, preset="quick", space={"trials": 3}
    )
    assert (job.kind, job.resource, job.queue, job.title) == (
        "training.search",
        "training",
        "training",
        "Shop",
    )
    begun(search, (2.0, 1.5, None))
    assert train_expert.runs(dana) == []
    ((listed, its_job, tally),) = search_training.listing(dana)
    assert (listed.id, its_job, tally.ended, tally.lowest) == (search.id, job, 3, 1.5)
    _, _, trials = search_training.watch_job(dana, job.id)
    assert [(each.rank, each.ended, each.eval_loss) for each in trials] == [
        (32, "done", 2.0),
        (16, "done", 1.5),
        (16, "failed", None),
    ]
    assert trials[1].held_out == [(1, 1.5)] and "0.02" in trials[2].error_text("en")


def test_the_best_trial_becomes_the_expert_and_has_the_report(dana: Person, dataset_id: str) -> None:
    search, job = search_training.start(dana, name="Shop", dataset_id=dataset_id, space={"trials": 3})
    runs = begun(search, (2.0, 1.5, None))
    with pytest.raises(Conflict):
        report_training.report(dana, job.id, "md", "en")
    finished(search, job, runs[1])
    (expert,) = publish_expert.mine(dana)
    assert (expert.title, expert.run_id) == ("Shop", runs[1])
    assert search_training.watch(dana, search.id)[0].best_run_id == runs[1]
    told = report_training.report(dana, job.id, "md", "en").text
    assert "found by a search: the lowest held-out loss of 3 trials" in told and "chosen by hand" not in told
    assert runs[1] in report_training.registry(dana, job.id, "yaml").text


def test_each_trial_has_figures_of_its_own_although_they_share_a_job(dana: Person, dataset_id: str) -> None:
    search, job = search_training.start(dana, name="Shop", dataset_id=dataset_id)
    runs = begun(search, (2.0, 1.5, None))
    finished(search, job, runs[1])
    found = compare_trainings.compare(dana, runs)
    assert [run.seconds for run in found.runs] == [1.0, 1.0, 1.0]
    assert [run.held_out_loss for run in found.runs] == [2.0, 1.5, None]
    assert {setting.name for setting in found.settings} == {"rank", "alpha", "learning_rate", "epochs"}
    beaten = reproduce_training.find(dana, runs[0])
    assert (beaten.recipe["rank"], beaten.results.eval_loss, beaten.adapter.prefix) == (32, 2.0, None)


def test_another_tenant_sees_nothing_of_a_search(dana: Person, dataset_id: str) -> None:
    search, job = search_training.start(dana, name="Shop", dataset_id=dataset_id)
    runs = begun(search, (2.0,))
    rival = make_person("rival@example.com", "developer")
    assert search_training.listing(rival) == []
    for see in (
        lambda: search_training.watch(rival, search.id),
        lambda: search_training.watch_job(rival, job.id),
        lambda: train_expert.watch(rival, runs[0]),
        lambda: search_training.start(rival, name="x", dataset_id=dataset_id),
        lambda: search_training.outlook(rival, dataset_id=dataset_id),
        lambda: search_training.proposal(rival, dataset_id, "quick"),
    ):
        with pytest.raises(NotFound):
            see()
    _, training = train_expert.start(dana, name="One", dataset_id=dataset_id)
    with pytest.raises(NotFound):
        search_training.watch_job(dana, training.id)


def test_only_developers_search(dataset_id: str, eva: Person) -> None:
    for see in (
        lambda: search_training.start(eva, name="x", dataset_id=dataset_id),
        lambda: search_training.listing(eva),
        lambda: search_training.watch(eva, "search_x"),
        lambda: search_training.watch_job(eva, "job_x"),
        lambda: search_training.proposal(eva, dataset_id, "quick"),
        lambda: search_training.outlook(eva, dataset_id=dataset_id),
    ):
        with pytest.raises(Forbidden):
            see()


def test_a_search_takes_one_place_of_the_plan(dana: Person, dataset_id: str) -> None:
    with unit_of_work() as uow:
        accounts.change_plan(uow, dana.tenant_id, "basic")
    search_training.start(dana, name="One", dataset_id=dataset_id)
    assert plan_limits.mine(dana).models == 1
    most = plan_limits.mine(dana).plan.models
    assert most is not None
    for number in range(1, most):
        search_training.start(dana, name=f"More {number}", dataset_id=dataset_id)
    with pytest.raises(Forbidden):
        search_training.start(dana, name="Too many", dataset_id=dataset_id)
    assert schedule_jobs.next_job(("training",), "here") is not None
    assert schedule_jobs.next_job(("training",), "here") is None
    with unit_of_work() as uow:
        accounts.change_plan(uow, dana.tenant_id, "free")
    with pytest.raises(Forbidden, match="does not include training"):
        search_training.start(dana, name="None", dataset_id=dataset_id)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"name": ""}, "name"),
        ({"space": {"rank": [0]}}, "rank"),
        ({"space": {"rank": [512]}}, "rank"),
        ({"space": {"learning_rate": [1, 2]}}, "learning_rate"),
        ({"space": {"epochs": [5, 2]}}, "epochs"),
        ({"space": {"trials": 99}}, "trials"),
        ({"changes": {"batch_size": 0}}, "batch_size"),
        ({"changes": {"batch_size": 256, "max_length": 32768}}, "batch_size"),
        ({"questions": ["?"] * 6}, "questions"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_written(
    dana: Person, dataset_id: str, given: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadInput) as caught:
        search_training.start(dana, **{"name": "Shop", "dataset_id": dataset_id, **given})
    assert caught.value.field == field
    assert search_training.listing(dana) == []


def test_a_dataset_that_holds_no_rows_out_cannot_be_searched_with(dana: Person) -> None:
    with pytest.raises(BadInput, match="holds none out"):
        search_training.start(dana, name="Shop", dataset_id=dataset(dana, rows=1))


def test_the_outlook_counts_all_trials(dana: Person, dataset_id: str) -> None:
    given = {"dataset_id": dataset_id, "preset": "quick", "changes": {"epochs": 4}}
    few, many = (
        search_training.outlook(dana, **given, space={"epochs": (2, 6), "trials": trials})
        for trials in (2, 20)
    )
    assert few.estimate.fits and few.space.epochs == (2, 6)
    assert many.tokens == pytest.approx(10 * few.tokens, rel=0.01)
    assert few.recipe.epochs == 4 and few.estimate.seconds


def test_preferences_are_searched_by_the_method_that_was_chosen(dana: Person, dataset_id: str) -> None:
    pairs = "\n".join(json.dumps({"prompt": f"Q{n}", "chosen": f"A{n}", "rejected": "x"}) for n in range(20))
    made = import_dataset.import_file(dana, name="Pairs", filename="p.jsonl", source=BytesIO(pairs.encode()))
    given = {"dataset_id": made.id, "method": "dpo", "preset": "quick"}
    assert search_training.outlook(dana, **given).recipe.method == "dpo"
    search, _ = search_training.start(dana, name="Polite", **given)
    with unit_of_work() as uow:
        assert searches.begin(uow, search, 1, CHOICES[0]).recipe["method"] == "dpo"
    with pytest.raises(BadInput) as caught:
        search_training.start(dana, name="Polite", dataset_id=dataset_id, method="dpo")
    assert caught.value.field == "method"
