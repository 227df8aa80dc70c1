"""What the market's pages show and do, without a browser."""

import asyncio
import json
import shlex
from datetime import timedelta

import pytest

from apps.market import cash_views, chat, handlers, views
from engine.accounts.schemas import Person
from engine.billing import meters
from engine.billing import service as billing
from engine.billing.schemas import Rates
from engine.flows import fill_wallet, give_back, reconcile, top_up_wallet
from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, EngineError, Forbidden, NotFound
from engine.kit.messages import t
from engine.kit.settings import settings
from tests.apps.market.conftest import Publish
from tests.payments import Provider
from tests.support import make_person


def ask(person: Person, question: str, name: str = "help-desk") -> chat.ChatView:
    """Return how the chat ends."""

    async def last() -> chat.ChatView:
        return [view async for view in chat.ask(person, name, (), question, "en")][-1]

    return asyncio.run(last())


def test_an_empty_market_leads_to_the_studio(chen: Person) -> None:
    shown = handlers.catalog(chen, "", "", "popular", "en")
    assert "Nothing is published yet" in shown.html and "/en/studio/" in shown.html


def test_cards_lead_to_experts_and_their_texts_are_escaped(chen: Person, publish: Publish) -> None:
    publish(title="Help <b>desk", description="Knows <script>alert(1)</script> all about returns.")
    html = handlers.catalog(chen, "", "", "popular", "en").html
    assert 'href="/en/market/expert?name=help-desk"' in html
    assert "Help &lt;b&gt;desk" in html and "<script>" not in html
    assert "in 2.00 · out 4.00 credits / 1k tokens" in html and "not used yet" in html


def test_search_category_and_order_narrow_the_catalog(chen: Person, publish: Publish) -> None:
    publish()
    publish("contract-reader", "Contracts", category="legal", input_price="0.1", output_price="0.1")

    def names(search: str, category: str, sort: str) -> list[str]:
        html = handlers.catalog(chen, search, category, sort, "en").html
        found = [(html.find(f"name={name}"), name) for name in ("help-desk", "contract-reader")]
        return [name for at, name in sorted(found) if at >= 0]

    assert names("", "", "price") == ["contract-reader", "help-desk"]
    assert names("", "legal", "new") == ["contract-reader"]
    assert names("help", "", "new") == ["help-desk"]
    assert len(names("", "no-such-category", "no-such-order")) == 2
    nothing = handlers.catalog(chen, "zebra", "", "new", "en")
    assert "No expert matches" in nothing.html and "/en/market/" in nothing.html


def test_a_long_catalog_is_shown_in_steps(chen: Person, publish: Publish) -> None:
    for number in range(3):
        publish(f"expert-{number}", f"Expert {number}")
    first = handlers.catalog(chen, "", "", "new", "en", limit=2)
    assert first.more and first.html.count('class="mbe-expert"') == 2 and "of 3 experts" in first.html
    assert not handlers.catalog(chen, "", "", "new", "en", limit=3).more


def test_an_expert_shows_maker_price_quality_and_how_programs_ask(chen: Person, publish: Publish) -> None:
    publish()
    shown = handlers.expert(chen, "help-desk", "en")
    for fact in ("Dana", "1.0.0", "Customer service", "2.00 credits", "4.00 credits", "92.5%", "2.1 s"):
        assert fact in shown.head
    assert shown.question == "How long do returns take?" and shown.notice == ""
    assert f"{settings().gateway_url}/v1" in shown.api and "/en/market/keys" in shown.api
    with pytest.raises(NotFound) as caught:
        handlers.expert(chen, "help-desc", "en")
    assert "help-desk" in caught.value.message("en")


def test_snippets_hold_any_question_without_breaking() -> None:
    question = 'What\'s "this"? 退货 \\ $HOME'
    code = dict(views.snippets("help-desk", question, "http://host/v1"))
    words = shlex.split(code["curl"].replace("\\\n", ""))
    assert words[1] == "http://host/v1/chat/completions"
    assert json.loads(words[words.index("-d") + 1])["messages"][0]["content"] == question
    compile(code["Python"], "snippet", "exec")
    assert json.dumps(question, ensure_ascii=False) in code["JavaScript"]


