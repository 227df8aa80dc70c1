"""What the market's pages show and do, without Gradio. Every function takes the person who asks."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import plotly.graph_objects as go

from apps.market import account_views, charts, views
from apps.market.account_views import Spending
from apps.passage import Cited
from engine.accounts.schemas import Person
from engine.billing.schemas import Receipt
from engine.flows import browse_market, open_citation, top_up_wallet
from engine.inference import state
from engine.kit.clock import now
from engine.kit.errors import NotFound
from engine.kit.money import parse_credits
from engine.kit.settings import settings
from engine.market.schemas import CATEGORIES, ExpertView

SORTS = ("popular", "new", "price")
CATALOG_STEP = 60
RECEIPT_STEP = 50
MOST_RECEIPTS = 10_000
PERIODS = (7, 30, 90)


@dataclass(frozen=True)
class Catalog:
    """Cards of the experts found, and whether there are more than shown."""

    html: str
    more: bool


def catalog(
    person: Person, search: str, category: str, sort: str, language: str, limit: int = CATALOG_STEP
) -> Catalog:
    """Return the experts that match; an unknown category means all, an unknown order the most used first."""
    wanted = category if category in CATEGORIES else None
    order = sort if sort in SORTS else SORTS[0]
    found = browse_market.catalog(search or "", wanted, order)
    if found:
        return Catalog(views.experts(found[:limit], len(found), language), len(found) > limit)
    filtered = bool((search or "").strip()) or wanted is not None
    return Catalog(views.none_match(language) if filtered else views.none_published(language), False)


@dataclass(frozen=True)
class ExpertPage:
    """An expert as its page shows it; `notice` says that the model server is not ready."""

    expert: ExpertView
    head: str
    example: str
    question: str
    api: str
    notice: str


def expert(person: Person, name: str, language: str) -> ExpertPage:
    """Return a published expert. Raises NotFound naming the near ones."""
    found = browse_market.expert(name)
    return ExpertPage(
        expert=found,
        head=views.expert_head(found, browse_market.developer_name(found), language),
        example=views.example(found, language),
        question=views.sample_question(found),
        api=views.api(found, f"{settings().gateway_url}/v1", language),
        notice="" if state.answers() else views.starting(state.status().progress, language),
    )


def passage(person: Person, cited: Cited, language: str) -> str:
    """Return what an answer has cited, marked in its document; or that it is gone, and what to do.

    Raises NotFound when the address names no expert that the person may chat with.
    """
    if not cited.expert:
        found = open_citation.of_version(person, cited.version, cited.chunk_id)
        return views.citation(found, cited, language)
    try:
        found = open_citation.published(person, cited.expert, cited.chunk_id)
    except NotFound as error:
        if error.field != "chunk_id":
            raise
        return views.citation_gone(error, cited.expert, language)
    return views.citation(found, cited, language)


@dataclass(frozen=True)
class WalletPage:
    """The wallet and its newest receipts; `more` when there are older ones."""

    balance: str
    receipts: str
    more: bool
    can_top_up: bool


def wallet(person: Person, language: str, limit: int = RECEIPT_STEP) -> WalletPage:
    """Return the wallet of the person's account."""
    found = top_up_wallet.receipts(person, limit + 1)
    return WalletPage(
        balance=account_views.wallet(top_up_wallet.wallet(person), language),
        receipts=account_views.receipts(found[:limit], language),
        more=len(found) > limit,
        can_top_up=settings().play_credits,
    )


def receipt(person: Person, receipt_id: str, language: str) -> str:
    """Return one receipt of the person's account. Raises NotFound."""
    return account_views.receipt(top_up_wallet.receipt(person, receipt_id), language)


def top_up(person: Person, amount: str, key: str, language: str) -> str:
    """Add play credits and say so. Raises BadInput naming the amount, Forbidden when switched off."""
    top_up_wallet.top_up(person, amount or "", key)
    return account_views.topped_up(parse_credits(amount), language)


@dataclass(frozen=True)
class UsagePage:
    """Totals, tables, and the plot unless there is nothing to draw."""

    totals: str
    tables: str
    plot: go.Figure | None


def usage(person: Person, days: int, language: str) -> UsagePage:
    """Return what the account called and paid in the last `days` days (UTC), today included."""
    days = days if days in PERIODS else PERIODS[1]
    today = now().date()
    shown = [today - timedelta(days=back) for back in reversed(range(days))]
    looked_at = top_up_wallet.receipts(person, MOST_RECEIPTS)
    paid = [r for r in looked_at if r.state == "settled" and r.created_at.date() >= shown[0]]
    if not paid:
        return UsagePage(
            account_views.totals(Spending(name=""), language), account_views.no_usage(language), None
        )
    by_expert = grouped(paid, _model)
    by_day = grouped(paid, _day)
    micro: dict[tuple[str, str], int] = defaultdict(int)
    for one in paid:
        micro[_model(one), _day(one)] += one.charged_micro
    drawn = {e.name: [micro[e.name, f"{day}"] for day in shown] for e in by_expert}
    cut = (
        MOST_RECEIPTS
        if len(looked_at) == MOST_RECEIPTS and looked_at[-1].created_at.date() >= shown[0]
        else None
    )
    newest_first = sorted(by_day, key=lambda one: one.name, reverse=True)
    return UsagePage(
        totals=account_views.totals(grouped(paid, lambda _: "")[0], language),
        tables=account_views.spending(by_expert, newest_first, cut, language),
        plot=charts.spending([f"{day:%m-%d}" for day in shown], drawn, language),
    )


def grouped(receipts: Sequence[Receipt], group: Callable[[Receipt], str]) -> list[Spending]:
    """Return calls, tokens and charges of each group of receipts, the dearest first."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for one in receipts:
        total = sums[group(one)]
        total[0] += 1
        total[1] += int(one.usage.get("input_tokens", 0)) + int(one.usage.get("output_tokens", 0))
        total[2] += one.charged_micro
    found = [Spending(name=name, calls=c, tokens=k, micro=m) for name, (c, k, m) in sums.items()]
    return sorted(found, key=lambda one: (-one.micro, -one.calls, one.name))


def _model(one: Receipt) -> str:
    return str(one.usage.get("model", ""))


def _day(one: Receipt) -> str:
    return f"{one.created_at:%Y-%m-%d}"
