"""What a training would be, before it starts: figures, lengths, and examples as the model sees them."""

from html import escape

import plotly.graph_objects as go

from apps import cards
from apps.theme import FONTS, LIGHT, SERIES
from engine.flows.plan_limits import Use
from engine.flows.preview_training import Preview
from engine.flows.price_training import Price
from engine.kit.messages import t
from engine.kit.money import format_credits
from engine.kit.settings import settings
from engine.training.estimate import Estimate
from engine.training.preview import Piece, Seen

CSS = """
.mbe-seen{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:12px 16px;
 margin:8px 0;line-height:1.9;white-space:pre-wrap;overflow-wrap:anywhere}
.mbe-seen small{display:block;color:var(--muted);white-space:normal}
.mbe-page .mbe-seen i{font-style:normal;color:var(--muted)!important;margin-right:1px;
 border-bottom:1px solid var(--line)}
.mbe-seen b{font-weight:400;color:var(--ink);margin-right:1px;border-radius:3px;
 background:color-mix(in srgb,var(--good) 22%,transparent)}
.mbe-seen b:nth-of-type(even){background:color-mix(in srgb,var(--good) 38%,transparent)}
.mbe-seen.bad b{background:color-mix(in srgb,var(--bad) 22%,transparent)}
.mbe-seen.bad b:nth-of-type(even){background:color-mix(in srgb,var(--bad) 38%,transparent)}
"""
MOST_PIECES = 600
BINS = 30


def figures(found: Preview, use: Use, language: str) -> str:
    """Return memory, time and tokens, and what is wrong with any of them."""
    needs = found.estimate
    shown = cards.tiles(
        [
            (t("studio.check_memory", language), _memory(needs, language)),
            (t("studio.check_time", language), _time(needs, language)),
            (t("machine.price", language), price_words(found.price, language)),
            (t("studio.check_tokens", language), f"{found.tokens:,}"),
            (t("studio.check_longest", language), f"{max(found.lengths, default=0):,}"),
        ]
    )
    return shown + "".join(cards.note(words, tone) for words, tone in _remarks(found, use, language))


def price_words(price: Price, language: str) -> str:
    """Return about what a training costs."""
    if price.free:
        return t("machine.free_here", language)
    if price.estimate_micro is None:
        return t("machine.price_unknown", language)
    return t("machine.price_about", language, amount=about(price.estimate_micro))


def about(micro: int) -> str:
    """Return an amount as exactly as an estimate is: two figures, and never nothing for something."""
    figures = max(0, len(str(micro)) - 2)
    return format_credits(-(-micro // 10**figures) * 10**figures)


def price_remarks(price: Price, language: str) -> list[tuple[str, str]]:
    """Return how a price comes about and what the wallet has, each with its tone; nothing when it is free."""
    if price.free:
        return []
    facts = {
        "balance": format_credits(price.balance_micro),
        "needed": about(price.needed_micro),
        "missing": about(price.missing_micro),
        "owed": format_credits(price.owed_micro),
    }
    told = [(t("machine.price_why", language, **facts), "")]
    if price.owed_micro:
        told.append((t("machine.price_owed", language, **facts), ""))
    if price.missing_micro:
        key = "machine.price_missing_add" if settings().free_credits else "machine.price_missing"
        told.append((t(key, language, **facts), "bad"))
    return told


def _memory(needs: Estimate, language: str) -> str:
    used, limit = cards.size(needs.memory), cards.size(needs.limit)
    return t("studio.check_memory_of", language, used=used, limit=limit)


def _time(needs: Estimate, language: str) -> str:
    if needs.seconds is None:
        return t("studio.check_time_unknown", language)
    return t("studio.check_about", language, time=cards.duration(needs.seconds, language))


def _remarks(found: Preview, use: Use, language: str) -> list[tuple[str, str]]:
    needs, looked = found.estimate, len(found.lengths)
    remarks = []
    if not needs.fits:
        key = "check_never_fits" if needs.fitting is None else "check_would_fit"
        facts = needs.fitting.to_dict() if needs.fitting else {}
        remarks.append((t(f"studio.{key}", language, **facts), "bad"))
    if found.empty:
        facts = {"count": found.empty, "looked": looked, "most": found.recipe.max_length}
        remarks.append((t("studio.check_empty", language, **facts), "bad"))
    elif found.cut:
        facts = {"count": found.cut, "looked": looked, "most": found.recipe.max_length}
        remarks.append((t("studio.check_cut", language, **facts), "bad"))
    else:
        remarks.append((t("studio.check_whole", language, looked=looked), "good"))
    if needs.seconds is not None:
        how = "check_time_measured" if needs.measured else "check_time_guessed"
        remarks.append((t(f"studio.{how}", language), ""))
    plan = use.plan
    most, spent = (plan.gpu_seconds, use.spent.gpu) if needs.device else (plan.cpu_seconds, use.spent.cpu)
    if most is not None:
        left = cards.duration(max(0.0, most - spent), language)
        remarks.append((t("studio.check_price", language, left=left, plan=plan.name), ""))
    return remarks + price_remarks(found.price, language)


def lengths(found: Preview, language: str) -> go.Figure:
    """Return how long the sampled examples are, and where they would be cut."""
    figure = go.Figure(go.Histogram(x=found.lengths, nbinsx=BINS, marker={"color": SERIES[0]}))
    most = found.recipe.max_length
    if max(found.lengths, default=0) > most / 2:
        figure.add_vline(x=most, line={"color": SERIES[4], "width": 2, "dash": "dash"})
    title = t("studio.check_lengths", language, count=len(found.lengths))
    axis = {"gridcolor": LIGHT.line, "rangemode": "tozero"}
    figure.update_layout(
        title={"text": title, "x": 0, "font": {"size": 16}},
        xaxis={**axis, "title": {"text": t("studio.axis_tokens", language), "font": {"size": 14}}},
        yaxis={**axis, "title": {"text": t("studio.axis_examples", language), "font": {"size": 14}}},
        font={"family": FONTS, "size": 14},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 60, "r": 24, "t": 48, "b": 48},
        height=260,
        bargap=0.05,
        showlegend=False,
    )
    return figure


def examples(found: Preview, language: str) -> str:
    """Return some examples token by token; those that are learnt are marked."""
    key = "check_examples" if found.recipe.method == "sft" else "check_preferences"
    words = t(f"studio.{key}", language)
    return f'<p class="mbe-muted">{words}</p>' + "".join(_example(one, language) for one in found.shown)


def _example(one: Seen, language: str) -> str:
    key = {None: "check_example", True: "check_better", False: "check_worse"}[one.good]
    told = t(f"studio.{key}", language, length=one.length, learnt=one.learnt)
    pieces, half = one.pieces, MOST_PIECES // 2
    shown = _html(pieces)
    if len(pieces) > MOST_PIECES:
        # The answer stands last: of a long prompt the middle is left out.
        words = t("studio.check_gap", language, count=len(pieces) - MOST_PIECES)
        shown = f"{_html(pieces[:half])}<small>{words}</small>{_html(pieces[-half:])}"
    tone = " bad" if one.good is False else ""
    return f'<div class="mbe-seen{tone}"><small>{told}</small>{shown}</div>'


def _html(pieces: list[Piece]) -> str:
    return "".join(
        f"<b>{escape(piece.text)}</b>" if piece.learnt else f"<i>{escape(piece.text)}</i>" for piece in pieces
    )