def test_a_top_up_counts_once_per_key_and_bad_amounts_name_the_field(poor: Person) -> None:
    for _ in range(2):
        assert "2.50 credits were added" in handlers.top_up(poor, "2.5", "one", "en")
    assert top_up_wallet.wallet(poor).balance_micro == 2_500_000
    for amount in ("", "abc", "0", "-1"):
        with pytest.raises(BadInput) as caught:
            handlers.top_up(poor, amount, "two", "en")
        assert caught.value.field == "amount"


def test_without_play_credits_nothing_can_be_added(poor: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MBE_PLAY_CREDITS", "false")
    settings.cache_clear()
    assert not handlers.wallet(poor, "en").can_top_up
    with pytest.raises(Forbidden):
        handlers.top_up(poor, "1", "one", "en")


def test_the_wallet_leads_to_each_receipt_and_only_to_ones_own(
    chen: Person, poor: Person, publish: Publish
) -> None:
    assert "mbe-empty" in handlers.wallet(chen, "en").receipts
    publish()
    cost = ask(chen, "How long do returns take?").turns[-1].cost
    assert cost is not None
    shown = handlers.wallet(chen, "en")
    assert f"receipt={cost.receipt_id}" in shown.receipts and "help-desk" in shown.receipts
    receipt = handlers.receipt(chen, cost.receipt_id, "en")
    stored = top_up_wallet.receipt(chen, cost.receipt_id)
    assert stored.charged_micro == cost.charged_micro > 0
    for micro in ("held", "charged", "developer", "platform", "returned"):
        amount = getattr(stored, f"{micro}_micro")
        assert views._credits(amount, "en") in receipt
    assert f"{cost.input_tokens:,} × 2.00 credits" in receipt
    assert f"{cost.output_tokens:,} × 4.00 credits" in receipt
    with pytest.raises(NotFound):
        handlers.receipt(poor, cost.receipt_id, "en")


def test_usage_adds_up_by_expert_and_by_day(chen: Person, poor: Person, publish: Publish) -> None:
    publish()
    publish("free-tutor", "Tutor", input_price="0", output_price="0")
    costs = [ask(chen, "Where?").turns[-1].cost, ask(chen, "When?").turns[-1].cost]
    ask(chen, "Why?", "free-tutor")
    paid = [cost.charged_micro for cost in costs if cost]
    shown = handlers.usage(chen, 7, "en")
    assert "<b>3</b>" in shown.totals and views._credits(sum(paid), "en") in shown.totals
    assert shown.tables.index("name=help-desk") < shown.tables.index("name=free-tutor")
    assert shown.plot is not None
    bars = {bar.name: list(bar.y) for bar in shown.plot.data}
    assert len(bars["help-desk"]) == 7 and bars["help-desk"][-1] == pytest.approx(sum(paid) / 1e6)
    nothing = handlers.usage(poor, 7, "en")
    assert nothing.plot is None and "mbe-empty" in nothing.tables


def test_a_refund_shows_beside_its_receipt_and_in_the_usage(chen: Person, publish: Publish) -> None:
    publish()
    cost = ask(chen, "How long do returns take?").turns[-1].cost
    assert cost is not None
    assert "Given back" not in handlers.wallet(chen, "en").receipts
    operator = make_person("op@example.com", "operator")
    amount = views._credits(1_000, "en")
    give_back.refund(operator, cost.receipt_id, "0.001", "wrong <answer>", "k")
    assert amount in handlers.wallet(chen, "en").receipts
    receipt = handlers.receipt(chen, cost.receipt_id, "zh")
    assert "退款" in receipt and "wrong &lt;answer&gt;" in receipt and "0.001 点" in receipt
    usage = handlers.usage(chen, 7, "en")
    assert amount in usage.totals and f"receipt={cost.receipt_id}" in usage.tables
    assert "wrong &lt;answer&gt;" in usage.tables


def test_a_statement_is_offered_for_the_period_that_is_shown(chen: Person) -> None:
    files = handlers.usage(chen, 7, "en", ["day", "person", "'\"><script>"]).files
    today = now().date()
    first = today - timedelta(days=6)
    assert f"/api/statements?from={first}&amp;to={today}&amp;by=day%2Cperson&amp;format=csv" in files
    assert "format=parquet" in files and "script" not in files


def test_a_code_is_redeemed_and_a_wrong_one_names_the_field(poor: Person) -> None:
    operator = make_person("op@example.com", "operator")
    [code] = fill_wallet.make_codes(operator, 1, "3", 7)
    assert "3.00 credits were added" in handlers.redeem(poor, code, "en")
    assert top_up_wallet.wallet(poor).balance_micro == 3_000_000
    for again in (code, "", "MBE-2222-3333-4444"):
        with pytest.raises(EngineError) as caught:
            handlers.redeem(poor, again, "en")
        assert caught.value.field == "code"


def test_where_credits_are_sold_none_are_given_away(poor: Person, payments: Provider) -> None:
    shown = handlers.wallet(poor, "en")
    assert shown.can_buy and not shown.can_top_up and shown.orders == ""
    address = handlers.buy(poor, "5", "k")
    assert address == handlers.buy(poor, "5", "k") == "https://pay.example/c/ref_0"
    listed = handlers.wallet(poor, "zh").orders
    assert "5.00 EUR" in listed and address in listed and "去支付" in listed
    with pytest.raises(BadInput) as caught:
        handlers.buy(poor, "0", "l")
    assert caught.value.field == "amount"


def test_prices_are_written_as_their_currency_has_it() -> None:
    assert cash_views.price(123456, "EUR") == "1,234.56 EUR"
    assert cash_views.price(5, "EUR") == "0.05 EUR"
    assert cash_views.price(1500, "JPY") == "1,500 JPY"


def test_what_was_asked_on_the_page_agrees_with_the_books(
    chen: Person, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish()
    publish("free-tutor", "Tutor", input_price="0", output_price="0")
    for question, name in (("Where?", "help-desk"), ("Where?", "help-desk"), ("Why?", "free-tutor")):
        assert ask(chen, question, name).turns[-1].cost is not None
    monkeypatch.setattr(reconcile, "LAG", timedelta(0))
    found = reconcile.compare()
    assert found.differences == [] and found.agrees
    assert found.checked == 7  # three receipts, three usage events, one wallet


@pytest.mark.parametrize("language", ["en", "zh"])
def test_trainings_and_every_kind_of_movement_stand_on_the_usage_page(poor: Person, language: str) -> None:
    tenant = poor.tenant_id
    subject = {"job_id": "job_1", "job_kind": "training.sft", "title": "<b>Shop"}
    with unit_of_work() as uow:
        billing.top_up(uow, tenant_id=tenant, amount_micro=5_000_000, key="k", by=poor.id)
        rates = Rates(cpu_hour_micro=3_600_000, gpu_hour_micro=0)
        meters.start(uow, key="job_1:1", tenant_id=tenant, work_id="job_1", subject=subject, rates=rates)
        for cpu_ms in (1_000_000, 1_250_000):
            meters.charge(uow, "job_1:1", cpu_ms=cpu_ms, gpu_ms=0)
    shown = handlers.usage(poor, 7, language).tables
    for kind in ("top_up", "training"):
        assert t(f"cash.moved_by_{kind}", language) in shown
    assert "&lt;b&gt;Shop" in shown and views._credits(1_250_000, language) in shown
    assert views._credits(3_750_000, language) in shown
    assert all(t(f"cash.moved_by_{kind}", language) for kind in (*cash_views.MOVED_BY, "other"))
