"""HTML of the prices page."""

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

from apps import cards
from engine.billing.schemas import OfferedPackage, Price
from engine.kit.messages import t
from engine.kit.money import DEVELOPER_PERCENT, format_credits, split
from engine.market.schemas import ExpertView
from studio.handlers.access import address


def page_address(language: str, name: str = "", **query: str) -> str:
    """Return where an expert's prices are."""
    asked = urlencode({"name": name, **query}) if name else ""
    return address(language, "prices") + (f"?{asked}" if asked else "")


def _credits(micro: int, language: str) -> str:
    return t("money.unit", language, amount=format_credits(micro))


def listing(found: Sequence[ExpertView], language: str) -> str:
    """Return the table of experts on the market; each row leads to its prices."""
    if not found:
        words = t("studio.to_publish", language)
        return cards.empty(t("packages.none_published", language), address(language, "publish"), words)
    headers = [
        t(f"packages.{key}", language) for key in ("head_expert", "head_version", "head_in", "head_out")
    ]
    rows: list[list[cards.Cell]] = [
        [
            cards.link(page_address(language, one.name), one.title),
            one.version,
            cards.money(one.input_price_micro, language),
            cards.money(one.output_price_micro, language),
        ]
        for one in found
    ]
    return cards.table(headers, rows, t("packages.prices", language))


def head(expert: ExpertView, language: str) -> str:
    """Return which expert this is, and the way back."""
    back = escape(t("packages.prices", language))
    market = f"/{language}/market/expert?{urlencode({'name': expert.name})}"
    return (
        f'<a class="mbe-back" href="{page_address(language)}">← {back}</a><h1>{escape(expert.title)}</h1>'
        f'<p class="mbe-muted">{cards.code(expert.name).text} {escape(expert.version)} · '
        f'<a href="{market}" style="padding:0">{escape(t("studio.see_on_market", language))}</a></p>'
    )


def typical(
    usual: tuple[int, int],
    *,
    cost: int,
    before: int | None,
    levels: Sequence[tuple[int, int]],
    language: str,
) -> str:
    """Return what a usual call costs and earns; what it costs now, if that differs; and in each tier."""
    words = t(
        "packages.typical",
        language,
        input=f"{usual[0]:,}",
        output=f"{usual[1]:,}",
        price=_credits(cost, language),
        share=_credits(split(cost)[0], language),
        percent=DEVELOPER_PERCENT,
    )
    lines = [words]
    if before is not None and before != cost:
        lines.append(t("packages.typical_before", language, price=_credits(before, language)))
    lines += [
        t("packages.typical_tier", language, tokens=f"{start:,}", price=_credits(micro, language))
        for start, micro in levels
    ]
    return cards.note(cards.Html("<br>".join(escape(line) for line in lines)))


def history(found: Sequence[Price], language: str) -> str:
    """Return every version of a price, the newest first."""
    keys = ("head_number", "head_since", "head_in", "head_out", "head_call", "head_minimum", "head_tiers")
    rows: list[list[cards.Cell]] = [
        [
            cards.Html(f'<span class="mbe-num">{one.number}</span>', one.number),
            cards.moment(one.created_at, language),
            cards.money(one.input_micro, language),
            cards.money(one.output_micro, language),
            _unless_zero(one.call_micro, language),
            _unless_zero(one.minimum_micro, language),
            _tiers(one, language),
        ]
        for one in found
    ]
    headers = [t(f"packages.{key}", language) for key in keys]
    return cards.table(headers, rows, t("packages.history", language))


def _unless_zero(micro: int, language: str) -> cards.Html:
    return cards.money(micro, language) if micro else cards.Html(cards.muted("–").text, 0)


def _tiers(one: Price, language: str) -> cards.Html:
    if not one.tiers:
        return cards.Html(cards.muted("–").text, 0)
    lines = [
        t(
            "packages.tier_line",
            language,
            tokens=f"{tier.from_tokens:,}",
            input=format_credits(tier.input_micro),
            output=format_credits(tier.output_micro),
        )
        for tier in one.tiers
    ]
    return cards.Html("<br>".join(escape(line) for line in lines), len(lines))


def packages(found: Sequence[OfferedPackage], language: str) -> str:
    """Return the packages that are or were offered, with their subscribers."""
    if not found:
        return f'<p class="mbe-muted">{escape(t("packages.none_offered", language))}</p>'
    keys = ("head_title", "head_tokens", "head_price", "head_each", "head_subscribers", "head_state")
    rows: list[list[cards.Cell]] = [
        [
            one.package.title,
            one.package.tokens,
            cards.money(one.package.price_micro, language),
            cards.money(-(-one.package.price_micro * 1000 // one.package.tokens), language),
            one.subscribers,
            _state(one, language),
        ]
        for one in found
    ]
    return cards.table([t(f"packages.{key}", language) for key in keys], rows, t("packages.title", language))


def _state(one: OfferedPackage, language: str) -> cards.Html:
    if one.package.state == "withdrawn":
        return cards.state(t("packages.state_withdrawn", language), "calm")
    where = page_address(language, one.package.subject, withdraw=one.package.id)
    link = cards.link(where, t("packages.withdraw", language)).text
    state = cards.state(t("packages.state_offered", language), "good").text
    return cards.Html(f'<span style="white-space:nowrap">{state} · {link}</span>', 1)


def withdraw_question(one: OfferedPackage, language: str) -> str:
    """Return what withdrawing a package does to those who have it."""
    back = escape(t("packages.cancel_no", language))
    title = escape(t("packages.withdraw_title", language, title=one.package.title))
    words = escape(t("packages.withdraw_ask", language, count=f"{one.subscribers:,}"))
    where = escape(page_address(language, one.package.subject))
    return f'<a class="mbe-back" href="{where}">← {back}</a><h1>{title}</h1><p>{words}</p>'
