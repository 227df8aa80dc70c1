"""HTML about experts: where they stand, how they did in the quality check, what they offer."""

from collections.abc import Sequence
from html import escape
from urllib.parse import quote

from apps import cards
from apps.cards import Html
from engine.analytics.schemas import TYPICAL_INPUT, TYPICAL_OUTPUT
from engine.evals.schemas import QualityReport
from engine.kit.messages import t
from engine.kit.money import DEVELOPER_PERCENT, format_credits, split, token_price
from engine.market.schemas import ExpertView, StateChange

ROAD = ("trained", "tested", "pending_review", "approved", "published")
OFF_ROAD = {"testing": "trained", "rejected": "trained", "suspended": "approved", "retired": "approved"}
"""For each state beside the road, the last station that still stands."""
TONES = {
    "trained": "calm",
    "testing": "busy",
    "tested": "good",
    "rejected": "bad",
    "pending_review": "busy",
    "approved": "good",
    "published": "good",
    "suspended": "bad",
    "retired": "calm",
}
ROUTINE = ("Quality test started", "Test ended early", "Submitted for review", "Published")
"""Reasons that the flows write by themselves; the states beside them say the same in both languages."""


def state(name: str, language: str) -> Html:
    """Return a state of an expert as a sign and a word."""
    return cards.state(t(f"market.state_{name}", language), TONES[name])


def table(found: Sequence[ExpertView], language: str, page: str, empty: str) -> str:
    """Return experts with a link each to `page`; `empty` is said when there are none."""
    if not found:
        return cards.empty(empty)
    keys = ("title", "model_name", "version", "state", "prices", "calls", "created")
    rows: list[list[cards.Cell]] = [
        [
            cards.link(f"/{language}/studio/{page}?expert={expert.id}", expert.title),
            cards.code(expert.name),
            expert.version,
            state(expert.state, language),
            _prices(expert),
            expert.calls,
            cards.moment(expert.created_at, language),
        ]
        for expert in found
    ]
    return cards.table([t(f"studio.{key}", language) for key in keys], rows)


def _prices(expert: ExpertView) -> Html:
    words = f"{format_credits(expert.input_price_micro)} / {format_credits(expert.output_price_micro)}"
    return Html(f'<span class="mbe-num">{words}</span>', expert.input_price_micro + expert.output_price_micro)


def head(expert: ExpertView, developer: str, language: str, page: str) -> str:
    """Return an expert's title, name, version and where it stands on its road."""
    by = f" · {escape(t('studio.by', language, name=developer))}" if developer else ""
    return (
        f'<a class="mbe-back" href="/{language}/studio/{page}">← {t("studio.back_to_list", language)}</a>'
        f'<h1>{escape(expert.title)}</h1><p class="mbe-muted">{cards.code(expert.name).text} · '
        f"{escape(expert.version)}{by}</p>{track(expert.state, language)}"
    )


def knowledge(bases: Sequence[tuple[str, str]], language: str) -> str:
    """Return the ways to knowledge bases, given as (words, id); the page of a deleted one says so."""
    if not bases:
        return ""
    ways = [cards.link(f"/{language}/studio/?base={base_id}", words).text for words, base_id in bases]
    return f'<p class="mbe-muted">{t("studio.bases_of", language, bases=" · ".join(ways))}</p>'


def track(now: str, language: str) -> str:
    """Return the stations from trained to published, the reached ones ticked, the present one marked."""
    reached = ROAD.index(OFF_ROAD.get(now, now))
    stations = []
    for number, name in enumerate(ROAD):
        words = escape(t(f"market.state_{name}", language))
        if name == now:
            stations.append(f'<li aria-current="step">● {words}</li>')
        else:
            passed = number <= reached
            stations.append(f'<li class="{"passed" if passed else ""}">{"✓" if passed else "○"} {words}</li>')
        if now in OFF_ROAD and number == reached:
            tone = "bad" if TONES[now] == "bad" else ""
            sign, word = cards.TONES[TONES[now]], escape(t(f"market.state_{now}", language))
            stations.append(f'<li class="{tone}" aria-current="step">{sign} {word}</li>')
    return f'<ol class="mbe-track" aria-label="{t("studio.track", language)}">{"".join(stations)}</ol>'


