"""HTML of packages: as an expert's page offers them, and as their buyers see what is left."""

from collections.abc import Sequence
from datetime import datetime
from html import escape

from apps import cards
from apps.cards import Html
from apps.market.views import expert_address
from engine.billing.schemas import Package, Subscription
from engine.billing.subscriptions import PATIENCE
from engine.flows.buy_packages import Shop
from engine.kit.clock import now
from engine.kit.messages import t
from engine.kit.money import format_credits
from engine.market.schemas import ExpertView

CSS = """
.mbe-packages{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,240px),1fr));gap:12px}
.mbe-package{display:flex;flex-direction:column;gap:4px;overflow-wrap:anywhere;
 font-variant-numeric:tabular-nums}
.mbe-page .mbe-package b{font-size:18px;font-weight:650}
.mbe-page .mbe-package a.mbe-button{align-self:flex-start;margin-top:8px;background:none;
 border:1px solid var(--primary);color:var(--primary)!important}
.mbe-page .mbe-package span a{padding:0} .mbe-page .mbe-compared{margin-top:8px}
.mbe-page .mbe-package a.mbe-quiet{align-self:flex-start;padding:0;color:var(--primary);margin-top:4px}
.mbe-used{height:8px;border-radius:4px;background:var(--line);overflow:hidden;margin:4px 0}
.mbe-used i{display:block;height:100%;background:var(--primary)}
.mbe-used.out i{background:var(--bad)}
"""
DAY = "%Y-%m-%d"


def p_(key: str, language: str, **facts: object) -> str:
    """Return words about packages, ready to stand in HTML."""
    return escape(t(f"packages.{key}", language, **facts))


def credits(micro: int, language: str) -> str:
    """Return an amount with its unit."""
    return t("money.unit", language, amount=format_credits(micro))


def buy_address(package: Package, language: str) -> str:
    """Return where a package is bought."""
    return f"{expert_address(package.subject, language)}&buy={package.id}"


def mine_address(language: str, cancel: str = "") -> str:
    """Return where a person's packages are, or the question whether to cancel one."""
    return f"/{language}/market/wallet?cancel={cancel}" if cancel else f"/{language}/market/wallet#packages"


# On an expert's page


def shop(found: Shop, mine: Sequence[Subscription], language: str) -> str:
    """Return the packages of an expert as cards; nothing where none is offered."""
    if not found.packages:
        return ""
    bought = {one.package_id: one for one in mine if one.state != "ended"}
    has_one = any(one.subject == found.expert.name and one.state != "unpaid" for one in bought.values())
    body = "".join(
        _offered(package, found, bought.get(package.id), has_one, language) for package in found.packages
    )
    usual = p_("compared", language, input=f"{found.usual[0]:,}", output=f"{found.usual[1]:,}")
    compared = (
        f'<p class="mbe-muted mbe-compared">{usual}</p>'
        if any(found.single_micro(p) for p in found.packages)
        else ""
    )
    return (
        f"<style>{CSS}</style><h2>{p_('title', language)}</h2>"
        f'<p class="mbe-muted">{p_("why", language)}</p><div class="mbe-packages">{body}</div>{compared}'
    )


