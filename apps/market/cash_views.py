"""HTML of orders, refunds and statements on the market's pages."""

from collections.abc import Sequence
from datetime import date
from html import escape
from urllib.parse import urlencode

from apps import cards
from apps.market.views import receipt_address
from engine.billing.schemas import Order, Receipt, Refund
from engine.billing.statements import Statement
from engine.kit.messages import t
from engine.kit.money import format_credits

ORDER_TONES = {"open": "calm", "paid": "good", "reversed": "bad"}

MOVED_BY = ("top_up", "settle", "training", "refund", "reversal")
"""Kinds of movements of a wallet that have words."""

WHOLE = ("CLP", "ISK", "JPY", "KRW", "PYG", "UGX", "VND", "XAF", "XOF")
"""Currencies without a smaller unit."""


def price(minor: int, currency: str) -> str:
    """Return an amount of a currency from its smallest unit, of which a hundred are one, but for a few."""
    if currency in WHOLE:
        return f"{minor:,} {currency}"
    return f"{minor // 100:,}.{minor % 100:02d} {currency}"


def orders(found: Sequence[Order], language: str) -> str:
    """Return the table of orders, nothing without any; one that waits leads to its payment."""
    if not found:
        return ""
    headers = [t(f"cash.{key}", language) for key in ("ordered", "credits", "price", "state")]
    rows: list[list[cards.Cell]] = [
        [
            cards.moment(order.created_at, language),
            cards.money(order.amount_micro, language),
            price(order.amount_minor, order.currency),
            _state(order, language),
        ]
        for order in found
    ]
    title = t("cash.orders", language)
    return f"<h2>{escape(title)}</h2>{cards.table(headers, rows, title)}"


def _state(order: Order, language: str) -> cards.Html:
    words = t(f"cash.order_{order.state}", language)
    if order.state == "open" and order.url:
        return cards.outside_link(order.url, t("cash.order_pay", language))
    if order.state == "paid" and order.reversed_minor:
        words = t("cash.order_part", language, back=price(order.reversed_minor, order.currency))
    return cards.state(words, ORDER_TONES[order.state])


def refunds(found: Sequence[Refund], language: str) -> str:
    """Return what was given back on a receipt, nothing if nothing was."""
    if not found:
        return ""
    headers = [t(f"cash.{key}", language) for key in ("when", "refunded", "why")]
    rows: list[list[cards.Cell]] = [
        [cards.moment(each.created_at, language), cards.money(each.amount_micro, language), each.reason]
        for each in found
    ]
    total = format_credits(sum(each.amount_micro for each in found))
    title = t("cash.refunds", language)
    words = t("cash.refunds_sum", language, amount=total)
    return f"<h2>{escape(title)}</h2><p>{escape(words)}</p>{cards.table(headers, rows, title)}"


def given_back(found: Sequence[tuple[Refund, Receipt]], language: str) -> str:
    """Return the refunds of a period, each beside its receipt; nothing without any."""
    if not found:
        return ""
    headers = [t(f"cash.{key}", language) for key in ("when", "receipt", "paid", "refunded", "why")]
    rows: list[list[cards.Cell]] = [
        [
            cards.moment(refund.created_at, language),
            cards.link(receipt_address(receipt.id, language), str(receipt.usage.get("model") or receipt.id)),
            cards.money(receipt.charged_micro, language),
            cards.money(refund.amount_micro, language),
            refund.reason,
        ]
        for refund, receipt in found
    ]
    title = t("cash.refunds", language)
    return f"<h2>{escape(title)}</h2>{cards.table(headers, rows, title)}"


def movements(found: Statement, language: str) -> str:
    """Return what moved the wallet in some days by kind, and what each training was charged of it."""
    if not found.movements:
        return ""
    lines = [
        (t("cash.opening", language), found.opening_micro),
        *((_moved_by(kind, language), micro) for kind, micro in found.movements.items()),
        (t("cash.closing", language), found.closing_micro),
    ]
    rows: list[list[cards.Cell]] = [[words, cards.money(micro, language)] for words, micro in lines]
    title = t("cash.movements", language)
    headers = [t(f"cash.{key}", language) for key in ("moved_by", "credits")]
    return _trainings(found, language) + f"<h2>{escape(title)}</h2>{cards.table(headers, rows, title)}"


def _moved_by(kind: str, language: str) -> str:
    """Return the words for a kind of movement; those of older versions have none of their own."""
    return t(f"cash.moved_by_{kind if kind in MOVED_BY else 'other'}", language)


def _trainings(found: Statement, language: str) -> str:
    if not found.trainings:
        return ""
    rows: list[list[cards.Cell]] = [
        [cards.moment(one["at"], language), one["title"], cards.money(one["charged_micro"], language)]
        for one in found.trainings
    ]
    headers = [t(f"cash.{key}", language) for key in ("when", "training", "paid")]
    title = t("cash.trainings", language)
    why = escape(t("cash.trainings_why", language))
    return f"<h2>{escape(title)}</h2><p class='mbe-muted'>{why}</p>{cards.table(headers, rows, title)}"


def files(first: date, last: date, by: Sequence[str], language: str) -> str:
    """Return the ways to the statement of some days, as files."""
    ways = []
    for form in ("csv", "parquet"):
        asked = urlencode({"from": f"{first}", "to": f"{last}", "by": ",".join(by), "format": form})
        words = escape(t(f"cash.file_{form}", language))
        ways.append(f'<a href="/api/statements?{escape(asked)}" download>{words}</a>')
    days = escape(t("cash.file_days", language, first=f"{first}", last=f"{last}"))
    return f"<p>{days}: {' · '.join(ways)}</p>"
