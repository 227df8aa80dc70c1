"""The dashboard's plots: a table in, a plotly figure out. One message each; the title says it."""

import pandas as pd
import plotly.graph_objects as go

from apps.theme import LIGHT, SERIES, colour_of, plotly_layout
from engine.kit.messages import t
from engine.kit.money import CREDIT

HEIGHT = 320


def _figure(title: str, unit: str, dark: bool) -> go.Figure:
    figure = go.Figure(layout=plotly_layout(dark))
    figure.update_layout(title_text=title, height=HEIGHT)
    figure.update_yaxes(title_text=unit)
    return figure


def _by_day(figure: go.Figure, days: pd.Series) -> go.Figure:
    """Give the time axis whole days, so that a single day is not drawn as hours."""
    figure.update_xaxes(
        type="category", categoryorder="array", categoryarray=list(days), nticks=8, tickangle=0
    )
    return figure


def _days(frame: pd.DataFrame) -> pd.Series:
    return pd.to_datetime(frame["day"]).dt.strftime("%m-%d")


def revenue(frame: pd.DataFrame, language: str, dark: bool) -> go.Figure:
    """Revenue by day in credits, stacked into the developers' and the platform's share."""
    figure = _figure(t("dashboard.plot_revenue", language), t("dashboard.unit_credits", language), dark)
    for column, name, colour in (
        ("developer_micro", "dashboard.developers", SERIES[0]),
        ("platform_micro", "dashboard.platform", LIGHT.accent),
    ):
        figure.add_bar(
            x=_days(frame),
            y=frame[column] / CREDIT,
            name=t(name, language),
            marker_color=colour,
            hovertemplate="%{y:.6~f}",
        )
    figure.update_layout(barmode="stack")
    return _by_day(figure, _days(frame))


def calls(frame: pd.DataFrame, language: str, dark: bool) -> go.Figure:
    """Calls by day."""
    figure = _figure(t("dashboard.plot_calls", language), t("dashboard.unit_calls", language), dark)
    figure.add_bar(x=_days(frame), y=frame["calls"], name=t("dashboard.calls", language))
    return _by_day(figure, _days(frame))


def tokens(frame: pd.DataFrame, language: str, dark: bool) -> go.Figure:
    """Tokens by day."""
    figure = _figure(t("dashboard.plot_tokens", language), t("dashboard.unit_tokens", language), dark)
    figure.add_bar(
        x=_days(frame), y=frame["tokens"], name=t("dashboard.tokens", language), marker_color=SERIES[1]
    )
    return _by_day(figure, _days(frame))


def experts(frame: pd.DataFrame, language: str, dark: bool) -> go.Figure:
    """Revenue of the ten experts that earned most, in credits."""
    top = frame.head(10).iloc[::-1]
    figure = _figure(t("dashboard.plot_experts", language), "", dark)
    figure.add_bar(
        x=top["revenue_micro"] / CREDIT,
        y=top["expert_name"],
        orientation="h",
        marker_color=[colour_of(name) for name in top["expert_name"]],
        text=[f"{value / CREDIT:,.2f}" for value in top["revenue_micro"]],
        textposition="auto",
        hovertemplate="%{x:.6~f}<extra></extra>",
    )
    figure.update_layout(hovermode="closest", height=max(HEIGHT, 64 + 32 * len(top)))
    figure.update_xaxes(title_text=t("dashboard.unit_credits", language), rangemode="tozero")
    figure.update_yaxes(automargin=True)
    return figure


def latency(frame: pd.DataFrame, language: str, dark: bool) -> go.Figure:
    """Time to the whole answer by day: median and 95th percentile."""
    figure = _figure(t("dashboard.plot_latency", language), t("dashboard.unit_ms", language), dark)
    for column, name, colour in (("p50_ms", "p50", SERIES[0]), ("p95_ms", "p95", SERIES[2])):
        figure.add_scatter(
            x=_days(frame),
            y=frame[column],
            name=name,
            mode="lines+markers",
            line_color=colour,
            hovertemplate="%{y:,.0f} ms",
        )
    return _by_day(figure, _days(frame))


def people(frame: pd.DataFrame, language: str, dark: bool) -> go.Figure:
    """Different callers by day."""
    figure = _figure(t("dashboard.plot_people", language), t("dashboard.unit_people", language), dark)
    figure.add_bar(
        x=_days(frame), y=frame["people"], name=t("dashboard.people", language), marker_color=SERIES[3]
    )
    figure.update_yaxes(tickformat="d")
    return _by_day(figure, _days(frame))
