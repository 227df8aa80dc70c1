"""HTML and chart of the earnings page."""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

import plotly.graph_objects as go

from apps import cards
from apps.theme import FONTS, LIGHT, colour_of
from engine.billing.schemas import EntryView, ExpertEarnings, Payout
from engine.flows.pay_out import Standing
from engine.kit.messages import t
from engine.kit.money import CREDIT, DEVELOPER_PERCENT, format_credits
from studio.views.money import payout_state

MOST_BARS = 12


def nothing(language: str) -> str:
    """Return what stands here before the first paid call."""
    words = t("studio.no_earnings", language, percent=DEVELOPER_PERCENT)
    return cards.empty(words, f"/{language}/studio/publish", t("studio.to_publish", language))


def head(found: Sequence[ExpertEarnings], language: str) -> str:
    """Return the sum, and how it comes about."""
    total = sum(expert.micro for expert in found)
    shown = cards.tiles(
        [
            (t("studio.earned_in_all", language), cards.money(total, language)),
            (t("studio.paid_calls", language), f"{sum(e.calls for e in found):,}"),
            (t("studio.tokens", language), f"{sum(e.tokens for e in found):,}"),
        ]
    )
    explained = t("studio.split_words", language, percent=DEVELOPER_PERCENT, rest=100 - DEVELOPER_PERCENT)
    return f'{shown}<p class="mbe-muted">{explained}</p>'


def chart(found: Sequence[ExpertEarnings], language: str) -> go.Figure:
    """Return a bar for each of the best earners, the best on top."""
    shown = list(reversed(found[:MOST_BARS]))
    amounts = [expert.micro / CREDIT for expert in shown]
    figure = go.Figure(
        go.Bar(
            x=amounts,
            y=[expert.name for expert in shown],
            orientation="h",
            marker={"color": [colour_of(expert.name) for expert in shown]},
            text=[format_credits(expert.micro) for expert in shown],
            textposition="outside",
            cliponaxis=False,
            hovertemplate="%{y}: %{text}<extra></extra>",
        )
    )
    title = t("studio.best_earner", language, name=found[0].name, amount=format_credits(found[0].micro))
    figure.update_layout(
        title={"text": title, "x": 0, "font": {"size": 16}},
        xaxis={
            "title": {"text": t("studio.axis_credits", language), "font": {"size": 14}},
            "gridcolor": LIGHT.line,
            "rangemode": "tozero",
        },
        yaxis={"automargin": True},
        font={"family": FONTS, "size": 14},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 8, "r": 80, "t": 48, "b": 48},
        height=140 + 36 * len(shown),
        showlegend=False,
    )
    return figure


def tables(found: Sequence[ExpertEarnings], recent: Sequence[EntryView], language: str) -> str:
    """Return the earnings by expert, and the last ones."""
    by_expert: list[list[cards.Cell]] = [
        [
            cards.link(f"/{language}/market/expert?name={quote(expert.name)}", expert.name),
            expert.calls,
            expert.tokens,
            cards.money(expert.micro, language),
        ]
        for expert in found
    ]
    last: list[list[cards.Cell]] = [
        [
            cards.moment(entry.at, language),
            _source(entry, language),
            cards.money(entry.amount_micro, language),
        ]
        for entry in recent
    ]
    first = cards.table(
        [t(f"studio.{key}", language) for key in ("expert", "paid_calls", "tokens", "earned")], by_expert
    )
    second = cards.table([t(f"studio.{key}", language) for key in ("when", "expert", "earned")], last)
    return f"<h2>{t('studio.by_expert', language)}</h2>{first}<h2>{t('studio.recent', language)}</h2>{second}"


def _source(entry: EntryView, language: str) -> cards.Cell:
    """Return where a movement of the earnings comes from: a call of an expert, a refund, a payout."""
    if entry.kind in ("refund", "payout"):
        return t(f"cash.moved_by_{entry.kind}", language)
    source = cards.code(str(entry.meta.get("model") or "–"))
    if entry.kind == "package":
        return cards.Html(f"{source.text} · {escape(t('packages.one', language))}", source.sort)
    return source


def payouts(now: Standing, language: str) -> str:
    """Return what can be paid out, what is on its way, and the payouts; one that waits can be cancelled."""
    shown = cards.tiles(
        [
            (t("cash.available", language), cards.money(now.available_micro, language)),
            (t("cash.pending", language), cards.money(now.pending_micro, language)),
            (t("cash.paid_out", language), cards.money(now.paid_micro, language)),
        ]
    )
    if not now.payouts:
        return shown
    headers = [t(f"cash.{key}", language) for key in ("asked_at", "credits", "state", "to", "last_note")]
    rows: list[list[cards.Cell]] = [
        [
            cards.moment(payout.created_at, language),
            cards.money(payout.amount_micro, language),
            payout_state(payout, language),
            payout.destination,
            _note(payout, language),
        ]
        for payout in now.payouts
    ]
    return f"{shown}<br>{cards.table(headers, rows, t('cash.payouts', language))}"


def _note(payout: Payout, language: str) -> cards.Cell:
    if payout.state == "requested":
        address = f"/{language}/studio/earnings?cancel={payout.id}"
        return cards.link(address, t("cash.payout_cancel", language))
    return str(payout.history[-1]["note"]) or "–"


def cancel_question(payout: Payout, language: str) -> str:
    """Return what cancelling a request does."""
    words = t("cash.cancel_ask", language, amount=format_credits(payout.amount_micro))
    back = escape(t("cash.cancel_no", language))
    return f'<a class="mbe-back" href="/{language}/studio/earnings">← {back}</a><p>{escape(words)}</p>'
