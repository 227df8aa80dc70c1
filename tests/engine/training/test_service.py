from typing import Any

import pytest

from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.training import service
from engine.training.recipe import LoraRecipe
from engine.training.schemas import Point, RunView, Sample

RESULT = {
    "adapter_prefix": "adapters/r",
    "steps": 9,
    "loss": 0.5,
    "eval_loss": None,
    "seconds": 1.0,
    "tokens": 90,
}


def new_run(**changes: Any) -> RunView:
    given = {
        "person_id": "p",
        "tenant_id": "t",
        "name": "Shop",
        "dataset_id": "ds",
        "base_model": "starter",
        "recipe": LoraRecipe(),
        **changes,
    }
    with unit_of_work() as uow:
        return service.create_run(uow, **given)


def test_a_run_is_kept_with_its_recipe_job_and_result(db: str) -> None:
    run = new_run(recipe=LoraRecipe(rank=4), dataset_fingerprint="f")
    with unit_of_work() as uow:
        service.attach_job(uow, run.id, "t", "job_1")
        service.finish_run(uow, run.id, "t", RESULT)
    with unit_of_work() as uow:
        seen = service.get_run(uow, run.id, "t")
        assert service.runs(uow, "t") == [seen]
    assert LoraRecipe.from_dict(seen.recipe) == LoraRecipe(rank=4)
    assert (seen.job_id, seen.adapter_prefix, seen.final_loss) == ("job_1", "adapters/r", 0.5)
    assert seen.finished_at is not None and seen.dataset_fingerprint == "f"


def test_points_replace_each_other_and_are_read_from_a_step_on(db: str) -> None:
    run = new_run()
    with unit_of_work() as uow:
        service.add_points(uow, run.id, [Point(step=n, epoch=n / 10, loss=1.0 / n) for n in (1, 2, 3)])
        service.add_points(uow, run.id, [Point(step=3, epoch=0.3, loss=0.1, eval_loss=0.2, memory=5 << 32)])
        service.add_points(uow, run.id, [])
    with unit_of_work() as uow:
        assert [point.step for point in service.points(uow, run.id, "t")] == [1, 2, 3]
        assert service.points(uow, run.id, "t", after_step=2) == [
            Point(step=3, epoch=0.3, loss=0.1, eval_loss=0.2, memory=5 << 32)
        ]
        service.restart_curve(uow, run.id, 1)
        assert [point.step for point in service.points(uow, run.id, "t")] == [1]


def said(step: int, answer: str, number: int = 0) -> Sample:
    return Sample(step=step, number=number, question=f"Q{number}?", answer=answer)


def test_answers_replace_each_other_and_are_cut_with_the_curve(db: str) -> None:
    run = new_run(questions=[" Q0? ", "Q1?"])
    assert run.questions == ["Q0?", "Q1?"] and new_run().questions == []
    with unit_of_work() as uow:
        service.add_samples(uow, run.id, [said(5, "b", 1), said(5, "a"), said(10, "c\0\ud800!")])
        service.add_samples(uow, run.id, [said(5, "A")])
        service.add_samples(uow, run.id, [])
    with unit_of_work() as uow:
        found = service.samples(uow, run.id, "t")
        assert found == [said(5, "A"), said(5, "b", 1), said(10, "c!")]
        service.restart_curve(uow, run.id, 5)
        assert [sample.step for sample in service.samples(uow, run.id, "t")] == [5, 5]


@pytest.mark.parametrize(
    ("questions", "key"),
    [
        ([f"{n}?" for n in range(6)], "training.too_many_questions"),
        (["a?", " "], "training.bad_question"),
        (["x" * 501], "training.bad_question"),
        (["a\0b"], "training.bad_question"),
        (["a\ud800b"], "training.bad_question"),
        (["a?", "b?", "a? "], "training.question_twice"),
    ],
)
def test_what_cannot_be_asked_is_refused(db: str, questions: list[str], key: str) -> None:
    with pytest.raises(BadInput) as caught:
        new_run(questions=questions)
    assert (caught.value.key, caught.value.field) == (key, "questions")
    assert new_run(questions=["x" * 500, "两\n行"]).questions[1] == "两\n行"


def test_another_tenant_finds_nothing(db: str) -> None:
    run = new_run()
    with unit_of_work() as uow:
        for call in (
            lambda: service.get_run(uow, run.id, "other"),
            lambda: service.points(uow, run.id, "other"),
            lambda: service.samples(uow, run.id, "other"),
            lambda: service.attach_job(uow, run.id, "other", "job"),
            lambda: service.finish_run(uow, run.id, "other", RESULT),
        ):
            with pytest.raises(NotFound):
                call()
        assert service.runs(uow, "other") == []


@pytest.mark.parametrize("changes", [{"name": " "}, {"name": "x" * 81}, {"name": "a\nb"}])
def test_a_bad_name_is_refused(db: str, changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        new_run(**changes)


def test_a_run_keeps_its_knowledge_bases_in_order(db: str) -> None:
    most = [f"kb_{n}" for n in range(service.MOST_BASES)]
    assert new_run().knowledge_base_ids == []
    assert new_run(knowledge_base_ids=most).knowledge_base_ids == most


@pytest.mark.parametrize(
    ("base_ids", "said"),
    [([f"kb_{n}" for n in range(11)], "11 knowledge bases are given"), (["kb_1", "kb_2", "kb_1"], "twice")],
)
def test_too_many_bases_or_one_given_twice_are_refused(db: str, base_ids: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        new_run(knowledge_base_ids=base_ids)
    assert caught.value.field == "kb_ids"


def test_a_rank_that_cannot_be_served_is_refused(db: str) -> None:
    with pytest.raises(BadInput) as caught:
        new_run(recipe=LoraRecipe(rank=33))
    assert caught.value.field == "rank" and "32" in caught.value.message("en")
