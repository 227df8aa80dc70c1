"""The main job as people do it: in a browser, on the real pages, through the sign-in of the front page.

The parts follow one another but none needs another: what an earlier one did not make, a part makes itself.
"""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from engine.kit.messages import t
from engine.kit.money import CREDIT, format_credits
from tests.house.conftest import SAMPLES, House, ask, eventually, start_training, top_up
from tests.house.pages import (
    PATIENT,
    Walk,
    balance,
    button,
    figure,
    heading,
    job_card,
    pick,
    text_field,
    tile,
    walking,
)

pytestmark = pytest.mark.browser

DOCUMENTS = [
    SAMPLES / "knowledge" / "en" / name for name in ("returns-and-refunds.md", "warranty-and-repairs.md")
]
DIALOGUES = SAMPLES / "dialogues.en.jsonl"
NARROW = 390

# Every state that an answer goes through, as somebody who looks at it would see it.
WATCH_THE_ANSWER = """() => { window.seen = []
 new MutationObserver(() => {
  const said = [...document.querySelectorAll('.bot.message')].pop()
  if (said && said.innerText !== window.seen.at(-1)) window.seen.push(said.innerText)
 }).observe(document.body, {subtree: true, childList: true, characterData: true}) }"""


def words(key: str, **facts: object) -> str:
    """Return English words of the pages."""
    return t(key, "en", **facts)


@pytest.fixture(scope="module")
def walk(house: House, telling: object) -> Iterator[Walk]:
    with walking(house) as walk:
        yield walk


@pytest.fixture(autouse=True)
def nothing_leaves_this_machine_and_nothing_breaks(walk: Walk) -> Iterator[None]:
    """After each part: no page asked another host for anything, or put an error on the console."""
    walk.asked.clear()
    walk.complaints.clear()
    yield
    walk.leave()
    assert walk.elsewhere() == set()
    assert walk.complaints == []


def a_finished_training(walk: Walk) -> str:
    """Return the name of a finished training; one is made without the pages if they made none."""
    if not walk.run:
        developer = walk.house.enter("developer")
        job_id = start_training(developer, epochs=1)

        def state() -> str:
            return str(developer.get(f"/api/jobs/{job_id}").json()["state"])

        eventually("the training", lambda: state() in ("succeeded", "failed"))
        assert state() == "succeeded"
        walk.run = "Killed"
    return walk.run


def test_a_developer_prepares_documents_and_finds_a_passage(walk: Walk) -> None:
    page = walk.enter("developer")
    expect(heading(page, words("studio.tab_knowledge"))).to_be_visible()
    name = f"Shop {walk.mark}"
    text_field(page, words("studio.name")).fill(name)
    button(page, words("studio.create_base")).click()
    expect(heading(page, name)).to_be_visible()

    page.locator("input[type=file]").set_input_files(DOCUMENTS)
    for document in DOCUMENTS:
        expect(page.get_by_text(words("studio.upload_kept", name=document.name))).to_be_visible()
    button(page, words("studio.prepare")).click()
    expect(job_card(page, "succeeded")).to_be_visible()
    expect(tile(page, words("studio.indexed"))).not_to_have_text("0")
    assert figure(tile(page, words("studio.chunks")).inner_text()) > 0

    page.get_by_role("button", name=words("studio.label_document")).click()
    pick(page, words("studio.document"), DOCUMENTS[0].name)
    text_field(page, words("studio.labels")).fill("first, other")
    button(page, words("studio.save_labels")).click()
    expect(page.get_by_text("first · other")).to_be_visible()

    page.get_by_role("link", name=re.compile(words("studio.check_retrieval"))).click()
    expect(page.get_by_label(words("studio.only_labels"))).to_be_visible()
    question = f"How long do returns take? {walk.mark}"
    text_field(page, words("studio.question")).fill(question)
    button(page, words("studio.look_into_it")).click()
    expect(page.get_by_text(words("studio.given")).first).to_be_visible()
    expect(page.locator("mark").first).to_be_visible()
    button(page, words("studio.save_question")).click()
    expect(page.get_by_role("link", name=question)).to_be_visible()
    button(page, words("studio.run_check")).click()
    expect(tile(page, words("studio.recall_1"))).to_have_text("100%")

    page.get_by_role("link", name=re.compile(name)).click()
    page.get_by_role("link", name=re.compile(words("studio.look_at_indexes"))).click()
    pick(page, words("studio.embedding_model"), words("studio.embedder_ngram"))
    pick(page, words("studio.passage_length"), words("studio.target_tokens", tokens=40))
    button(page, words("studio.build_index")).click()
    expect(button(page, words("studio.switch_index"))).to_be_enabled()
    expect(page.get_by_text(words("studio.not_compared"))).to_be_visible()
    button(page, words("studio.compare_indexes")).click()
    expect(page.locator(".js-plotly-plot")).to_be_visible()
    button(page, words("studio.switch_index")).click()
    expect(page.get_by_text(words("studio.index_switched"))).to_be_visible()
    button(page, words("studio.remove_index")).click()
    expect(button(page, words("studio.build_index"))).to_be_visible()
    expect(page.get_by_role("row", name=re.compile(words("studio.passage_length")))).to_contain_text("40")


