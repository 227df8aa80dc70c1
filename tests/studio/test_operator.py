"""The operators' page and the plan page, without a browser."""

import pytest

from engine.accounts.schemas import Person
from engine.flows import prepare_knowledge
from engine.jobs import machines
from engine.jobs import service as jobs
from engine.jobs.schemas import FoundDevice, JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Forbidden
from studio.handlers import jobs as job_handlers
from studio.handlers import operator, plan
from tests.studio.conftest import MakePerson


@pytest.fixture
def rui(make_person: MakePerson) -> Person:
    return make_person("Rui", "operator")


def submit(person: Person, title: str, **changes: object) -> JobView:
    values = {"kind": "training.sft", "queue": "training", "resource": "training"} | changes
    with unit_of_work() as uow:
        return jobs.submit(
            uow,
            person_id=person.id,
            tenant_id=person.tenant_id,
            title=title,
            params={},
            **values,  # type: ignore[arg-type]
        )


def test_an_empty_house_says_that_no_worker_lives(rui: Person) -> None:
    board = operator.board(rui, "en")
    assert (
        "No worker" in board.machines and "Nothing runs" in board.running and "Nobody waits" in board.waiting
    )
    assert board.choices == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_board_shows_devices_and_who_waits_for_what(rui: Person, dana: Person, language: str) -> None:
    with unit_of_work() as uow:
        machines.register(uow, "gpu-1", 2, [FoundDevice(number=0, name="<Card>", memory=8 * 2**30)])
    first = submit(dana, "<b>One</b>", memory=6 * 2**30)
    submit(dana, "Two", memory=4 * 2**30)
    with unit_of_work() as uow:
        assert jobs.claim(uow, first.id, machine="gpu-1", device_id="gpu-1/0")
    board = operator.board(rui, language)
    assert "6 GB" in board.machines and "8 GB" in board.machines and "&lt;Card&gt;" in board.machines
    assert "&lt;b&gt;One" in board.running and "gpu-1/0" in board.running
    assert "4 GB" in board.waiting and "Dana (pro)" in board.waiting
    assert len(board.choices) == 1


def test_a_waiting_job_is_put_first_once(rui: Person, dana: Person) -> None:
    job = submit(dana, "Two")
    assert "Two" in operator.hurry(rui, job.id, "en")
    assert operator.board(rui, "en").choices == []
    with pytest.raises(BadInput) as refused:
        operator.hurry(rui, None, "en")
    assert refused.value.field == "job"


def test_a_waiting_job_shows_its_place_on_its_card(dana: Person) -> None:
    job = submit(dana, "Two")
    assert "Number 1 in line" in job_handlers.card(job, "en")
    assert "第 1 位" in job_handlers.card(job, "zh")


def test_a_changed_plan_shows_at_once(rui: Person, dana: Person) -> None:
    prepare_knowledge.create_base(dana, name="Help", language="en")
    assert "1 of 50" in plan.shown(dana, "en")
    words = operator.change_plan(rui, dana.tenant_id, "free", "en")
    assert "Dana" in words and "free" in words
    shown = plan.shown(dana, "en")
    assert "Your plan: free" in shown and "1 of 3" in shown and "0 h of 10 h" in shown
    assert "套餐：free" in plan.shown(dana, "zh")
    assert ("Dana (free)", dana.tenant_id) in operator.plans(rui, "en").tenants
    with pytest.raises(BadInput) as refused:
        operator.change_plan(rui, None, "pro", "en")
    assert refused.value.field == "tenant"


def test_an_unlimited_plan_says_so(rui: Person, dana: Person) -> None:
    operator.change_plan(rui, dana.tenant_id, "enterprise", "en")
    assert "no limit" in plan.shown(dana, "en")


def test_what_a_plan_forbids_is_said_before_a_form_is_filled_in(rui: Person, dana: Person) -> None:
    assert plan.no_training(dana, "en") == plan.no_base(dana, "zh") == ""
    operator.change_plan(rui, dana.tenant_id, "free", "en")
    assert "does not include training" in plan.no_training(dana, "en")
    assert "/zh/studio/plan" in plan.no_training(dana, "zh") and plan.no_base(dana, "en") == ""
    for number in range(3):
        prepare_knowledge.create_base(dana, name=f"Base {number}", language="en")
    assert "room for 3" in plan.no_base(dana, "en")


def test_others_see_nothing(dana: Person, rui: Person) -> None:
    with pytest.raises(Forbidden):
        operator.board(dana, "en")
    with pytest.raises(Forbidden):
        operator.plans(dana, "en")
    with pytest.raises(Forbidden):
        plan.shown(rui, "en")
