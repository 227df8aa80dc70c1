"""HTML of the wallet, of a receipt and of usage."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from apps import cards
from apps.cards import Html
from apps.market.views import expert_address, finish, receipt_address, t_
from engine.billing.schemas import Receipt
from engine.flows.top_up_wallet import Wallet
from engine.kit.messages import t
from engine.kit.money import format_credits


@dataclass(frozen=True, kw_only=True)
class Spending:
    """Calls, tokens (in and out), micro-credits paid and given back, of one expert, or of all on one day."""

    name: str
    calls: int = 0
    tokens: int = 0
    micro: int = 0
    refunded: int = 0


def credits(micro: int, language: str) -> str:
    """Return an amount with its unit."""
    return t("money.unit", language, amount=format_credits(micro))


# The wallet


def wallet(found: Wallet, language: str) -> str:
    """Return what can be spent, what running calls hold, and what is owed, if anything."""
    shown: list[tuple[str, str | Html]] = [
        (t("marketplace.balance", language), credits(found.balance_micro, language)),
        (t("marketplace.held", language), credits(found.held_micro, language)),
    ]
    if not found.owed_micro:
        return cards.tiles(shown)
    shown.append((t("cash.owed", language), credits(found.owed_micro, language)))
    return cards.tiles(shown) + cards.note(t("cash.owed_why", language))


def receipts(found: Sequence[Receipt], refunded: Mapping[str, int], language: str) -> str:
    """Return the table of receipts; each row leads to its receipt and its expert.

    `refunded` is what was given back, by receipt.
    """
    if not found:
        words = t("marketplace.to_catalog", language)
        return cards.empty(t("marketplace.no_receipts", language), f"/{language}/market/", words)
    keys = ["when", "expert", "charged", "tokens_in", "tokens_out", "ended"]
    rows: list[list[cards.Cell]] = [
        [
            _when(receipt, language),
            _expert(receipt, language),
            _charged(receipt, language),
            int(receipt.usage.get("input_tokens", 0)),
            int(receipt.usage.get("output_tokens", 0)),
            finish(_finish(receipt), language),
        ]
        for receipt in found
    ]
    headers = [t(f"marketplace.{key}", language) for key in keys]
    if refunded:
        headers.insert(3, t("cash.refunded", language))
        for row, one in zip(rows, found, strict=True):
            row.insert(3, _refunded(refunded.get(one.id, 0), language))
    return cards.table(headers, rows, t("marketplace.receipts", language))


def _charged(receipt: Receipt, language: str) -> Html:
    address = receipt_address(receipt.id, language)
    if receipt.package_tokens:
        return Html(cards.link(address, t("packages.charged_package", language)).text, 0)
    return cards.money(receipt.charged_micro, language, address)


def _refunded(micro: int, language: str) -> Html:
    return cards.money(micro, language) if micro else cards.Html(cards.muted("–").text, 0)


def _when(receipt: Receipt, language: str) -> Html:
    moment = cards.moment(receipt.created_at, language)
    address = escape(receipt_address(receipt.id, language))
    return Html(f'<a href="{address}">{moment.text}</a>', moment.sort)


def _expert(receipt: Receipt, language: str) -> Html:
    name = receipt.usage.get("model")
    return cards.link(expert_address(name, language), name) if name else cards.muted("–")


def _finish(receipt: Receipt) -> str:
    return str(receipt.usage.get("finish") or receipt.reason or "")


def receipt(found: Receipt, language: str) -> str:
    """Return one receipt line by line: what was held, what was used, who got what, what came back."""
    lines: list[tuple[str, str]] = [
        (t_("at", language), escape(found.created_at.strftime("%Y-%m-%d %H:%M:%S UTC"))),
        (t_("ended", language), escape(finish(_finish(found), language))),
        (t_("held_at_start", language), _money(found.held_micro, language)),
    ]
    if found.usage:
        lines.insert(0, (t_("expert", language), _expert(found, language).text))
        for side in ("input", "output"):
            lines.append(_tokens(found, side, language))
    if found.package_tokens:
        words = t("packages.tokens", language, tokens=f"{found.package_tokens:,}")
        lines.append((escape(t("packages.paid_by", language)), escape(words)))
    lines.append((t_("charged", language), f"<b>{_money(found.charged_micro, language)}</b>"))
    if found.charged_micro:
        lines.append((t_("split_developer", language), _money(found.developer_micro, language)))
        lines.append((t_("split_platform", language), _money(found.platform_micro, language)))
    lines.append((t_("returned", language), _money(found.returned_micro, language)))
    lines.append((t_("number", language), cards.code(found.id).text))
    body = "".join(f"<div><dt>{label}</dt><dd>{value}</dd></div>" for label, value in lines)
    return (
        f'<a class="mbe-back" href="/{language}/market/wallet">← {t_("to_wallet", language)}</a>'
        f'<h1>{t_("receipt", language)}</h1><dl class="mbe-card mbe-lines">{body}</dl>'
        f'<p class="mbe-muted">{t_("started_micro", language)}</p>'
    )


def _money(micro: int, language: str) -> str:
    return cards.money(micro, language).text


def _tokens(found: Receipt, side: str, language: str) -> tuple[str, str]:
    """Return how one side of the price comes about: tokens times price."""
    words = t_(
        "price_of",
        language,
        tokens=f"{found.usage.get(f'{side}_tokens', 0):,}",
        price=credits(found.usage.get(f"{side}_price_micro", 0), language),
    )
    return t_("tokens_in" if side == "input" else "tokens_out", language), words


def topped_up(amount_micro: int, language: str) -> str:
    """Return that credits arrived."""
    words = t("marketplace.added", language, amount=format_credits(amount_micro))
    return cards.note(words, "good")


# Usage


def totals(total: Spending, language: str) -> str:
    """Return calls, tokens and credits of a period, and what was given back, if anything."""
    shown: list[tuple[str, str | Html]] = [
        (t("marketplace.calls_total", language), f"{total.calls:,}"),
        (t("marketplace.tokens_total", language), f"{total.tokens:,}"),
        (t("marketplace.spent", language), credits(total.micro, language)),
    ]
    if total.refunded:
        shown.append((t("cash.refunded", language), credits(total.refunded, language)))
    return cards.tiles(shown)


def no_usage(language: str) -> str:
    """Return what stands where nothing was used."""
    words = t("marketplace.to_catalog", language)
    return cards.empty(t("marketplace.no_usage", language), f"/{language}/market/", words)


def spending(by_expert: Sequence[Spending], by_day: Sequence[Spending], language: str) -> str:
    """Return the tables of spending; what was given back has its column where there was anything."""
    refunds = any(one.refunded for one in by_day)
    experts = [
        [cards.link(expert_address(one.name, language), one.name), *_row(one, refunds, language)]
        for one in by_expert
    ]
    days = [[one.name, *_row(one, refunds, language)] for one in by_day]
    shown = ""
    for key, first, rows in (("by_expert", "expert", experts), ("by_day", "day", days)):
        headers = [
            t(f"marketplace.{name}", language) for name in (first, "calls_total", "tokens_total", "spent")
        ]
        headers += [t("cash.refunded", language)] if refunds else []
        title = t(f"marketplace.{key}", language)
        shown += f"<h2>{escape(title)}</h2>{cards.table(headers, rows, title)}"
    return shown


def _row(one: Spending, refunds: bool, language: str) -> list[cards.Cell]:
    back = [_refunded(one.refunded, language)] if refunds else []
    return [one.calls, one.tokens, cards.money(one.micro, language), *back]
