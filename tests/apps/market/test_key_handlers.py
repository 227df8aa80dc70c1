"""What the pages of keys and projects show and do, without a browser."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from apps.market import key_handlers as handlers
from engine.accounts.models import ApiKeyRow
from engine.accounts.schemas import KeyTerms, Person, ProjectTerms
from engine.flows import manage_keys, people
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound, NotSignedIn


def form(**given: Any) -> dict[str, Any]:
    return {**handlers.values(None), "name": "web", **given}


def secret_in(shown: str) -> str:
    return shown.split('data-text="')[1].split('"')[0]


def test_a_key_is_shown_once_works_and_is_revoked_after_a_question(chen: Person, poor: Person) -> None:
    with pytest.raises(BadInput) as caught:
        handlers.create_key(chen, form(name=" "), "en")
    assert caught.value.field == "name"
    secret = secret_in(handlers.create_key(chen, form(name="web <i>"), "en"))
    assert people.by_key(secret).id == chen.id
    [key] = manage_keys.keys(chen)
    listed = handlers.keys(chen, "en")
    assert secret not in listed and "web &lt;i&gt;" in listed and f"key={key.id}" in listed
    for what in ("revoke", "rotate"):
        with pytest.raises(NotFound):
            handlers.question(poor, what, key.id, "en")
        assert "web &lt;i&gt;" in handlers.question(chen, what, key.id, "en")
    for refused in (handlers.revoke, handlers.rotate):
        with pytest.raises(NotFound):
            refused(poor, key.id, "en")
    assert people.by_key(secret).id == chen.id
    handlers.revoke(chen, key.id, "en")
    with pytest.raises(NotSignedIn):
        people.by_key(secret)
    assert "key=" not in handlers.keys(chen, "en") and "revoked" in handlers.keys(chen, "en")
    with pytest.raises(NotFound):
        handlers.live_key(chen, key.id)


def test_a_rotated_key_shows_its_new_secret_and_the_old_one_is_dead(chen: Person) -> None:
    old = secret_in(handlers.create_key(chen, form(), "en"))
    [key] = manage_keys.keys(chen)
    new = secret_in(handlers.rotate(chen, key.id, "zh"))
    assert people.by_key(new).id == chen.id
    with pytest.raises(NotSignedIn):
        people.by_key(old)


def test_what_the_form_says_becomes_the_terms_and_comes_back(chen: Person) -> None:
    project = manage_keys.create_project(chen, ProjectTerms(name="Website"))
    given = form(
        scopes=["chat"],
        models="help-desk, contracts",
        ips="10.0.0.0/8；2001:db8::/32\n\n::1",
        expires_at="2999-01-31",
        cap="2.5",
        project=project.id,
        requests_per_minute=60,
        parallel=2.0,
    )
    handlers.create_key(chen, given, "en")
    [key] = manage_keys.keys(chen)
    assert key.expires_at == datetime(2999, 2, 1, tzinfo=UTC)
    assert (key.models, key.ips) == (("help-desk", "contracts"), ("10.0.0.0/8", "2001:db8::/32", "::1"))
    assert (key.cap_micro, key.project, key.parallel, key.tokens_per_minute) == (
        2_500_000,
        "Website",
        2,
        None,
    )
    shown = handlers.values(key)
    assert (shown["expires_at"], shown["cap"], shown["project"]) == ("2999-01-31", "2.50", project.id)
    assert handlers.change_key(chen, key.id, shown) == key
    listed = handlers.keys(chen, "en")
    for words in ("asking experts", "Website", "0.00 of 2.50 credits", "2999-01-31", "in use"):
        assert words in listed
    assert "向专家提问" in handlers.keys(chen, "zh") and "0.00 / 2.50 点" in handlers.keys(chen, "zh")


def test_a_large_cap_and_an_exact_end_survive_the_form(chen: Person) -> None:
    end = datetime(2999, 1, 31, 12, 30, tzinfo=UTC)
    made, _ = manage_keys.create_key(chen, KeyTerms(name="k", expires_at=end, cap_micro=123_456_700_001))
    key = handlers.live_key(chen, made.id)
    assert handlers.change_key(chen, key.id, handlers.values(key)) == key
    later = handlers.change_key(chen, key.id, {**handlers.values(key), "expires_at": "2999-01-30"})
    assert later.expires_at == datetime(2999, 1, 31, tzinfo=UTC)
    assert handlers.change_key(chen, key.id, {**handlers.values(key), "expires_at": ""}).expires_at is None


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"ips": "nowhere"}, "ips"),
        ({"models": "x" * 200}, "models"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "2027-02-30"}, "expires_at"),
        ({"expires_at": "9999-12-31"}, "expires_at"),
        ({"expires_at": "2001-01-01"}, "expires_at"),
        ({"cap": "much"}, "cap"),
        ({"cap": "-1"}, "cap"),
        ({"parallel": 0}, "parallel"),
        ({"tokens_per_minute": -5}, "tokens_per_minute"),
        ({"requests_per_minute": 1e30}, "requests_per_minute"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_made(chen: Person, given: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        handlers.create_key(chen, form(**given), "en")
    assert refused.value.field == field and refused.value.message("zh")
    assert manage_keys.keys(chen) == []


def test_an_expired_key_is_listed_as_such_and_can_be_given_longer(chen: Person) -> None:
    made, secret = manage_keys.create_key(chen, KeyTerms(name="k", expires_at=now() + timedelta(days=1)))
    with unit_of_work() as uow:
        uow.get_one(ApiKeyRow, made.id).expires_at = now() - timedelta(days=2)
    assert "expired" in handlers.keys(chen, "en") and "已过期" in handlers.keys(chen, "zh")
    key = handlers.live_key(chen, made.id)
    handlers.change_key(chen, made.id, {**handlers.values(key), "name": "other"})
    handlers.change_key(chen, made.id, {**handlers.values(key), "expires_at": "2999-01-01"})
    assert people.by_key(secret) == chen


def test_projects_are_listed_changed_and_archived(chen: Person, poor: Person) -> None:
    empty = dict.fromkeys(handlers.PROJECT_FIELDS)
    assert "mbe-empty" in handlers.projects(chen, "en")
    with pytest.raises(BadInput):
        handlers.save_project(chen, "", empty, "en")
    told = handlers.save_project(chen, "", {**empty, "name": "Web <b>", "parallel": 3}, "en")
    assert "Web &lt;b&gt;" in told
    [project] = manage_keys.projects(chen)
    handlers.save_project(chen, project.id, {**empty, "name": "Shop", "requests_per_day": 1000}, "zh")
    listed = handlers.projects(chen, "en")
    assert "Shop" in listed and "1,000" in listed and f"project={project.id}" in listed
    with pytest.raises(NotFound):
        handlers.live_project(poor, project.id)
    made, _ = manage_keys.create_key(chen, KeyTerms(name="k", project="Shop"))
    assert [name for name, _ in handlers.project_choices(chen, "en")] == ["none", "Shop"]
    assert "Shop" in handlers.archive(chen, project.id, "en")
    assert [name for name, _ in handlers.project_choices(chen, "en")] == ["none"]
    kept = handlers.project_choices(chen, "en", project.id)
    assert ("Shop", project.id) in kept
    key = handlers.live_key(chen, made.id)
    assert handlers.change_key(chen, made.id, {**handlers.values(key), "name": "x"}).project == "Shop"
