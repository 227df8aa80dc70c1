"""The front page and signing in, without Gradio: what a visitor gets before any face is opened."""

from collections.abc import Callable, Iterator

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from apps import front
from engine.accounts import sessions
from engine.kit.settings import settings
from tests.support import make_person


@pytest.fixture
def visit(db: str) -> Iterator[Callable[[], TestClient]]:
    app = FastAPI()
    app.include_router(front.router)
    yield lambda: TestClient(app, follow_redirects=False)


def test_the_front_page_has_every_door_in_both_languages(visit: Callable[[], TestClient]) -> None:
    client = visit()
    for language, word in (("en", "Studio"), ("zh", "工作室")):
        page = client.get(f"/{language}/")
        assert page.status_code == 200 and word in page.text
        for place in ("studio", "market", "arena", "human-eval", "dashboard"):
            assert f'href="/{language}/{place}/"' in page.text
        assert "http://" not in page.text.replace(settings().gateway_url, ""), "loads from another host"


def test_the_root_leads_to_the_visitors_language(visit: Callable[[], TestClient]) -> None:
    answer = visit().get("/", headers={"Accept-Language": "zh-CN,zh;q=0.9"})
    assert (answer.status_code, answer.headers["location"]) == (307, "/zh/")


def test_continuing_as_a_starter_signs_in(visit: Callable[[], TestClient]) -> None:
    client = visit()
    answer = client.post("/en/continue", data={"role": "consumer"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/en/market/")
    assert "HttpOnly" in answer.headers["set-cookie"] and "SameSite=lax" in answer.headers["set-cookie"]
    assert "Chen" in client.get("/en/").text


def test_starters_do_not_exist_beyond_this_machine(
    visit: Callable[[], TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_HOST", "0.0.0.0")
    settings.cache_clear()
    client = visit()
    assert 'name="role" value="developer"' not in client.get("/en/").text
    refused = client.post("/en/continue", data={"role": "developer"})
    assert refused.status_code == 403 and sessions.COOKIE not in refused.headers.get("set-cookie", "")


def test_signing_in_leads_back_to_where_the_person_wanted_to_be(visit: Callable[[], TestClient]) -> None:
    make_person("ann@example.com", "developer")
    given = {"email": "ann@example.com", "password": "correct horse"}
    answer = visit().post("/en/sign-in?next=/en/studio/train%3Frun%3D1", data=given)
    assert answer.headers["location"] == "/en/studio/train?run=1"


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_never_leads_to_another_site(visit: Callable[[], TestClient], elsewhere: str) -> None:
    make_person("ann@example.com", "developer")
    given = {"email": "ann@example.com", "password": "correct horse"}
    answer = visit().post("/en/sign-in", params={"next": elsewhere}, data=given)
    assert answer.headers["location"] == "/en/studio/"


def test_a_wrong_password_keeps_the_address_and_says_so(visit: Callable[[], TestClient]) -> None:
    make_person("ann@example.com", "developer")
    answer = visit().post("/zh/sign-in", data={"email": "ann@example.com", "password": "no"})
    assert answer.status_code == 401
    assert 'value="ann@example.com"' in answer.text and "不匹配" in answer.text


def test_what_a_person_types_is_never_markup(visit: Callable[[], TestClient]) -> None:
    answer = visit().post("/en/sign-in", data={"email": '"><script>alert(1)</script>', "password": "x"})
    assert "<script>alert" not in answer.text


def test_a_reviewer_enters_where_the_reviews_are(visit: Callable[[], TestClient]) -> None:
    # With a slash behind it, a page of the studio looks for its parts in the wrong place.
    answer = visit().post("/zh/continue", data={"role": "reviewer"})
    assert answer.headers["location"] == "/zh/studio/review"


def test_nobody_becomes_a_reviewer_by_signing_up(visit: Callable[[], TestClient]) -> None:
    given = {"name": "Eve", "email": "eve@example.com", "password": "long enough", "role": "reviewer"}
    assert visit().post("/en/sign-up", data=given).status_code == 403
    given["role"] = "consumer"
    assert visit().post("/en/sign-up", data=given).headers["location"] == "/en/market/"


def test_a_form_of_another_site_is_refused(visit: Callable[[], TestClient]) -> None:
    answer = visit().post(
        "/en/continue", data={"role": "developer"}, headers={"Origin": "https://evil.example"}
    )
    assert answer.status_code == 403


def test_an_address_without_a_page_says_so(visit: Callable[[], TestClient]) -> None:
    assert visit().get("/xx/").status_code == 404
