"""Which settings differ, whose losses can be compared, and who may ask."""

import json
from io import BytesIO
from typing import Any

import pytest

from engine.accounts.schemas import Person
from engine.flows import compare_trainings, import_dataset, prepare_knowledge, train_expert
from engine.jobs.models import Job
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Forbidden, NotFound
from engine.training import service as training
from engine.training.models import TrainingRun
from engine.training.schemas import Point, Sample
from tests.support import make_person


def import_rows(person: Person, name: str, answer: str = "Yes.") -> str:
    rows = [{"question": f"Is {n} open?", "answer": answer} for n in range(10)]
    data = "\n".join(json.dumps(row) for row in rows).encode()
    source = BytesIO(data)
    return import_dataset.import_file(person, name=name, filename="t.jsonl", source=source).id


def start(person: Person, dataset_id: str, **given: Any) -> str:
    return train_expert.start(person, name="Help", dataset_id=dataset_id, preset="quick", **given)[0].id


def measure(run_id: str, *held_out: float) -> None:
    points = [Point(step=n, epoch=n, loss=1.0, eval_loss=loss) for n, loss in enumerate(held_out, 1)]
    with unit_of_work() as uow:
        training.add_points(uow, run_id, points)


def test_only_settings_that_differ_are_named_and_the_lower_loss_is_found(dana: Person) -> None:
    dataset_id = import_rows(dana, "Talks")
    base_id = prepare_knowledge.create_base(dana, name="Shop", language="en").id
    one = start(dana, dataset_id, changes={"rank": 4, "alpha": 8})
    two = start(dana, dataset_id, changes={"rank": 8, "alpha": 8}, knowledge_base_ids=[base_id])
    found = compare_trainings.compare(dana, [two, one, two])
    assert [run.run_id for run in found.runs] == [two, one]
    differing = {one.name: one.values for one in found.settings}
    assert differing == {"rank": [8, 4], "knowledge_bases": [["Shop"], []]}
    assert (found.comparable, found.verdict, found.lowest) == (True, "not_measured", None)
    measure(one, 3.0, 2.0)
    measure(two, 2.5, 2.25)
    found = compare_trainings.compare(dana, [two, one])
    assert (found.verdict, found.lowest) == ("lower", one)
    assert [run.held_out for run in found.runs] == [[(1, 2.5), (2, 2.25)], [(1, 3.0), (2, 2.0)]]
    assert [(run.steps, run.loss, run.held_out_loss) for run in found.runs] == [(2, 1.0, 2.25), (2, 1.0, 2.0)]
    measure(two, 2.5, 2.0)
    assert compare_trainings.compare(dana, [two, one]).verdict == "equal"


def test_losses_on_other_rows_or_of_another_base_are_not_compared(dana: Person) -> None:
    runs = [start(dana, import_rows(dana, "Talks"))]
    runs.append(start(dana, import_rows(dana, "Same rows")))
    runs.append(start(dana, import_rows(dana, "Other rows", "No.")))
    runs.append(start(dana, import_rows(dana, "Other split")))
    with unit_of_work() as uow:
        job = uow.get(Job, training.get_run(uow, runs[3], dana.tenant_id).job_id)
        assert job is not None
        job.params = {**job.params, "dataset": {**job.params["dataset"], "validation_percent": 40}}
    for run_id in runs:
        measure(run_id, 2.0)

    def verdict(*places: int) -> str:
        found = compare_trainings.compare(dana, [runs[n] for n in places])
        assert found.lowest is None and found.comparable == (found.verdict == "equal")
        return found.verdict

    assert verdict(0, 1) == "equal"
    assert verdict(0, 2) == verdict(0, 3) == verdict(0, 1, 2) == "other_data"
    with unit_of_work() as uow:
        row = uow.get(TrainingRun, runs[1])
        assert row is not None
        row.base_model = "another"
    assert verdict(0, 1) == "other_base"


def test_the_newest_answers_to_common_questions_stand_side_by_side(dana: Person) -> None:
    dataset_id = import_rows(dana, "Talks")
    one = start(dana, dataset_id, questions=["A?", "B?", "C?"])
    two = start(dana, dataset_id, questions=["C?", "A?"])
    said = [Sample(step=n, number=0, question="A?", answer=f"Answer {n}") for n in (1, 2)]
    with unit_of_work() as uow:
        training.add_samples(uow, one, said)
    found = compare_trainings.compare(dana, [one, two]).answers
    assert [(each.question, each.answers) for each in found] == [
        ("A?", [said[1], None]),
        ("C?", [None, None]),
    ]


def test_a_run_of_another_tenant_is_not_found_and_a_consumer_may_not_ask(dana: Person) -> None:
    rival = make_person("rival@example.com", "developer")
    mine, theirs = start(dana, import_rows(dana, "Mine")), start(rival, import_rows(rival, "Theirs"))
    for wanted in ([mine, theirs], [mine, "run_none"]):
        with pytest.raises(NotFound):
            compare_trainings.compare(dana, wanted)
    with pytest.raises(Forbidden):
        compare_trainings.compare(make_person("con@example.com", "consumer"), [mine, theirs])
    for few in ([], [mine], [mine, mine], [f"run_{n}" for n in range(5)]):
        with pytest.raises(BadInput):
            compare_trainings.compare(dana, few)