def report(expert: ExpertView, language: str) -> str:
    """Return the last quality check: passed or what was missed, the numbers, the failed cases."""
    if expert.quality is None:
        return cards.empty(t("studio.no_report", language))
    found = QualityReport.model_validate(expert.quality)
    verdict = (
        cards.note(t("studio.check_passed", language, cases=found.cases), "good")
        if found.passed
        else "".join(cards.note(missed.message(language), "bad") for missed in found.missed)
    )
    numbers = cards.tiles(
        [
            (t("studio.accuracy", language), f"{found.accuracy:.0%}"),
            (t("studio.safety", language), f"{found.safety:.0%}"),
            (t("studio.p50", language), t("studio.ms", language, ms=f"{found.response_p50_ms:,}")),
            (t("studio.p95", language), t("studio.ms", language, ms=f"{found.response_p95_ms:,}")),
        ]
    )
    return f"{verdict}{numbers}{_failures(found, language)}"


def _failures(found: QualityReport, language: str) -> str:
    if not found.failures:
        return ""
    headers = [t(f"studio.{key}", language) for key in ("asked", "answer", "expected", "why")]
    rows: list[list[cards.Cell]] = [
        [failure.question, failure.answer or "–", failure.expected, failure.message(language)]
        for failure in found.failures
    ]
    title = t("studio.failures", language, count=len(found.failures))
    return f"<details><summary>{title}</summary>{cards.table(headers, rows, title)}</details>"


def earning(input_micro: int, output_micro: int, language: str, who: str = "you") -> str:
    """Return what the developer earns from a typical call; `who` is "you" or "developer"."""
    price = token_price(TYPICAL_INPUT, TYPICAL_OUTPUT, input_micro, output_micro)
    share, _ = split(price)
    return t(
        f"studio.typical_call_{who}",
        language,
        input=TYPICAL_INPUT,
        output=TYPICAL_OUTPUT,
        price=format_credits(price),
        share=format_credits(share),
        percent=DEVELOPER_PERCENT,
    )


def listing(expert: ExpertView, language: str, who: str = "you") -> str:
    """Return what the market shows of an expert, and what its developer earns."""
    tags = " ".join(f"#{tag}" for tag in expert.tags)
    rows = (
        ("description", expert.description),
        ("category", t(f"market.category_{expert.category}", language) if expert.category else ""),
        ("tags", tags),
        ("input_price", _per_thousand(expert.input_price_micro, language)),
        ("output_price", _per_thousand(expert.output_price_micro, language)),
        ("example", expert.example),
    )
    shown = "".join(
        f'<dt class="mbe-muted">{t(f"studio.{key}", language)}</dt>'
        f'<dd class="mbe-text">{escape(value) or "–"}</dd>'
        for key, value in rows
    )
    earns = escape(earning(expert.input_price_micro, expert.output_price_micro, language, who))
    return f'<div class="mbe-card"><dl class="mbe-facts">{shown}</dl><p class="mbe-muted">{earns}</p></div>'


def _per_thousand(micro: int, language: str) -> str:
    return t("studio.per_thousand", language, amount=format_credits(micro))


def market_link(expert: ExpertView, language: str) -> str:
    """Return the ways to a published expert on the market, and to its prices."""
    address = f"/{language}/market/expert?name={quote(expert.name)}"
    prices = f"/{language}/studio/prices?name={quote(expert.name)}"
    return (
        f'<p class="mbe-ways"><a href="{address}">{t("studio.see_on_market", language)}</a>'
        f'<a href="{prices}">{t("packages.to_prices", language)}</a></p>'
    )


def history(changes: Sequence[tuple[StateChange, str]], language: str) -> str:
    """Return who moved an expert where, when and why, the newest step first."""
    headers = [t(f"studio.{key}", language) for key in ("state", "who", "when", "why")]
    rows: list[list[cards.Cell]] = [
        [
            state(change.to_state, language),
            name or t("studio.platform", language),
            cards.moment(change.at, language),
            "" if change.reason in ROUTINE else change.reason,
        ]
        for change, name in reversed(changes)
    ]
    return cards.table(headers, rows, t("studio.history", language))