def test_a_developer_looks_at_a_dataset_and_imports_it(walk: Walk) -> None:
    page = walk.enter("developer")
    walk.open(page, "studio/data")
    page.locator("input[type=file]").set_input_files(DIALOGUES)
    rows = len(DIALOGUES.read_text("utf-8").splitlines())
    expect(tile(page, words("studio.rows"))).to_have_text(f"{rows:,}")
    expect(tile(page, words("studio.layout"))).to_have_text(words("datasets.layout_messages"))
    expect(heading(page, words("studio.first_rows"))).to_be_visible()
    name = f"Dialogues {walk.mark}"
    text_field(page, words("studio.name")).fill(name)
    button(page, words("studio.import")).click()
    expect(heading(page, name)).to_be_visible()
    kept = [figure(tile(page, words(f"studio.{part}_rows")).inner_text()) for part in ("train", "validation")]
    assert min(kept) > 0 and sum(kept) <= rows


def test_a_developer_trains_leaves_the_page_and_comes_back_to_it(walk: Walk) -> None:
    developer = walk.house.enter("developer")
    if not developer.get("/admin/datasets").json():
        with DIALOGUES.open("rb") as file:
            developer.post("/admin/datasets", files={"file": file}, data={"name": "d"}).raise_for_status()
    name = f"Walked {walk.mark}"
    page = walk.enter("developer")
    walk.open(page, "studio/train")
    text_field(page, words("studio.name")).fill(name)
    # A preset fills the numbers in; what is typed before it has done so would be lost.
    recipe = page.get_by_text(re.compile(r"\d+ rows, \d+ passes"))
    expect(recipe).to_be_visible()
    balanced = recipe.inner_text()
    page.get_by_role("radio", name=words("studio.preset_quick")).check()
    expect(recipe).not_to_have_text(balanced)
    page.get_by_role("button", name=words("studio.advanced")).click()
    page.get_by_role("spinbutton", name=words("studio.recipe_epochs")).fill("2")
    button(page, words("studio.check_first")).click()
    expect(page.locator(".mbe-seen b").first).to_be_visible(timeout=PATIENT)
    expect(tile(page, words("studio.check_memory"))).to_contain_text("GB")
    button(page, words("studio.start_training")).click()
    expect(heading(page, name)).to_be_visible()

    expect(job_card(page, "running|succeeded")).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    address = page.url
    page.reload()
    expect(heading(page, name)).to_be_visible()
    expect(job_card(page, "running|succeeded")).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    assert page.url == address
    expect(job_card(page, "succeeded")).to_be_visible(timeout=2 * PATIENT)
    assert figure(tile(page, words("studio.steps")).inner_text()) > 0
    # The real server was asked how likely it finds the answers of the model that was trained.
    expect(page.get_by_text("The served expert says what the trained one said")).to_be_visible()
    expect(page.get_by_role("link", name=words("studio.test_it"))).to_be_visible()
    walk.run = name


def test_an_operator_sees_the_machine_and_a_developer_the_plan(walk: Walk) -> None:
    page = walk.enter("reviewer")
    walk.open(page, "studio/operator")
    expect(page.get_by_text(words("studio.machine_alive"))).to_be_visible()
    expect(page.get_by_role("table", name=words("studio.tenants"))).to_contain_text("Dana")
    page = walk.enter("developer")
    walk.open(page, "studio/plan")
    expect(heading(page, "Your plan: pro")).to_be_visible()
    walk.open(page, "studio/operator")
    expect(page.get_by_text(words("studio.needs_operator"))).to_be_visible()


