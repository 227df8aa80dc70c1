"""What the market's pages show and do, without Gradio. Every function takes the person who asks."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

import plotly.graph_objects as go

from apps.market import account_views, cash_views, charts, views
from apps.market.account_views import Spending
from apps.passage import Cited
from engine.accounts.schemas import Person
from engine.flows import browse_market, fill_wallet, open_citation, statements, top_up_wallet
from engine.inference import state
from engine.kit.clock import now
from engine.kit.errors import NotFound
from engine.kit.money import parse_credits
from engine.kit.settings import settings
from engine.market.schemas import CATEGORIES, ExpertView

SORTS = ("popular", "new", "price")
CATALOG_STEP = 60
RECEIPT_STEP = 50
PERIODS = (7, 30, 90)
STATEMENT_CHOICES = ("day", "model", "person", "project")
STATEMENT_BY = ("day", "model")


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
    """The wallet, its orders and its newest receipts; `more` when there are older ones.

    Credits can be added for nothing, or bought, or neither.
    """

    balance: str
    orders: str
    receipts: str
    more: bool
    can_top_up: bool
    can_buy: bool


def wallet(person: Person, language: str, limit: int = RECEIPT_STEP) -> WalletPage:
    """Return the wallet of the person's account."""
    found = top_up_wallet.receipts(person, limit + 1)
    shown = found[:limit]
    refunded = {
        receipt_id: sum(each.amount_micro for each in refunds)
        for receipt_id, refunds in top_up_wallet.refunds(person, shown).items()
    }
    return WalletPage(
        balance=account_views.wallet(top_up_wallet.wallet(person), language),
        orders=cash_views.orders(fill_wallet.my_orders(person), language),
        receipts=account_views.receipts(shown, refunded, language),
        more=len(found) > limit,
        can_top_up=settings().free_credits,
        can_buy=settings().payments,
    )


def receipt(person: Person, receipt_id: str, language: str) -> str:
    """Return one receipt of the person's account, with what was given back on it. Raises NotFound."""
    found = top_up_wallet.receipt(person, receipt_id)
    refunds = top_up_wallet.refunds(person, [found]).get(found.id, [])
    return account_views.receipt(found, language) + cash_views.refunds(refunds, language)


def top_up(person: Person, amount: str, key: str, language: str) -> str:
    """Add play credits and say so. Raises BadInput naming the amount, Forbidden when switched off."""
    top_up_wallet.top_up(person, amount or "", key)
    return account_views.topped_up(parse_credits(amount), language)


def buy(person: Person, amount: str, key: str) -> str:
    """Order credits and return where they are paid. Raises BadInput naming the amount, UpstreamFailed."""
    return fill_wallet.buy(person, amount or "", key).url or ""


def redeem(person: Person, code: str, language: str) -> str:
    """Redeem a code and say what it was worth. Raises what the flow refuses, naming the code."""
    added = fill_wallet.redeem(person, code or "")
    return account_views.topped_up(added.amount_micro, language)


@dataclass(frozen=True)
class UsagePage:
    """Totals, tables, the plot unless there is nothing to draw, and the statement to keep."""

    totals: str
    tables: str
    plot: go.Figure | None
    files: str


def usage(person: Person, days: int, language: str, by: Sequence[str] = STATEMENT_BY) -> UsagePage:
    """Return what the account called and paid in the last `days` days (UTC), today included."""
    days = days if days in PERIODS else PERIODS[1]
    today = now().date()
    shown = [today - timedelta(days=back) for back in reversed(range(days))]
    found = statements.statement(person, shown[0], today, "day,model")
    rows, moved = found.rows, cash_views.movements(found, language)
    files = cash_views.files(shown[0], today, [name for name in by if name in STATEMENT_CHOICES], language)
    if not rows:
        tables = account_views.no_usage(language) + moved
        return UsagePage(account_views.totals(Spending(name=""), language), tables, None, files)
    by_expert, by_day = grouped(rows, "model"), grouped(rows, "day")
    micro = {(row["model"], row["day"]): row["charged_micro"] for row in rows}
    drawn = {e.name: [micro.get((e.name, day), 0) for day in shown] for e in by_expert}
    newest_first = sorted(by_day, key=lambda one: one.name, reverse=True)
    began = datetime.combine(shown[0], time(), UTC)
    given_back = cash_views.given_back(top_up_wallet.refunds_since(person, began), language)
    return UsagePage(
        totals=account_views.totals(grouped(rows, None)[0], language),
        tables=account_views.spending(by_expert, newest_first, language) + given_back + moved,
        plot=charts.spending([f"{day:%m-%d}" for day in shown], drawn, language),
        files=files,
    )


def grouped(rows: Sequence[dict[str, Any]], by: str | None) -> list[Spending]:
    """Return calls, tokens, charges and refunds of a statement's rows by a column, the dearest first."""
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for row in rows:
        tokens = row["input_tokens"] + row["output_tokens"]
        counts = (row["calls"], tokens, row["charged_micro"], row["refunded_micro"])
        total = sums[str(row[by]) if by else ""]
        total[:] = [one + more for one, more in zip(total, counts, strict=True)]
    found = [Spending(name=n, calls=c, tokens=k, micro=m, refunded=r) for n, (c, k, m, r) in sums.items()]
    return sorted(found, key=lambda one: (-one.micro, -one.calls, one.name))
