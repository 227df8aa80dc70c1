"""Keys together with the budgets behind their caps, and who calls with them."""

from datetime import timedelta
from typing import Any

import pytest

from engine.accounts import sessions
from engine.accounts.schemas import KeyTerms, Person, ProjectTerms
from engine.billing import service as billing
from engine.flows import manage_keys, people, top_up_wallet
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, Forbidden, InsufficientCredit, NotFound, NotSignedIn
from engine.kit.money import CREDIT
from tests.support import make_person


def spend(person: Person, budget_id: str, amount: int, call: str) -> None:
    with unit_of_work() as uow:
        held = billing.hold(
            uow,
            tenant_id=person.tenant_id,
            amount_micro=amount,
            key=call,
            subject={"model": "m"},
            expires_at=now() + timedelta(minutes=1),
            budget_id=budget_id,
        )
        billing.settle(
            uow, hold_id=held.id, amount_micro=amount, developer_tenant_id=person.tenant_id, usage={}
        )


def test_a_cap_is_a_budget_and_the_list_shows_what_was_spent_of_it(dana: Person) -> None:
    top_up_wallet.top_up(dana, "20", "first")
    free, _ = manage_keys.create_key(dana, KeyTerms(name="free"))
    capped, _ = manage_keys.create_key(dana, KeyTerms(name="capped", cap_micro=3 * CREDIT))
    assert free.budget_id is None and capped.budget_id == f"key:{capped.id}"
    spend(dana, capped.budget_id, 2 * CREDIT, "one")
    with pytest.raises(InsufficientCredit):
        spend(dana, capped.budget_id, 2 * CREDIT, "two")
    assert {k.name: (k.cap_micro, k.spent_micro) for k in manage_keys.keys(dana)} == {
        "capped": (3 * CREDIT, 2 * CREDIT),
        "free": (None, 0),
    }
    manage_keys.change_key(dana, capped.id, {"cap_micro": 5 * CREDIT})
    spend(dana, capped.budget_id, 2 * CREDIT, "three")
    rotated, _ = manage_keys.rotate_key(dana, capped.id)
    assert rotated.budget_id == capped.budget_id
    assert manage_keys.key(dana, capped.id).spent_micro == 4 * CREDIT
    assert manage_keys.change_key(dana, capped.id, {"cap_micro": None}).budget_id is None
    assert manage_keys.change_key(dana, capped.id, {"name": "x"}).budget_id is None
    manage_keys.change_key(dana, capped.id, {"cap_micro": 5 * CREDIT})
    assert manage_keys.key(dana, capped.id).spent_micro == 4 * CREDIT


def test_somebody_elses_keys_and_projects_are_not_found(dana: Person) -> None:
    rival = make_person("rival@example.com", "developer")
    key, secret = manage_keys.create_key(dana, KeyTerms(name="mine", cap_micro=1))
    project = manage_keys.create_project(dana, ProjectTerms(name="Website"))
    calls: list[Any] = [
        lambda: manage_keys.key(rival, key.id),
        lambda: manage_keys.change_key(rival, key.id, {"cap_micro": 100 * CREDIT}),
        lambda: manage_keys.rotate_key(rival, key.id),
        lambda: manage_keys.revoke_key(rival, key.id),
        lambda: manage_keys.change_project(rival, project.id, {"name": "x"}),
        lambda: manage_keys.archive_project(rival, project.id),
    ]
    for call in calls:
        with pytest.raises(NotFound):
            call()
    assert manage_keys.keys(rival) == [] and manage_keys.projects(rival) == []
    assert manage_keys.key(dana, key.id).cap_micro == 1 and people.by_key(secret) == dana


def test_a_key_that_cannot_be_made_leaves_no_budget(dana: Person) -> None:
    key, _ = manage_keys.create_key(dana, KeyTerms(name="k"))
    manage_keys.revoke_key(dana, key.id)
    with pytest.raises(Conflict):
        manage_keys.change_key(dana, key.id, {"cap_micro": 5})
    with unit_of_work() as uow:
        assert billing.spent(uow, [f"key:{key.id}"]) == {}


def test_keys_of_a_project_show_its_name(dana: Person) -> None:
    manage_keys.create_project(dana, ProjectTerms(name="网站"))
    manage_keys.create_key(dana, KeyTerms(name="k", project="网站"))
    assert [key.project for key in manage_keys.keys(dana)] == ["网站"]


def test_who_calls_is_told_from_a_key_or_a_cookie(dana: Person) -> None:
    key, secret = manage_keys.create_key(dana, KeyTerms(name="k"))
    project = manage_keys.create_project(dana, ProjectTerms(name="Website"))
    cookie = sessions.issue(dana.id)
    with_key = people.calling(secret=secret, tenant=dana.tenant_id, project="Website")
    assert (with_key.person, with_key.project, with_key.plan) == (dana, project, "pro")
    with_cookie = people.calling(cookie=cookie, project=project.id)
    assert (with_cookie.person, with_cookie.key, with_cookie.project) == (dana, None, project)
    # A key that counts no more is not made good by a session.
    manage_keys.revoke_key(dana, key.id)
    for who in ({"secret": secret, "cookie": cookie}, {"cookie": "forged"}, {}, {"secret": ""}):
        with pytest.raises(NotSignedIn):
            people.calling(**who)  # type: ignore[arg-type]
    for bad in ({"project": "x"}, {"project": ""}):
        with pytest.raises(NotFound):
            people.calling(cookie=cookie, **bad)
    for tenant in ("tn_other", ""):
        with pytest.raises(Forbidden) as refused:
            people.calling(cookie=cookie, tenant=tenant)
        assert refused.value.key == "accounts.other_tenant"


def test_a_command_on_this_machine_takes_keys_for_the_account_only(dana: Person) -> None:
    for terms, passes in (
        (KeyTerms(name="k", scopes=("account",)), True),
        (KeyTerms(name="k", scopes=("chat", "embeddings")), False),
        (KeyTerms(name="k", ips=("127.0.0.0/8",)), True),
        (KeyTerms(name="k", ips=("10.0.0.0/8",)), False),
    ):
        _, secret = manage_keys.create_key(dana, terms)
        if passes:
            assert people.by_key(secret) == dana
        else:
            with pytest.raises(Forbidden):
                people.by_key(secret)
