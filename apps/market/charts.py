"""The market's one plot: spending by day, stacked by expert."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from apps.theme import colour_of, plotly_layout
from engine.kit.messages import t
from engine.kit.money import CREDIT


def spending(days: Sequence[str], by_expert: Mapping[str, Sequence[int]], language: str) -> go.Figure:
    """Return spending per day in credits; `by_expert` holds micro-credits for each of `days` ("MM-DD")."""
    figure = go.Figure(layout=plotly_layout())
    for name, amounts in by_expert.items():
        figure.add_bar(
            x=list(days),
            y=[micro / CREDIT for micro in amounts],
            name=name,
            marker_color=colour_of(name),
            hovertemplate="%{y:.6~f}",
        )
    figure.update_layout(
        title_text=t("marketplace.plot_spending", language), height=320, barmode="stack", showlegend=True
    )
    # Below the plot, where many names do not run into the title on a phone.
    figure.update_layout(legend={"x": 0, "xanchor": "left", "y": -0.15, "yanchor": "top"})
    figure.update_yaxes(title_text=t("marketplace.unit_credits", language))
    # Whole days, so that a single day is not drawn as hours.
    figure.update_xaxes(type="category", nticks=6, tickangle=0)
    return figure