def test_a_developer_has_the_expert_checked_and_reads_the_verdict(walk: Walk) -> None:
    title = a_finished_training(walk)
    page = walk.enter("developer")
    walk.open(page, "studio/publish")
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name=title, exact=True)).first
    expect(row).to_contain_text(words("market.state_trained"))
    row.get_by_role("link").click()
    expect(heading(page, title)).to_be_visible()
    expect(page.get_by_text(words("studio.no_report"))).to_be_visible()
    button(page, words("studio.do_test")).click()
    expect(page.get_by_text(words("studio.no_report"))).to_be_hidden(timeout=2 * PATIENT)

    for part in ("accuracy", "safety"):
        expect(tile(page, words(f"studio.{part}"))).to_have_text(re.compile(r"^\d+%$"))
    station = page.get_by_label(words("studio.track")).locator("[aria-current=step]")
    verdicts = [words(f"market.state_{state}") for state in ("tested", "rejected")]
    expect(station).to_have_text(re.compile("|".join(verdicts)))
    if verdicts[1] in station.inner_text():
        # Each mark that was missed is said with the figure that was reached.
        expect(page.get_by_role("alert").filter(has_text=re.compile(r"\d")).first).to_be_visible()
    else:
        expect(page.get_by_text(re.compile(r"Passed all marks over \d+"))).to_be_visible()


def test_a_consumer_tops_up_asks_and_follows_the_cost_to_its_receipt(walk: Walk, expert: str) -> None:
    page = walk.enter("consumer")
    card = page.get_by_role("link").filter(has=page.get_by_text(expert, exact=True))
    expect(card).to_be_visible()

    walk.open(page, "market/wallet")
    before = figure(balance(page).inner_text())
    text_field(page, words("marketplace.amount")).fill("5")
    button(page, words("marketplace.add")).click()
    expect(page.get_by_text(words("marketplace.added", amount=format_credits(5 * CREDIT)))).to_be_visible()
    expect(balance(page)).to_have_text(words("money.unit", amount=f"{before + 5:,.2f}"))

    walk.open(page, "market/")
    card.click()
    question = text_field(page, words("marketplace.question"))
    expect(question).to_be_visible()
    page.evaluate(WATCH_THE_ANSWER)
    question.fill("How long do returns take?")
    button(page, words("marketplace.send")).click()
    receipt = page.get_by_role("link", name=words("marketplace.receipt_link"), exact=True)
    expect(receipt).to_be_visible()
    seen = page.evaluate("window.seen")
    assert len(set(seen)) > 3, f"the answer did not stream: {seen}"
    cost = page.locator(".mbe-cost").inner_text()
    (charged,) = re.findall(r"[\d.]+(?= credits)", cost)
    assert float(charged) > 0

    receipt.click()
    expect(heading(page, words("marketplace.receipt"))).to_be_visible()
    line = page.locator(".mbe-lines > div")
    amounts = {
        part: figure(line.filter(has_text=words(f"marketplace.{part}")).locator("dd").inner_text())
        for part in ("held_at_start", "charged", "split_developer", "split_platform", "returned")
    }
    assert amounts["charged"] == float(charged)
    assert amounts["split_developer"] + amounts["split_platform"] == pytest.approx(amounts["charged"])
    assert amounts["charged"] + amounts["returned"] == pytest.approx(amounts["held_at_start"])


def test_an_evaluator_votes_blind_by_key_and_then_sees_the_names(walk: Walk, expert: str) -> None:
    page = walk.enter("evaluator")
    # A prompt that every pair has answered for this person starts no battle any more.
    text_field(page, words("arena_page.prompt")).fill(f"How long do returns of order {walk.mark} take?")
    button(page, words("arena_page.start")).click()
    sides = page.locator("section[data-side]")
    expect(sides.get_by_text(words("arena_page.done"))).to_have_count(2)
    expect(page.get_by_text(words("arena_page.vote_now"))).to_be_visible()
    expect(button(page, words("arena_page.vote_left"))).to_be_enabled()
    expect(sides.locator(".mbe-model")).to_have_count(0)

    page.keyboard.press("1")
    expect(sides.locator(".mbe-model")).to_have_count(2)
    names = sides.locator(".mbe-model").all_inner_texts()
    verdict = words("arena_page.you_chose", side="A", name=names[0])
    expect(page.get_by_text(verdict)).to_be_visible()
    status = page.get_by_role("status").filter(has_text=verdict)
    status.get_by_role("link", name=words("arena_page.tab_leaderboard")).click()
    board = page.get_by_role("table", name=words("arena_page.tab_leaderboard"))
    for name in names:
        expect(board.get_by_role("cell", name=name, exact=True)).to_be_visible()


