"""HTML and plots about two versions in traffic: who gets what share, who fails more, who is slower."""

from html import escape

import plotly.graph_objects as go

from apps import cards
from apps.theme import SERIES, plotly_layout
from engine.flows.roll_out import Watched
from engine.kit.messages import t
from engine.market.schemas import ExpertView
from engine.serving.rollout_schemas import ARMS
from engine.serving.rollouts import interval, share

TONES = {"running": "busy", "promoted": "good", "rolled_back": "bad", "ended": "calm"}
COLOURS = {"stable": SERIES[0], "candidate": SERIES[4]}


def head(found: Watched, language: str) -> str:
    """Return where a rollout stands, and what each version got and did, as a table."""
    rollout = found.rollout
    sign = cards.state(t(f"rollouts.state_{rollout.state}", language), TONES[rollout.state]).text
    facts = {"version": found.candidate.version, "stable": found.stable.version}
    words = t(f"rollouts.told_{rollout.state}", language, share=rollout.weight_percent, **facts)
    since = cards.moment(rollout.ended_at or rollout.started_at, language).text
    top = f"<p>{sign} · {escape(words)} · {since}</p>"
    if rollout.state == "running":
        top += f"<p class='mbe-muted'>{escape(_promise(found, language))}</p>"
    return top + _table(found, language)


def _promise(found: Watched, language: str) -> str:
    rollout = found.rollout
    if rollout.strategy == "ab_test":
        return t("rollouts.stays", language)
    return t(
        "rollouts.goes_back",
        language,
        points=f"{rollout.margins.error_points / 10:g}",
        slower=rollout.margins.slower_percent,
        calls=f"{rollout.margins.least_calls:,}",
    )


def _table(found: Watched, language: str) -> str:
    headers = [t(f"rollouts.{key}", language) for key in ("version", "calls", "failed", "p50", "p95")]
    rows: list[list[cards.Cell]] = []
    for arm, version in zip(ARMS, (found.stable, found.candidate), strict=True):
        count = found.counts[arm]
        name = f"{version.version} · {t(f'rollouts.arm_{arm}', language)}"
        failed = f"{100 * share(count):.1f}%" if count.calls else "–"
        told = cards.Html(f'<span class="mbe-num">{failed}</span>', share(count))
        words = cards.Html(f'<span class="mbe-num">{escape(name)}</span>', version.version)
        rows.append([words, count.calls, told, _known(count.p50_ms), _known(count.p95_ms)])
    return cards.table(headers, rows, t("rollouts.compared", language))


def _known(value: int | None) -> cards.Cell:
    return "–" if value is None else value


def ended(found: Watched, language: str) -> str:
    """Return how a rollout ended, and why."""
    rollout = found.rollout
    facts = {"version": found.candidate.version, "stable": found.stable.version}
    words = t(f"rollouts.told_{rollout.state}", language, share=rollout.weight_percent, **facts)
    why = rollout.reason.message(language) if rollout.reason else ""
    tone = "bad" if rollout.state == "rolled_back" else ""
    return cards.note(f"{words} {why}", tone) + _table(found, language)


def go_to(expert: ExpertView, language: str) -> str:
    """Return the way to the approved version that can get a share."""
    link = cards.link(
        f"/{language}/studio/publish?expert={expert.id}",
        t("rollouts.go_to", language, version=expert.version),
    )
    return f"<p class='mbe-ways'>{link.text}</p>"


def failures(found: Watched, language: str) -> go.Figure | None:
    """Return the share of failed calls of both versions with its 95% interval; None before the first call."""
    if not any(found.counts[arm].calls for arm in ARMS):
        return None
    figure = go.Figure()
    for arm, version in zip(ARMS, (found.stable, found.candidate), strict=True):
        count = found.counts[arm]
        if not count.calls:
            continue
        low, high = (100 * end for end in interval(count))
        value = 100 * share(count)
        figure.add_scatter(
            x=[value],
            y=[version.version],
            mode="markers",
            marker={"color": COLOURS[arm], "size": 12},
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [high - value],
                "arrayminus": [value - low],
                "thickness": 2,
                "width": 8,
            },
            hovertemplate=f"%{{x:.1f}}% ({low:.1f}–{high:.1f}%)<extra></extra>",
        )
    return _laid_out(figure, _who_fails(found, language), t("rollouts.axis_failed", language), "%")


def _who_fails(found: Watched, language: str) -> str:
    """Say what the intervals say: one fails more, or nobody can tell yet."""
    stable, candidate = (interval(found.counts[arm]) for arm in ARMS)
    key = "same" if stable[0] <= candidate[1] and candidate[0] <= stable[1] else "more"
    if key == "more" and candidate[1] < stable[0]:
        key = "less"
    return t(f"rollouts.fails_{key}", language, version=found.candidate.version, stable=found.stable.version)


def _who_is_slower(found: Watched, language: str) -> str:
    slow, usual = found.counts["candidate"].p95_ms, found.counts["stable"].p95_ms
    if not slow or not usual:
        return t("rollouts.plot_latency", language)
    percent = round(100 * (slow - usual) / usual)
    key = "slower" if percent > 0 else "faster" if percent < 0 else "as_fast"
    facts = {"version": found.candidate.version, "stable": found.stable.version}
    return t(f"rollouts.{key}", language, percent=abs(percent), **facts)


def latency(found: Watched, language: str) -> go.Figure | None:
    """Return the middle and the 95th percentile of both versions' latencies; None before the first answer."""
    if all(found.counts[arm].p95_ms is None for arm in ARMS):
        return None
    figure = go.Figure()
    for arm, version in zip(ARMS, (found.stable, found.candidate), strict=True):
        count = found.counts[arm]
        if count.p50_ms is None or count.p95_ms is None:
            continue
        figure.add_scatter(
            x=[count.p50_ms, count.p95_ms],
            y=[version.version] * 2,
            mode="lines+markers+text",
            text=["p50", "p95"],
            textposition="top center",
            cliponaxis=False,
            line={"color": COLOURS[arm], "width": 3},
            marker={"color": COLOURS[arm], "size": 10},
            hovertemplate="%{text}: %{x:,} ms<extra></extra>",
        )
    return _laid_out(figure, _who_is_slower(found, language), t("rollouts.axis_ms", language), "")


def _laid_out(figure: go.Figure, title: str, axis: str, suffix: str) -> go.Figure:
    layout = plotly_layout()
    line = {"rangemode": "tozero", "title": {"text": axis}, "ticksuffix": suffix}
    figure.update_layout(
        **layout
        | {
            "title": {"text": title, "x": 0, "font": {"size": 16}},
            "height": 240,
            "showlegend": False,
            "hovermode": "closest",
            "margin": {"l": 64, "r": 24, "t": 56, "b": 48},
            "xaxis": {"gridcolor": "rgba(128,128,128,.25)", **line},
            "yaxis": {"type": "category", "showgrid": False, "range": [1.6, -0.6]},
        }
    )
    return figure
