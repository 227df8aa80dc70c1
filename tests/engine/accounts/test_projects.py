"""Projects: whose they are, their names and limits."""

from typing import Any

import pytest

from engine.accounts import keys, projects, service
from engine.accounts.schemas import Caller, KeyTerms, Person, ProjectTerms, ProjectView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from tests.support import make_person


def make(person: Person, name: str = "Website", **limits: Any) -> ProjectView:
    with unit_of_work() as uow:
        return projects.create(uow, person=person, terms=ProjectTerms(name=name, **limits))


def change(person: Person, project_id: str, **changes: Any) -> ProjectView:
    with unit_of_work() as uow:
        return projects.change(uow, person=person, project_id=project_id, changes=changes)


def test_a_project_is_made_changed_and_found_by_id_or_name(dana: Person) -> None:
    made = make(dana, " Website ", requests_per_day=1000)
    assert (made.name, made.tenant_id, made.requests_per_day, made.parallel) == (
        "Website",
        dana.tenant_id,
        1000,
        None,
    )
    changed = change(dana, made.id, parallel=2, requests_per_day=None)
    assert (changed.name, changed.parallel, changed.requests_per_day) == ("Website", 2, None)
    make(dana, "another")
    named_like_it = make(dana, made.id)
    with unit_of_work() as uow:
        for wish in (made.id, "Website", " Website "):
            assert projects.project(uow, dana.tenant_id, wish) == changed
        assert projects.project(uow, dana.tenant_id, named_like_it.id) == named_like_it
        names = [project.name for project in projects.listing(uow, dana.tenant_id)]
        assert names == ["another", made.id, "Website"]


def test_another_tenant_finds_and_changes_nothing_and_may_use_the_name(dana: Person) -> None:
    rival = make_person("rival@example.com", "developer")
    made = make(dana)
    with unit_of_work() as uow:
        for wish in (made.id, made.name):
            with pytest.raises(NotFound):
                projects.project(uow, rival.tenant_id, wish)
        with pytest.raises(NotFound):
            projects.archive(uow, person=rival, project_id=made.id)
        assert projects.listing(uow, rival.tenant_id) == []
    with pytest.raises(NotFound):
        change(rival, made.id, name="mine")
    assert make(rival).name == made.name


def test_people_of_one_tenant_share_projects_if_their_role_allows(dana: Person, eva: Person) -> None:
    made = make(dana)
    with unit_of_work() as uow:
        colleague = service.create_person(
            uow,
            email="c@example.com",
            name="C",
            password="correct horse",
            roles=["consumer"],
            tenant_id=dana.tenant_id,
        )
    assert change(colleague, made.id, name="Shop").name == "Shop"
    with pytest.raises(Forbidden):
        make(eva)


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ({"name": " "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"requests_per_day": 0}, "requests_per_day"),
        ({"parallel": -1}, "parallel"),
        ({"tokens_per_minute": 2**63}, "tokens_per_minute"),
    ],
)
def test_bad_terms_name_their_field(dana: Person, bad: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        make(dana, **{"name": "Website", **bad})
    assert refused.value.field == field
    made = make(dana)
    with pytest.raises(BadInput) as refused:
        change(dana, made.id, **bad)
    assert refused.value.field == field


def test_a_name_is_given_once_in_a_tenant_also_after_archiving(dana: Person) -> None:
    made, other = make(dana), make(dana, "Other")
    for refused in (lambda: make(dana), lambda: change(dana, other.id, name="Website")):
        with pytest.raises(Conflict) as caught:
            refused()
        assert caught.value.field == "name"
    with unit_of_work() as uow:
        projects.archive(uow, person=dana, project_id=made.id)
    with pytest.raises(Conflict):
        make(dana)
    with unit_of_work() as uow:
        for wish in (made.id, made.name):
            with pytest.raises(NotFound):
                projects.project(uow, dana.tenant_id, wish)
        with pytest.raises(NotFound):
            projects.archive(uow, person=dana, project_id=made.id)
        assert [p.archived_at is not None for p in projects.listing(uow, dana.tenant_id)] == [False, True]
    with pytest.raises(NotFound):
        change(dana, made.id, parallel=1)


def test_a_call_is_for_one_project_and_a_key_does_not_leave_its_own(dana: Person) -> None:
    one, two = make(dana, "one"), make(dana, "two")
    session = Caller(person=dana, key=None, project=None, plan="pro")
    with unit_of_work() as uow:
        _, free = keys.create(uow, person=dana, terms=KeyTerms(name="free"))
        _, tied = keys.create(uow, person=dana, terms=KeyTerms(name="tied", project="one"))
        assert projects.chosen(uow, session, "two").project == two
        assert projects.chosen(uow, keys.caller(uow, free), two.id).project == two
        assert projects.chosen(uow, keys.caller(uow, tied), "one").project == one
        with pytest.raises(Forbidden) as refused:
            projects.chosen(uow, keys.caller(uow, tied), "two")
        assert refused.value.key == "accounts.key_project"
        with pytest.raises(NotFound):
            projects.chosen(uow, session, "three")
