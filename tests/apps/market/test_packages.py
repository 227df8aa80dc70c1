"""Packages on the market's pages, without a browser: what is shown, bought and cancelled, and by whom."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from apps.market import account_views, chat, handlers, package_handlers
from engine.accounts.schemas import Person
from engine.billing.schemas import Package
from engine.flows import buy_packages, sell_packages, top_up_wallet
from engine.flows.call_allowances import allowances
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, InsufficientCredit, NotFound
from engine.market.schemas import ExpertView
from tests.apps.market.conftest import Publish
from tests.apps.market.test_chat import views_of


@pytest.fixture
def expert(publish: Publish) -> ExpertView:
    return publish()


def offer(dana: Person, title: str = "Small", tokens: int = 100_000, price: str = "5") -> Package:
    return sell_packages.offer(dana, "help-desk", title=title, tokens=tokens, price=price)


def test_without_packages_an_experts_page_says_nothing_of_them(chen: Person, expert: ExpertView) -> None:
    assert package_handlers.shop(chen, "help-desk", "en") == ""
    assert "will be here" in package_handlers.mine(chen, "en")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_card_says_what_a_package_costs_and_saves(
    dana: Person, chen: Person, expert: ExpertView, language: str
) -> None:
    # A usual call has 600 tokens in and 150 out: 1.8 credits, so 100,000 tokens cost 240 in single calls.
    package = offer(dana, "Good <b>", price="168")
    offer(dana, "Dear", tokens=1_000, price="3")
    html = package_handlers.shop(chen, "help-desk", language)
    assert "Good &lt;b&gt;" in html and "100,000" in html and "168.00" in html and "1.68" in html
    assert ("saves 30%" if language == "en" else "省 30%") in html
    assert ("not cheaper" if language == "en" else "不比") in html
    assert f"buy={package.id}" in html


def test_what_is_bought_is_marked_and_no_second_one_offered(
    dana: Person, chen: Person, expert: ExpertView
) -> None:
    package, other = offer(dana), offer(dana, "Other", 200_000)
    told = package_handlers.buy(chen, package.id, "k", "en")
    assert "100,000 tokens until" in told
    html = package_handlers.shop(chen, "help-desk", "en")
    assert "yours until" in html and f"buy={other.id}" not in html
    with pytest.raises(Conflict):
        package_handlers.buy(chen, other.id, "other", "en")


def test_the_question_says_what_buying_means_and_only_of_what_is_offered_there(
    dana: Person, chen: Person, expert: ExpertView, publish: Publish
) -> None:
    package = offer(dana)
    question = package_handlers.question(chen, "help-desk", package.id, "en")
    assert "every month until you cancel" in question.html and question.button == "Buy for 5.00 credits"
    publish("other", "Other")
    for name, package_id in (("help-desk", "pkg_none"), ("other", package.id), ("nobody", package.id)):
        with pytest.raises(NotFound):
            package_handlers.question(chen, name, package_id, "en")
    sell_packages.withdraw(dana, "help-desk", package.id)
    with pytest.raises(NotFound):
        package_handlers.question(chen, "help-desk", package.id, "en")


def test_a_wallet_that_falls_short_is_told_what_is_missing(
    dana: Person, poor: Person, expert: ExpertView
) -> None:
    with pytest.raises(InsufficientCredit, match=r"Add 5\.00"):
        package_handlers.buy(poor, offer(dana).id, "k", "en")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_package_shows_what_is_left_and_how_it_goes_on(
    dana: Person, chen: Person, expert: ExpertView, language: str
) -> None:
    package_handlers.buy(chen, offer(dana).id, "k", language)
    with unit_of_work() as uow:
        uow.execute(text("UPDATE billing_allowances SET used_tokens = 25000"))
    html = package_handlers.mine(chen, language)
    assert 'aria-valuenow="25"' in html and "25,000" in html and "5.00" in html
    [one] = buy_packages.mine(chen)
    assert f"cancel={one.id}" in html
    question = package_handlers.cancel_question(chen, one.id, language)
    assert f"{one.ends_at:%Y-%m-%d}" in question
    package_handlers.cancel(chen, one.id, language)
    html = package_handlers.mine(chen, language)
    assert ("cancelled, ends on" if language == "en" else "已取消") in html and "cancel=" not in html
    with pytest.raises(NotFound):
        package_handlers.cancel_question(chen, one.id, language)


@pytest.mark.parametrize("reason", ["cancelled", "withdrawn", "unpaid", "off_market", "replaced"])
def test_what_is_over_says_why(dana: Person, chen: Person, expert: ExpertView, reason: str) -> None:
    package_handlers.buy(chen, offer(dana).id, "k", "en")
    with unit_of_work() as uow:
        change = "UPDATE billing_subscriptions SET state = 'ended', due_at = NULL, reason = :reason"
        uow.execute(text(change), {"reason": reason})
    for language in ("en", "zh"):
        html = package_handlers.mine(chen, language)
        assert "<table" in html and "mbe-package" not in html.split("</style>")[1].split("<details>")[0]


def test_one_that_could_not_be_renewed_says_until_when_it_is_tried(
    dana: Person, chen: Person, expert: ExpertView
) -> None:
    package_handlers.buy(chen, offer(dana).id, "k", "en")
    with unit_of_work() as uow:
        uow.execute(text("UPDATE billing_subscriptions SET state = 'unpaid'"))
    [one] = buy_packages.mine(chen)
    html = package_handlers.mine(chen, "en")
    assert f"until {one.ends_at + timedelta(days=3):%Y-%m-%d}" in html
    assert "is not tried again" in package_handlers.cancel_question(chen, one.id, "en")


def test_nobody_sees_or_cancels_what_is_not_theirs(
    dana: Person, chen: Person, poor: Person, expert: ExpertView
) -> None:
    package_handlers.buy(chen, offer(dana).id, "k", "en")
    [one] = buy_packages.mine(chen)
    assert one.package.title not in package_handlers.mine(poor, "en")
    for ask in (package_handlers.cancel_question, package_handlers.cancel):
        with pytest.raises(NotFound):
            ask(poor, one.id, "en")


def test_a_call_from_a_package_says_so_in_chat_list_and_receipt(
    dana: Person, chen: Person, expert: ExpertView
) -> None:
    allowances.forget()
    package_handlers.buy(chen, offer(dana).id, "k", "en")
    view = views_of(chen, "How long do returns take?")[-1]
    cost = view.turns[-1].cost
    assert cost is not None and cost.package_tokens > 0 and cost.charged_micro == 0
    assert "from your package" in chat.foot(view.turns[-1], "help-desk", "en")
    assert "from package" in handlers.wallet(chen, "en").receipts
    [receipt] = top_up_wallet.receipts(chen)
    shown = account_views.receipt(receipt, "en")
    assert f"{cost.package_tokens:,} tokens" in shown and "0.00 credits" in shown
