from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from engine.accounts.plans import PLANS
from engine.accounts.schemas import Person
from engine.flows import plan_limits, prepare_knowledge, schedule_jobs, train_expert
from engine.kit.database import unit_of_work
from engine.kit.errors import Forbidden, NotFound
from tests.support import make_person


@pytest.fixture
def dana(db: str) -> Person:
    return make_person("dana@example.com", "developer")


@pytest.fixture
def rui(db: str) -> Person:
    return make_person("rui@example.com", "operator")


def test_the_free_plan_says_at_once_that_it_has_no_training(dana: Person, rui: Person) -> None:
    schedule_jobs.change_plan(rui, dana.tenant_id, "free")
    with pytest.raises(Forbidden, match="free, does not include training"):
        train_expert.start(dana, name="Expert", dataset_id="ds_none")
    schedule_jobs.change_plan(rui, dana.tenant_id, "basic")
    with pytest.raises(NotFound):
        train_expert.start(dana, name="Expert", dataset_id="ds_none")


def test_the_last_place_for_a_knowledge_base_is_the_last(dana: Person, rui: Person) -> None:
    schedule_jobs.change_plan(rui, dana.tenant_id, "free")
    for number in range(3):
        prepare_knowledge.create_base(dana, name=f"Base {number}", language="en")
    with pytest.raises(Forbidden, match="room for 3") as refused:
        prepare_knowledge.create_base(dana, name="One more", language="en")
    assert refused.value.field == "name"
    assert len(prepare_knowledge.bases(dana)) == 3
    assert plan_limits.mine(dana).knowledge_bases == 3


def test_a_full_number_of_experts_refuses_the_next_training(
    dana: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLANS, "pro", replace(PLANS["pro"], models=0))
    with pytest.raises(Forbidden, match="room for 0 experts"), unit_of_work() as uow:
        plan_limits.require_training(uow, dana.tenant_id)


def test_the_table_is_that_of_the_design() -> None:
    hours = {name: (plan.cpu_seconds, plan.gpu_seconds) for name, plan in PLANS.items()}
    assert hours == {
        "free": (36_000, 0),
        "basic": (360_000, 36_000),
        "pro": (1_800_000, 180_000),
        "enterprise": (None, None),
    }
    assert [(p.uploads, p.indexing, p.training, p.queries) for p in PLANS.values()][:3] == [
        (1, 1, 0, 5),
        (3, 2, 1, 20),
        (10, 5, 3, 100),
    ]
    assert [(p.storage_bytes, p.knowledge_bases, p.models) for p in PLANS.values()][:3] == [
        (2**30, 3, 0),
        (10 * 2**30, 10, 5),
        (100 * 2**30, 50, 20),
    ]


def test_two_who_take_the_last_place_at_once_do_not_both_get_it(dana: Person, rui: Person) -> None:
    schedule_jobs.change_plan(rui, dana.tenant_id, "free")
    for number in range(2):
        prepare_knowledge.create_base(dana, name=f"Base {number}", language="en")

    def take(number: int) -> bool:
        try:
            prepare_knowledge.create_base(dana, name=f"Last {number}", language="en")
        except Forbidden:
            return False
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(take, range(4))) == 1
