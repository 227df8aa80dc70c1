"""The studio's prices page, without a browser: prices as they are typed, their history, and packages."""

import pytest

from engine.accounts.schemas import Person
from engine.billing import service as billing
from engine.flows import buy_packages
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from engine.kit.money import CREDIT
from engine.market import service as market
from engine.market.schemas import SYSTEM, ExpertView
from studio.handlers import access, prices
from studio.handlers.prices import Typed

PLAIN = Typed("1", "3", "", "", [["", "", ""]])


@pytest.fixture
def expert(dana: Person, rui: Person) -> ExpertView:
    """An expert of Dana's on the market: 2 credits per 1,000 tokens in, 4 out."""
    with unit_of_work() as uow:
        made = market.register(
            uow,
            person_id=dana.id,
            tenant_id=dana.tenant_id,
            name="help-desk",
            title="Help <desk>",
            run_id="run_1",
            adapter_prefix="adapters/run_1",
            base_model="starter",
            knowledge_base_ids=[],
        )
        market.change_state(uow, made.id, "testing", by=dana, reason="")
        market.record_quality(uow, made.id, {"passed": True}, True, by=SYSTEM)
        market.describe(
            uow,
            made.id,
            tenant_id=dana.tenant_id,
            title="Help <desk>",
            description="Answers questions about orders and returns.",
            category="customer-service",
            tags=[],
            input_price="2",
            output_price="4",
            example="How long do returns take?",
        )
        market.change_state(uow, made.id, "pending_review", by=dana, reason="")
        market.change_state(uow, made.id, "approved", by=rui, reason="fine")
        return market.change_state(uow, made.id, "published", by=dana, reason="")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_list_has_what_is_on_the_market(
    dana: Person, other: Person, expert: ExpertView, language: str
) -> None:
    html = prices.listing(dana, language)
    assert "prices?name=help-desk" in html and "Help &lt;desk&gt;" in html
    assert "publish" in prices.listing(other, language)
    assert any(href.endswith("/prices") for href, _, _ in access.tabs(dana, language, ""))


def test_a_new_price_is_set_and_the_old_one_stays_in_the_history(dana: Person, expert: ExpertView) -> None:
    before = prices.detail(dana, "help-desk", "en")
    assert before.typed == Typed("2.00", "4.00", "0", "0", ())
    tiers = [["1,000,000", "0.5", "1"], ["", "", ""], ["5000000", "", "0.25"]]
    told = prices.save(dana, "help-desk", Typed("1", "3", "0.5", "2", tiers), "en")
    assert "counts from the next call" in told
    prices.save(dana, "help-desk", PLAIN, "en")
    now = prices.detail(dana, "help-desk", "en")
    assert (now.typed.input_price, now.typed.call_price, now.typed.tiers) == ("1.00", "0.00", [])
    assert "from 1,000,000: 0.50 in, 1.00 out" in now.history and now.history.count("<tr>") == 3


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"input_price": "x"}, "input_price"),
        ({"output_price": "-1"}, "output_price"),
        ({"call_price": "1001"}, "call_price"),
        ({"minimum": "0.0000001"}, "minimum"),
        ({"tiers": [["many", "1", "1"]]}, "tiers"),
        ({"tiers": [["", "1", "1"]]}, "tiers"),
        ({"tiers": [["5", "one", "1"]]}, "tiers"),
        ({"tiers": [["5", "1", "1"], ["4", "1", "1"]]}, "tiers"),
        ({"tiers": [["9" * 16, "1", "1"]]}, "tiers"),
    ],
)
def test_a_price_that_is_none_names_its_field_and_changes_nothing(
    dana: Person, expert: ExpertView, change: dict[str, object], field: str
) -> None:
    typed = Typed(**(vars(PLAIN) | change))  # type: ignore[arg-type]
    with pytest.raises(BadInput) as refused:
        prices.save(dana, "help-desk", typed, "en")
    assert refused.value.field == field
    assert prices.detail(dana, "help-desk", "en").typed.input_price == "2.00"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_usual_call_is_worked_out_as_it_is_typed(dana: Person, expert: ExpertView, language: str) -> None:
    prices.save(dana, "help-desk", Typed("2", "4", "0", "0", ()), language)
    typed = Typed("1", "3", "0.5", "", [["1000", "0", "0"]])
    html = prices.typical(dana, "help-desk", typed, language)
    assert "1.55" in html and "1.24" in html and "1.80" in html and "0.50" in html  # 600 in, 150 out
    assert "role" in prices.typical(dana, "help-desk", Typed("x", "", "", "", ()), language)


