"""The plot of a campaign: scores in, a plotly figure out. Its message stands above it on the page."""

from collections.abc import Sequence

import plotly.graph_objects as go

from apps.theme import colour_of, plotly_layout
from engine.evals.schemas import RUBRIC, ExpertResult, Score
from engine.kit.messages import t

ROW = 30
LONGEST_NAME = 24
CRITERIA = ("overall", *RUBRIC)


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def scores(experts: Sequence[ExpertResult], language: str) -> go.Figure:
    """Return a bar for each expert under each criterion, with 95% intervals, on the scale from 1 to 5."""
    single = len(experts) == 1
    figure = go.Figure(layout=plotly_layout())
    ticks: list[tuple[float, str]] = []
    row = 0.0
    for criterion in CRITERIA:
        words = t(f"human_eval.{criterion}", language)
        if not single:
            # The criterion stands as a line of its own above its experts.
            ticks.append((row, f"<b>{words}</b>"))
            row += 1
        for one in experts:
            score: Score = getattr(one, criterion)
            _bar(figure, row, one, score, words)
            ticks.append((row, words if single else _short(one.expert_name)))
            row += 1
        row += 0 if single else 0.4
    figure.update_layout(
        height=round(72 + ROW * row), hovermode="closest", showlegend=False, bargap=0, margin={"t": 8, "l": 8}
    )
    figure.update_xaxes(
        title_text=t("human_eval.axis_score", language),
        range=[1, 5.15],
        tickvals=[1, 2, 3, 4, 5],
        zeroline=False,
    )
    figure.update_yaxes(
        tickvals=[at for at, _ in ticks],
        ticktext=[words for _, words in ticks],
        range=[row - 0.4, -0.7],
        rangemode="normal",
        automargin=True,
        showgrid=False,
        zeroline=False,
    )
    return figure


def _bar(figure: go.Figure, row: float, one: ExpertResult, score: Score, words: str) -> None:
    span = "" if score.low is None else f" ({score.low:.2f} – {score.high:.2f})"
    figure.add_bar(
        x=[score.mean - 1],
        base=[1],
        y=[row],
        orientation="h",
        width=0.6,
        marker_color=colour_of(one.expert_name),
        hovertext=f"{one.expert_name} · {words}<br>{score.mean:.2f}{span}",
        hovertemplate="%{hovertext}<extra></extra>",
        error_x=None
        if score.low is None or score.high is None
        else {
            "type": "data",
            "symmetric": False,
            "array": [score.high - score.mean],
            "arrayminus": [score.mean - score.low],
            "thickness": 1.5,
            "width": 4,
        },
    )
