"""What one run measured and said beside its loss, as small plots and tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from statistics import median

import plotly.graph_objects as go

from apps.theme import FONTS, LIGHT, SERIES
from engine.kit.messages import t
from engine.training.prompting import is_prompt
from engine.training.schemas import Point, RunView, Sample

CSS = """
.mbe-page .mbe-samples th{white-space:normal;min-width:180px;overflow-wrap:anywhere;vertical-align:bottom;
 font-weight:500;color:var(--ink)}
.mbe-page .mbe-samples:not(.mbe-side) :is(th,td):first-child{min-width:64px;color:var(--muted);
 white-space:nowrap}
.mbe-page .mbe-samples td+td{min-width:180px;white-space:pre-wrap;overflow-wrap:anywhere}
"""
UNITS = ((1 << 30, "GB"), (1 << 20, "MB"))


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """A quantity of `Point` that is drawn by itself: its colour, and how a value of it is written."""

    name: str
    colour: str
    written: Callable[[float], str]


def _short(value: float) -> str:
    return f"{value:.3g}"


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


GAUGES = (
    Gauge(name="eval_accuracy", colour=SERIES[2], written=_percent),
    Gauge(name="eval_margin", colour=SERIES[4], written=_short),
    Gauge(name="margin", colour=SERIES[0], written=_short),
    Gauge(name="learning_rate", colour=SERIES[3], written=_short),
    Gauge(name="grad_norm", colour=SERIES[5], written=_short),
    Gauge(name="tokens_per_second", colour=SERIES[1], written=_whole),
    Gauge(name="memory", colour=SERIES[6], written=_short),
)


def course(points: Sequence[Point], language: str) -> list[go.Figure | None]:
    """Return a small plot for each of GAUGES; None where a run has measured nothing of it."""
    return [_plot(gauge, points, language) for gauge in GAUGES]


def _plot(gauge: Gauge, points: Sequence[Point], language: str) -> go.Figure | None:
    measured = [(p.step, getattr(p, gauge.name)) for p in points if getattr(p, gauge.name) is not None]
    if not measured:
        return None
    steps, values = zip(*measured, strict=True)
    size, unit = next((pair for pair in UNITS if max(values) >= pair[0]), UNITS[-1])
    if gauge.name == "memory":
        values = tuple(value / size for value in values)
    facts = {"last": values[-1], "most": max(values), "middle": median(values)}
    words = {name: gauge.written(value) for name, value in facts.items()}
    figure = go.Figure()
    figure.add_scatter(
        x=steps,
        y=values,
        mode="lines" if len(values) > 1 else "markers",
        line={"color": gauge.colour, "width": 2},
        hovertemplate="%{y:.4~g}<extra></extra>",
    )
    axis = {"rangemode": "tozero", "gridcolor": LIGHT.line, "nticks": 6}
    figure.update_layout(
        title={"text": t(f"runs.{gauge.name}", language, unit=unit, **words), "x": 0, "font": {"size": 14}},
        xaxis={**axis, "title": {"text": t("runs.step", language), "font": {"size": 13}}},
        yaxis=axis,
        font={"family": FONTS, "size": 13},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 52, "r": 12, "t": 40, "b": 44},
        height=230,
        showlegend=False,
        hovermode="x unified",
    )
    return figure


def samples(run: RunView, said: Sequence[Sample], language: str) -> str:
    """Return what the model answered to the run's questions, a row a step, the latest first."""
    if not run.questions:
        return ""
    if is_prompt(run.recipe):
        return _answers(said, language)
    why = t("runs.samples_why" if said else "runs.samples_later", language)
    top = f"<h2>{t('runs.samples', language)}</h2><p class='mbe-muted'>{escape(why)}</p>"
    if not said:
        return top
    by_place = {(sample.step, sample.number): sample.answer for sample in said}
    steps = sorted({sample.step for sample in said}, reverse=True)
    rows = [
        [f"{step:,}", *(by_place.get((step, n), "–") or "–" for n in range(len(run.questions)))]
        for step in steps
    ]
    return top + texts([t("runs.step", language), *run.questions], rows, t("runs.samples", language))


def _answers(said: Sequence[Sample], language: str) -> str:
    """Return what an expert answered that is a prompt, once."""
    if not said:
        return ""
    title = t("prompting.answers", language)
    rows = [[sample.question, sample.answer or "–"] for sample in said]
    headers = [t(f"report.{key}", language) for key in ("question", "answer")]
    return f"<h2>{title}</h2>{texts(headers, rows, title, 'mbe-side')}"


def texts(headers: Sequence[str], rows: Sequence[Sequence[str]], caption: str, more: str = "") -> str:
    """Return a table of texts that may be long; the first column is short without the class "mbe-side"."""
    head = "".join(f'<th scope="col">{escape(words)}</th>' for words in headers)
    body = "".join("<tr>" + "".join(f"<td>{escape(words)}</td>" for words in row) + "</tr>" for row in rows)
    return (
        f'<div class="mbe-scroll"><table class="mbe-table mbe-samples {more}" aria-label="{escape(caption)}">'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