def test_packages_are_offered_counted_and_withdrawn(dana: Person, rui: Person, expert: ExpertView) -> None:
    assert "Offer the first one" in prices.detail(dana, "help-desk", "en").packages
    assert "is on offer" in prices.offer(dana, "help-desk", "Big <b>", "100,000", "5", "en")
    [package] = buy_packages.offered("help-desk")
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=rui.tenant_id, amount_micro=9 * CREDIT, key="k", by="p")
    buy_packages.buy(rui, package.id, "k")
    html = prices.detail(dana, "help-desk", "en").packages
    assert (
        "Big &lt;b&gt;" in html
        and f"withdraw={package.id}" in html
        and '<td class="num" data-v="1">1' in html
    )
    assert "(1 now)" in prices.withdraw_question(dana, "help-desk", package.id, "en")
    assert "is withdrawn" in prices.withdraw(dana, "help-desk", package.id, "en")
    assert "withdraw=" not in prices.detail(dana, "help-desk", "en").packages
    with pytest.raises(NotFound):
        prices.withdraw_question(dana, "help-desk", package.id, "en")


@pytest.mark.parametrize(
    ("given", "field"),
    [(("", "1000", "1"), "title"), (("A", "lots", "1"), "tokens"), (("A", "999", "1"), "tokens")]
    + [(("A", "1000", price), "price") for price in ("", "0", "-2", "x")],
)
def test_a_package_that_is_none_names_its_field(
    dana: Person, expert: ExpertView, given: tuple[str, str, str], field: str
) -> None:
    with pytest.raises(BadInput) as refused:
        prices.offer(dana, "help-desk", *given, "en")
    assert refused.value.field == field


def test_nobody_else_sees_or_changes_anything(
    dana: Person, other: Person, rui: Person, expert: ExpertView
) -> None:
    prices.offer(dana, "help-desk", "A", "1000", "1", "en")
    [package] = buy_packages.offered("help-desk")
    for person, refusal in ((other, NotFound), (rui, Forbidden)):
        for ask in (
            lambda who=person: prices.detail(who, "help-desk", "en"),
            lambda who=person: prices.typical(who, "help-desk", PLAIN, "en"),
            lambda who=person: prices.save(who, "help-desk", PLAIN, "en"),
            lambda who=person: prices.offer(who, "help-desk", "B", "1000", "1", "en"),
            lambda who=person: prices.withdraw_question(who, "help-desk", package.id, "en"),
            lambda who=person: prices.withdraw(who, "help-desk", package.id, "en"),
        ):
            with pytest.raises(refusal):
                ask()
    assert buy_packages.offered("help-desk") == [package]
    with pytest.raises(NotFound):
        prices.detail(dana, "nobody", "en")


def test_an_expert_off_the_market_sells_no_package(dana: Person, rui: Person, expert: ExpertView) -> None:
    prices.offer(dana, "help-desk", "A", "1000", "1", "en")
    [package] = buy_packages.offered("help-desk")
    with unit_of_work() as uow:
        market.change_state(uow, expert.id, "retired", by=dana, reason="")
    with pytest.raises((NotFound, Conflict)):
        buy_packages.buy(rui, package.id, "k")
