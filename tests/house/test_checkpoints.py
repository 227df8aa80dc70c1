"""A training on its page: cancelling asks first, what is typed stays, and its checkpoints are talked to."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Locator, Page, expect

from engine.kit.messages import t
from tests.house.conftest import House, eventually, start_training
from tests.house.pages import Walk, button, job_card, text_field, walking

pytestmark = pytest.mark.browser

QUESTION = "How long do returns take?"


def words(key: str) -> str:
    return t(key, "en")


@pytest.fixture
def walk(house: House) -> Iterator[Walk]:
    with walking(house) as walk:
        yield walk


def newest(page: Page) -> Locator:
    """Return the choice of the newest checkpoint."""
    return page.get_by_role("radio", name=re.compile(words("studio.checkpoint_newest")))


def test_a_training_asks_before_it_is_cancelled_and_is_talked_to_afterwards(walk: Walk) -> None:
    eventually("the model server", walk.house.model_ready)
    developer = walk.house.enter("developer")
    path = f"/admin/training/{start_training(developer, epochs=40)}"
    page = walk.enter("developer")
    run_id = developer.get(f"{path}/status").json()["run"]["id"]
    walk.open(page, f"studio/train?run={run_id}")
    expect(newest(page)).to_be_visible()
    question = text_field(page, words("studio.question"))
    question.fill(QUESTION)
    button(page, words("studio.cancel")).click()
    expect(page.get_by_text("makes no expert")).to_be_visible()
    page.wait_for_timeout(5000)  # the page follows its training meanwhile
    expect(question).to_have_value(QUESTION)
    button(page, words("costs.keep")).click()
    expect(button(page, words("studio.pause"))).to_be_visible()
    assert developer.get(f"{path}/status").json()["job"]["state"] == "running"

    button(page, words("studio.cancel")).click()
    button(page, words("costs.sure")).click()
    expect(job_card(page, "cancelled")).to_be_visible()
    expect(button(page, words("costs.sure"))).to_be_hidden()
    newest(page).check()
    button(page, words("studio.send")).click()
    kept = developer.get(f"{path}/checkpoints").json()
    step = next(one["step"] for one in kept if one["newest"])
    expect(page.locator(".mbe-chat").get_by_text(f"step {step:,} answered")).to_be_visible()
    for other in (one["step"] for one in kept if not one["newest"]):
        body = {"messages": [{"role": "user", "content": QUESTION}]}
        answer = developer.post(f"{path}/checkpoints/{other}/chat", json=body)
        assert answer.status_code == 200 and answer.json()["usage"]["completion_tokens"] > 0