def test_an_evaluator_opens_human_evaluation(walk: Walk) -> None:
    page = walk.enter("evaluator")
    walk.open(page, "human-eval/")
    expect(page.get_by_text(words("human_eval.tasks_why"))).to_be_visible()


def test_a_stakeholder_sees_the_calls(walk: Walk, expert: str) -> None:
    consumer = walk.house.enter("consumer")
    top_up(consumer)
    ask(consumer, expert).raise_for_status()
    page = walk.enter("stakeholder")
    calls = tile(page, words("dashboard.calls"))

    def counted() -> bool:
        walk.open(page, "dashboard/")
        expect(calls).to_be_visible()
        return figure(calls.inner_text()) > 0

    eventually("usage to be exported", counted)
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    assert figure(tile(page, words("dashboard.tokens")).inner_text()) > 0


def test_a_consumer_in_the_studio_reads_why_not_and_sees_nothing_of_it(walk: Walk) -> None:
    page = walk.enter("consumer")
    for path in ("studio/", "studio/data", "studio/publish"):
        walk.open(page, path)
        expect(page.get_by_text(words("studio.needs_developer"))).to_be_visible()
        expect(page.get_by_role("heading")).to_have_count(0)
        expect(page.get_by_role("table")).to_have_count(0)
        expect(page.locator("main").get_by_role("button")).to_have_count(0)


def test_who_has_not_signed_in_is_led_to_the_sign_in_page(walk: Walk) -> None:
    page = walk.visitor()
    for place in ("studio/train", "market/wallet", "arena/", "human-eval/", "dashboard/"):
        page.goto(f"{walk.house.web}/en/{place}")
        expect(page).to_have_url(re.compile(r"/en/sign-in"))
        expect(heading(page, words("front.sign_in"))).to_be_visible()


def test_the_language_switch_leads_to_the_same_page(walk: Walk) -> None:
    name = f"Switch {walk.mark}"
    developer = walk.house.enter("developer")
    made = developer.post("/admin/knowledge", json={"name": name, "language": "en"})
    made.raise_for_status()
    page = walk.enter("developer")
    for path, english, chinese in (
        ("studio/train", words("studio.tab_train"), t("studio.tab_train", "zh")),
        (f"studio/?base={made.json()['id']}", name, name),
    ):
        walk.open(page, path)
        expect(heading(page, english)).to_be_visible()
        page.get_by_role("link", name=words("frame.other"), exact=True).click()
        expect(page).to_have_url(f"{walk.house.web}/zh/{path}")
        expect(heading(page, chinese)).to_be_visible()
        expect(page.get_by_role("link", name=t("studio.tab_publish", "zh"))).to_be_visible()


def overhang(page: Page) -> int:
    """Return by how many pixels a page is wider than the screen."""
    return int(page.evaluate("document.documentElement.scrollWidth")) - NARROW


@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_page_is_wider_than_a_phone(walk: Walk, expert: str, language: str) -> None:
    too_wide = {}
    for role, places in {
        "developer": (
            "studio/",
            "studio/data",
            "studio/train",
            "studio/publish",
            "studio/earnings",
            "studio/plan",
            "human-eval/campaigns",
        ),
        "reviewer": ("studio/review", "studio/operator", "studio/money"),
        "consumer": ("", "market/", "market/wallet", "market/usage"),
        "evaluator": ("arena/", "arena/leaderboard", "human-eval/"),
        "stakeholder": ("dashboard/",),
    }.items():
        page = walk.enter(role, language, NARROW)
        for place in places:
            walk.open(page, place, language)
            expect(page.get_by_role("heading").first).to_be_visible()
            # Plots and tables arrive after the heading; what is looked at is the page at rest.
            page.wait_for_timeout(1000)
            if (more := overhang(page)) > 0:
                too_wide[place] = more
        walk.leave()
    assert too_wide == {}
