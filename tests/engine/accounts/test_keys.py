"""Keys: whose they are, what they may do, and that bad ones are told apart."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from engine.accounts import keys, projects
from engine.accounts.models import ApiKeyRow, PersonRow
from engine.accounts.schemas import SCOPES, ApiKeyView, Caller, KeyTerms, Person, ProjectTerms
from engine.kit.clock import now
from engine.kit.database import engine, unit_of_work
from engine.kit.errors import BadInput, Conflict, EngineError, Forbidden, NotFound, NotSignedIn
from engine.kit.money import LARGEST
from tests.support import make_person


def make(person: Person, name: str = "laptop", **terms: Any) -> tuple[ApiKeyView, str]:
    with unit_of_work() as uow:
        return keys.create(uow, person=person, terms=KeyTerms(name=name, **terms))


def change(person: Person, key_id: str, **changes: Any) -> ApiKeyView:
    with unit_of_work() as uow:
        return keys.change(uow, person=person, key_id=key_id, changes=changes)


def calling(secret: str) -> Caller:
    with unit_of_work() as uow:
        return keys.caller(uow, secret)


def refusal(secret: str) -> EngineError:
    with pytest.raises(EngineError) as refused:
        calling(secret)
    return refused.value


def let_expire(key_id: str) -> None:
    with unit_of_work() as uow:
        row = uow.get(ApiKeyRow, key_id)
        assert row is not None
        row.expires_at = now() - timedelta(seconds=1)


def test_a_key_works_until_it_is_revoked_and_its_secret_is_not_kept(dana: Person, eva: Person) -> None:
    key, secret = make(dana)
    caller = calling(secret)
    assert (caller.person, caller.project, caller.plan) == (dana, None, "pro")
    assert caller.key == key and not key.limited and key.budget_id is None
    with unit_of_work() as uow:
        row = uow.get(ApiKeyRow, key.id)
        assert row is not None and secret not in (row.secret_hash, row.prefix)
    for theirs in (eva, make_person("other@example.com", "developer")):
        with pytest.raises(NotFound), unit_of_work() as uow:
            keys.revoke(uow, person=theirs, key_id=key.id)
    with unit_of_work() as uow:
        keys.revoke(uow, person=dana, key_id=key.id)
    assert refusal(secret).key == "accounts.bad_key"
    with unit_of_work() as uow:
        assert [k.revoked_at is not None for k in keys.listing(uow, dana)] == [True]


def test_many_secrets_are_looked_up_by_one_select_and_used_keys_are_touched_once_a_minute(
    dana: Person, eva: Person
) -> None:
    made = [make(person, f"key {n}") for n, person in enumerate((dana, dana, eva))]
    expired, late = make(eva, expires_at=now() + timedelta(hours=1))
    let_expire(expired.id)
    given = [secret for _, secret in made] + [late, "mbe-nobody", "", "\ud800"]
    statements: list[str] = []
    event.listen(engine(), "before_cursor_execute", lambda *args: statements.append(str(args[2])))
    for writes in (1, 0):
        statements.clear()
        with unit_of_work() as uow:
            found = keys.callers(uow, given)
        assert [words.split()[0] for words in statements] == ["SELECT"] + ["UPDATE"] * writes
        assert set(found) == set(given)
        callers = [found[secret] for _, secret in made]
        assert [one.person for one in callers if isinstance(one, Caller)] == [dana, dana, eva]
        refused = [found[secret] for secret in (late, "mbe-nobody", "", "\ud800")]
        assert [one.key for one in refused if isinstance(one, NotSignedIn)] == [
            "accounts.key_expired",
            *["accounts.bad_key"] * 3,
        ]
    with unit_of_work() as uow:
        used = [uow.get_one(ApiKeyRow, key.id).last_used_at for key, _ in made]
        assert None not in used and uow.get_one(ApiKeyRow, expired.id).last_used_at is None
        uow.get_one(ApiKeyRow, made[0][0].id).last_used_at = now() - timedelta(seconds=61)
        statements.clear()
        keys.callers(uow, given)
        uow.expire_all()
        assert uow.get_one(ApiKeyRow, made[0][0].id).last_used_at > now() - timedelta(seconds=9)  # type: ignore[operator]
        assert uow.get_one(ApiKeyRow, made[1][0].id).last_used_at == used[1]
        assert keys.callers(uow, []) == {}


def test_a_key_that_is_being_changed_is_answered_and_not_waited_for(dana: Person) -> None:
    key, secret = make(dana)
    with unit_of_work() as other:
        keys.change(other, person=dana, key_id=key.id, changes={"name": "later"})
        assert calling(secret).key == key
    assert calling(secret).key.name == "later"  # type: ignore[union-attr]


def test_an_expired_key_says_so_and_lives_again_with_a_later_date(dana: Person) -> None:
    key, secret = make(dana, expires_at=now() + timedelta(days=1))
    assert calling(secret).key == key
    let_expire(key.id)
    refused = refusal(secret)
    assert refused.key == "accounts.key_expired" and "laptop" in refused.message("zh")
    assert change(dana, key.id, name="kept its date").name == "kept its date"
    assert refusal(secret).key == "accounts.key_expired"
    change(dana, key.id, expires_at=None)
    assert calling(secret).person == dana


def test_a_date_without_a_zone_is_utc(dana: Person) -> None:
    key, _ = make(dana, expires_at=datetime(2999, 1, 31, 12))
    assert key.expires_at == datetime(2999, 1, 31, 12, tzinfo=UTC)


def test_the_key_of_a_disabled_person_is_unknown(dana: Person) -> None:
    _, secret = make(dana)
    with unit_of_work() as uow:
        uow.get_one(PersonRow, dana.id).disabled = True
    assert refusal(secret).key == "accounts.bad_key"


def test_rotating_kills_the_old_secret_at_once_and_keeps_the_terms(dana: Person, eva: Person) -> None:
    key, old = make(dana, scopes=("chat",), ips=("::1",), cap_micro=5)
    assert calling(old).key == key
    with pytest.raises(NotFound), unit_of_work() as uow:
        keys.rotate(uow, person=eva, key_id=key.id)
    assert calling(old)
    with unit_of_work() as uow:
        rotated, new = keys.rotate(uow, person=dana, key_id=key.id)
    assert refusal(old).key == "accounts.bad_key"
    assert rotated.id == key.id and rotated.prefix == new[:10] != key.prefix
    assert (rotated.scopes, rotated.ips, rotated.cap_micro) == (("chat",), ("::1",), 5)
    assert calling(new).key == rotated and new != old


def test_a_revoked_key_can_neither_be_changed_nor_rotated(dana: Person) -> None:
    key, _ = make(dana)
    with unit_of_work() as uow:
        keys.revoke(uow, person=dana, key_id=key.id)
        first = uow.get_one(ApiKeyRow, key.id).revoked_at
        keys.revoke(uow, person=dana, key_id=key.id)
        assert uow.get_one(ApiKeyRow, key.id).revoked_at == first
    with pytest.raises(Conflict):
        change(dana, key.id, name="again")
    with pytest.raises(Conflict), unit_of_work() as uow:
        keys.rotate(uow, person=dana, key_id=key.id)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": "  "}, "name"),
    ({"name": "x" * 101}, "name"),
    ({"name": "a\x00b"}, "name"),
    ({"scopes": ()}, "scopes"),
    ({"scopes": ("chat", "root")}, "scopes"),
    ({"models": ("",)}, "models"),
    ({"models": ("a\nb",)}, "models"),
    ({"models": ("x" * 101,)}, "models"),
    ({"models": tuple(f"m{n}" for n in range(101))}, "models"),
    ({"ips": ("",)}, "ips"),
    ({"ips": ("300.1.1.1",)}, "ips"),
    ({"ips": ("10.0.0.0/33",)}, "ips"),
    ({"ips": ("example.com",)}, "ips"),
    ({"ips": ("fe80::1%eth0",)}, "ips"),
    ({"ips": tuple(f"10.0.{n}.1" for n in range(101))}, "ips"),
    ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expires_at"),
    ({"requests_per_minute": 0}, "requests_per_minute"),
    ({"tokens_per_minute": -1}, "tokens_per_minute"),
    ({"parallel": 10**9 + 1}, "parallel"),
    ({"cap_micro": -1}, "cap"),
    ({"cap_micro": LARGEST + 1}, "cap"),
]


@pytest.mark.parametrize(("bad", "field"), BAD)
def test_bad_terms_name_their_field_and_change_nothing(dana: Person, bad: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        make(dana, **{"name": "laptop", **bad})
    assert refused.value.field == field
    key, _ = make(dana)
    with unit_of_work() as uow:
        with pytest.raises(BadInput) as refused:
            keys.change(uow, person=dana, key_id=key.id, changes={"name": "other", **bad})
        assert refused.value.field == field
    with unit_of_work() as uow:
        assert keys.listing(uow, dana) == [key]


def test_terms_are_kept_in_one_way_of_writing(dana: Person) -> None:
    key, _ = make(
        dana,
        name=" laptop ",
        scopes=("account", "chat", "chat"),
        models=(" help-desk ", "help-desk"),
        ips=("10.1.2.3/8", "10.1.2.3/32", "2001:DB8::/32", "2001:db8:0::1", "::ffff:192.0.2.0/120", "::/0"),
    )
    assert (key.name, key.scopes, key.models) == ("laptop", ("chat", "account"), ("help-desk",))
    assert key.ips == ("10.0.0.0/8", "10.1.2.3", "2001:db8::/32", "2001:db8::1", "192.0.2.0/24", "::/0")


@pytest.mark.parametrize(
    ("ips", "ip", "passes"),
    [
        ((), None, True),
        (("10.0.0.0/8",), "10.255.0.1", True),
        (("10.0.0.0/8",), "11.0.0.1", False),
        (("10.0.0.7",), "10.0.0.7", True),
        (("10.0.0.7",), "::ffff:10.0.0.7", True),
        (("2001:db8::/32",), "2001:db8:1::5", True),
        (("2001:db8::/32",), "2001:db9::5", False),
        (("2001:db8::/32", "127.0.0.1"), "127.0.0.1", True),
        (("::/0",), "10.0.0.7", False),
        (("0.0.0.0/0",), None, False),
        (("0.0.0.0/0",), "testclient", False),
        (("0.0.0.0/0",), "10.0.0.7, 10.0.0.8", False),
    ],
)
def test_a_key_is_accepted_from_its_addresses_only(
    dana: Person, ips: tuple[str, ...], ip: str | None, passes: bool
) -> None:
    caller = calling(make(dana, ips=ips)[1])
    if passes:
        keys.check(caller, scope="chat", ip=ip)
    else:
        with pytest.raises(Forbidden) as refused:
            keys.check(caller, scope="chat", ip=ip)
        assert refused.value.key == "accounts.key_ip"


def test_a_key_does_what_its_scopes_and_models_allow(dana: Person) -> None:
    caller = calling(make(dana, scopes=("chat",), models=("help-desk",))[1])
    keys.check(caller, scope="chat", ip=None)
    keys.check(caller, scope=("embeddings", "chat"), ip=None, model="help-desk")
    for scope in ("embeddings", "account", ("embeddings", "account"), "root"):
        with pytest.raises(Forbidden) as refused:
            keys.check(caller, scope=scope, ip=None)
        assert refused.value.key == "accounts.key_scope"
    for model in ("contracts", "help-des", "HELP-DESK", ""):
        with pytest.raises(Forbidden) as refused:
            keys.check(caller, scope="chat", ip=None, model=model)
        assert (refused.value.key, refused.value.field) == ("accounts.key_model", "model")
    session = Caller(person=dana, key=None, project=None, plan="pro")
    keys.check(session, scope="account", ip=None, model="anything")
    keys.check_free(session)


@pytest.mark.parametrize(
    "terms",
    [
        {"scopes": ("account", "chat")},
        {"models": ("m",)},
        {"ips": ("::1",)},
        {"expires_at": datetime(2999, 1, 1, tzinfo=UTC)},
        {"cap_micro": 0},
        {"parallel": 1},
        {"requests_per_minute": 1},
        {"tokens_per_minute": 1},
    ],
)
def test_a_limited_key_may_not_make_keys(dana: Person, terms: dict[str, Any]) -> None:
    keys.check_free(calling(make(dana, scopes=SCOPES)[1]))
    with pytest.raises(Forbidden) as refused:
        keys.check_free(calling(make(dana, **terms)[1]))
    assert refused.value.key == "accounts.key_limited"


def test_a_key_belongs_to_a_project_of_its_own_tenant(dana: Person) -> None:
    rival = make_person("rival@example.com", "developer")
    with unit_of_work() as uow:
        mine = projects.create(uow, person=dana, terms=ProjectTerms(name="网站", parallel=2))
        theirs = projects.create(uow, person=rival, terms=ProjectTerms(name="theirs"))
    key, secret = make(dana, project="网站")
    assert key.project_id == mine.id and calling(secret).project == mine
    for wish in (theirs.id, "theirs", "", "nothing"):
        for refused in (lambda: make(dana, project=wish), lambda: change(dana, key.id, project=wish)):  # noqa: B023
            with pytest.raises(NotFound) as caught:
                refused()
            assert caught.value.field == "project"
    with unit_of_work() as uow:
        projects.archive(uow, person=dana, project_id=mine.id)
    assert refusal(secret).key == "accounts.key_archived"
    assert change(dana, key.id, parallel=3).project_id == mine.id
    change(dana, key.id, project=None)
    assert calling(secret).project is None