def _offered(package: Package, found: Shop, bought: Subscription | None, has_one: bool, language: str) -> str:
    each = p_(
        "per_thousand", language, price=credits(-(-package.price_micro * 1000 // package.tokens), language)
    )
    lines = [
        f"<b>{escape(package.title)}</b>",
        f"<span>{p_('tokens_a_month', language, tokens=f'{package.tokens:,}')}</span>",
        f"<strong>{p_('price_a_month', language, price=credits(package.price_micro, language))}</strong>",
        f'<span class="mbe-muted">{each}{_saving(package, found, language)}</span>',
    ]
    if bought is not None and bought.state != "unpaid":
        words = t("packages.yours", language, until=bought.ends_at.strftime(DAY))
        lines.append(f"<span>{cards.state(words, 'good').text}</span>")
    elif not has_one:
        address = escape(buy_address(package, language))
        lines.append(f'<a class="mbe-button" href="{address}">{p_("buy", language)}</a>')
    return f'<div class="mbe-card mbe-package">{"".join(lines)}</div>'


def _saving(package: Package, found: Shop, language: str) -> str:
    single = found.single_micro(package)
    if not single:
        return ""
    percent = (single - package.price_micro) * 100 // single
    if percent <= 0:
        return f" · {p_('no_saving', language)}"
    return f" · {cards.state(t('packages.saves', language, percent=percent), 'good').text}"


def question(package: Package, expert: ExpertView, language: str) -> str:
    """Return what buying a package means."""
    words = p_(
        "buy_ask",
        language,
        price=credits(package.price_micro, language),
        tokens=f"{package.tokens:,}",
        expert=expert.title,
    )
    back = p_("back_to", language, expert=expert.title)
    return (
        f'<a class="mbe-back" href="{escape(expert_address(expert.name, language))}">← {back}</a>'
        f"<h1>{p_('buy_title', language, title=package.title)}</h1><p>{words}</p>"
    )


def bought(one: Subscription, language: str) -> str:
    """Return that a package was bought, and where to see what is left of it."""
    words = p_(
        "bought",
        language,
        title=one.package.title,
        tokens=f"{one.package.tokens:,}",
        until=one.ends_at.strftime(DAY),
    )
    link = f'<a href="{mine_address(language)}">{p_("to_mine", language)}</a>'
    return cards.note(Html(f"{words} {link}"), "good")


def lacking(words: str, language: str) -> str:
    """Return why a package was not bought, with the way to credits."""
    link = f'<a href="/{language}/market/wallet">{p_("to_wallet", language)}</a>'
    return cards.note(Html(f"{escape(words)} {link}"), "bad")


# On the buyer's page


def mine(found: Sequence[Subscription], language: str) -> str:
    """Return what the account has bought: what runs as cards, what is over as a table."""
    title = f'<style>{CSS}</style><h2 id="packages">{p_("mine", language)}</h2>'
    if not found:
        words = t("packages.to_catalog", language)
        return title + cards.empty(t("packages.none_mine", language), f"/{language}/market/", words)
    running = [one for one in found if one.state != "ended"]
    over = [one for one in found if one.state == "ended"]
    body = "".join(_running(one, language) for one in running)
    shown = f'{title}<div class="mbe-packages">{body}</div>' if running else title
    return shown + _earlier(over, language) if over else shown


def _running(one: Subscription, language: str) -> str:
    allowance = one.allowance
    share = allowance.used_tokens * 100 // allowance.tokens
    used = p_("used_of", language, used=f"{allowance.used_tokens:,}", tokens=f"{allowance.tokens:,}")
    lines = [
        f"<b>{escape(one.package.title)}</b>",
        f"<span>{cards.link(expert_address(one.subject, language), one.subject).text}</span>",
        f'<div class="mbe-used{" out" if share >= 100 else ""}" role="progressbar" aria-valuenow="{share}"'
        f' aria-valuemin="0" aria-valuemax="100" aria-label="{used}"><i style="width:{share}%"></i></div>',
        f"<span>{used} · {_left(one.ends_at, language)}</span>" if one.state != "unpaid" else "",
        f'<span class="mbe-muted">{_renewal(one, language)}</span>',
    ]
    if one.state in ("active", "unpaid"):
        address = mine_address(language, one.id)
        lines.append(f'<a class="mbe-quiet" href="{address}">{p_("cancel", language)}</a>')
    return f'<div class="mbe-card mbe-package">{"".join(lines)}</div>'


def _left(until: datetime, language: str) -> str:
    days = max(0, (until - now()).days)
    return p_("days_left", language, days=days) if days else p_("last_day", language)


def _renewal(one: Subscription, language: str) -> str:
    day = one.ends_at.strftime(DAY)
    if one.renewal == "renews":
        return p_("renews", language, day=day, price=credits(one.package.price_micro, language))
    if one.renewal == "unpaid":
        words = t("packages.unpaid", language, day=(one.ends_at + PATIENCE).strftime(DAY))
        return cards.state(words, "bad").text
    return p_("withdrawn_soon" if one.renewal == "withdrawn" else "ends", language, day=day)


def _earlier(found: Sequence[Subscription], language: str) -> str:
    headers = [
        t(f"packages.{key}", language) for key in ("head_title", "head_expert", "head_used", "head_end")
    ]
    rows: list[list[cards.Cell]] = [
        [
            one.package.title,
            cards.link(expert_address(one.subject, language), one.subject),
            one.allowance.used_tokens,
            t(
                "packages.ended",
                language,
                day=one.ends_at.strftime(DAY),
                reason=t(f"packages.reason_{one.reason}", language),
            ),
        ]
        for one in found
    ]
    title = t("packages.earlier", language)
    return f"<details><summary>{escape(title)}</summary>{cards.table(headers, rows, title)}</details>"


def cancel_question(one: Subscription, language: str) -> str:
    """Return what cancelling does."""
    key = "cancel_ask_unpaid" if one.state == "unpaid" else "cancel_ask"
    return (
        f'<a class="mbe-back" href="{mine_address(language)}">← {p_("cancel_no", language)}</a>'
        f"<h1>{p_('cancel_title', language, title=one.package.title)}</h1>"
        f"<p>{p_(key, language, day=one.ends_at.strftime(DAY))}</p>"
    )


def cancelled(one: Subscription, language: str) -> str:
    """Return that a package was cancelled."""
    key = "cancelled_now" if one.state == "ended" else "cancelled"
    words = t(f"packages.{key}", language, title=one.package.title, day=one.ends_at.strftime(DAY))
    return cards.note(words, "good")
