import pytest

from engine.accounts import service, sessions
from engine.accounts.models import PersonRow
from engine.accounts.schemas import Person
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden, NotSignedIn


def make(email: str = "ann@example.com", roles: tuple[str, ...] = ("developer",)) -> Person:
    with unit_of_work() as uow:
        return service.create_person(uow, email=email, name="Ann", password="correct horse", roles=roles)


def test_signs_in_with_the_right_password_only(db: str) -> None:
    ann = make("Ann@Example.com")
    with unit_of_work() as uow:
        assert service.sign_in(uow, " ann@example.com ", "correct horse") == ann
        for email, password in (("ann@example.com", "wrong"), ("bob@example.com", "correct horse")):
            with pytest.raises(NotSignedIn) as refusal:
                service.sign_in(uow, email, password)
            assert refusal.value.key == "accounts.wrong_password"


def test_the_password_is_not_stored(db: str) -> None:
    ann = make()
    with unit_of_work() as uow:
        row = uow.get(PersonRow, ann.id)
        assert row is not None and row.password_hash.startswith("$argon2id$")


@pytest.mark.parametrize(
    ("change", "field"),
    [({"email": "nobody"}, "email"), ({"password": "short"}, "password"), ({"roles": ["king"]}, "roles")],
)
def test_bad_input_names_its_field(db: str, change: dict[str, object], field: str) -> None:
    good: dict[str, object] = {
        "email": "a@b.c",
        "name": "A",
        "password": "long enough",
        "roles": ["consumer"],
    }
    with pytest.raises(BadInput) as refusal, unit_of_work() as uow:
        service.create_person(uow, **{**good, **change})  # type: ignore[arg-type]
    assert refusal.value.field == field


def test_an_address_belongs_to_one_person(db: str) -> None:
    make()
    with pytest.raises(Conflict):
        make("ANN@example.com")


def test_roles_are_checked() -> None:
    ann = Person(id="p", tenant_id="t", email="a@b.c", name="A", roles=frozenset({"consumer"}))
    service.require(ann, "consumer", "developer")
    with pytest.raises(Forbidden):
        service.require(ann, "reviewer")


def test_a_session_cookie_cannot_be_forged(home: object) -> None:
    cookie = sessions.issue("pe_1")
    assert sessions.read(cookie) == "pe_1"
    assert sessions.read("x" + cookie[1:]) is None
    assert sessions.read(None) is None
