"""Keys and projects as people make and change them, in a browser on the real pages."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Page, expect

from engine.kit.messages import t
from tests.house.conftest import House
from tests.house.pages import Walk, button, heading, pick, text_field, walking

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def walk(house: House) -> Iterator[Walk]:
    with walking(house) as walk:
        yield walk


@pytest.fixture(autouse=True)
def nothing_breaks(walk: Walk) -> Iterator[None]:
    walk.asked.clear()
    walk.complaints.clear()
    yield
    walk.leave()
    assert (walk.elsewhere(), walk.complaints) == (set(), [])


def secret(page: Page) -> str:
    """Return the secret that is shown this once."""
    shown = page.locator(".mbe-copy button")
    expect(shown).to_be_visible()
    return shown.get_attribute("data-text") or ""


def status(walk: Walk, key: str) -> int:
    """Return how the gateway answers to a key that asks for the models."""
    bearer = {"Authorization": f"Bearer {key}"}
    return httpx.get(f"{walk.house.gateway}/v1/models", headers=bearer, timeout=60).status_code


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_key_is_limited_changed_rotated_and_revoked(walk: Walk, language: str) -> None:
    def words(key: str, **facts: object) -> str:
        return t(f"keys.{key}", language, **facts)

    project, name = f"Site {language} {walk.mark}", f"Shop {language} {walk.mark}"
    page = walk.enter("consumer", language)
    walk.open(page, "market/projects", language)
    text_field(page, words("name")).fill(project)
    page.get_by_label(words("parallel")).fill("3")
    button(page, words("create_project")).click()
    expect(page.get_by_text(words("saved", name=project))).to_be_visible()

    walk.open(page, "market/keys", language)
    text_field(page, words("name")).fill(name)
    page.get_by_text(words("limits"), exact=True).click()
    page.get_by_label(words("scope_account")).uncheck()
    text_field(page, words("ips")).fill("127.0.0.1\n2001:db8::/32")
    text_field(page, words("cap")).fill("2.5")
    text_field(page, words("expires_at")).fill("tomorrow")
    pick(page, words("project"), project)
    button(page, words("create")).click()
    expect(page.get_by_text(words("bad_day", day="tomorrow"))).to_be_visible()
    text_field(page, words("expires_at")).fill("2999-01-31")
    button(page, words("create")).click()
    first = secret(page)
    assert status(walk, first) == 200
    row = page.get_by_role("row").filter(has_text=name)
    expect(row).to_contain_text("2999-01-31")
    expect(row).to_contain_text(project)

    row.get_by_role("link", name=name).click()
    expect(heading(page, name)).to_be_visible()
    expect(text_field(page, words("cap"))).to_have_value("2.50")
    text_field(page, words("ips")).fill("10.0.0.0/8")
    button(page, words("save")).click()
    expect(page.get_by_text(words("saved", name=name))).to_be_visible()
    assert status(walk, first) == 403
    text_field(page, words("ips")).fill("")
    button(page, words("save")).click()
    expect(page.get_by_text(words("saved", name=name))).to_be_visible()

    page.get_by_role("link", name=words("rotate"), exact=True).click()
    button(page, words("rotate_yes")).click()
    second = secret(page)
    assert (status(walk, first), status(walk, second)) == (401, 200)
    page.get_by_role("link", name=words("revoke"), exact=True).click()
    button(page, words("revoke_yes")).click()
    expect(page.get_by_text(words("revoked_done", name=name))).to_be_visible()
    assert status(walk, second) == 401
    expect(page.get_by_role("row").filter(has_text=name)).to_contain_text(words("revoked"))


@pytest.mark.parametrize("language", ["en", "zh"])
def test_keys_and_projects_fit_a_phone(walk: Walk, language: str) -> None:
    page = walk.enter("consumer", language, width=390)
    for path in ("market/keys", "market/projects"):
        walk.open(page, path, language)
        if path.endswith("keys"):
            page.get_by_text(t("keys.limits", language), exact=True).click()
            expect(text_field(page, t("keys.ips", language))).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
