"""The leaderboard's plots: ratings in, a plotly figure out. Their messages stand above them on the page."""

from collections.abc import Sequence

import plotly.graph_objects as go

from apps.theme import colour_of, plotly_layout
from arena.schemas import Rating, WinsMatrix
from arena.views import model_name
from engine.kit.messages import t

ROW = 36
LONGEST_NAME = 26
LONGEST_COLUMN = 14
MOST_WRITTEN = 10
ROOM = 150
"""Points beyond the outermost ratings; an interval that reaches further runs out of the plot."""

# From nothing to the primary colour, light enough for words on it in both modes.
SHADES = [[0, "rgba(47,93,168,0)"], [1, "rgba(47,93,168,0.55)"]]


def _short(name: str, most: int = LONGEST_NAME) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def ratings(found: Sequence[Rating], language: str) -> go.Figure:
    """Return a dot for each model with its 95% interval, best on top."""
    rows = list(range(len(found)))
    names = [model_name(one.model, one.name, language) for one in found]
    figure = go.Figure(layout=plotly_layout())
    for row, name, one in zip(rows, names, found, strict=True):
        figure.add_scatter(
            x=[one.rating],
            y=[row],
            error_x={
                "type": "data",
                "symmetric": False,
                "array": [one.high - one.rating],
                "arrayminus": [one.rating - one.low],
                "thickness": 2,
                "width": 5,
            },
            mode="markers",
            marker={"color": colour_of(one.name), "size": 11},
            name=name,
            showlegend=False,
            hovertemplate=f"%{{x:,.0f}} ({one.low:,.0f} – {one.high:,.0f})<extra></extra>",
        )
    middle = [one.rating for one in found]
    figure.update_layout(height=84 + ROW * len(found), hovermode="closest", margin={"t": 8, "l": 8, "r": 16})
    figure.update_xaxes(
        title_text=t("arena_page.axis_rating", language), range=[min(middle) - ROOM, max(middle) + ROOM]
    )
    figure.update_yaxes(
        tickvals=rows,
        ticktext=[_short(name) for name in names],
        range=[len(found) - 0.5, -0.5],
        rangemode="normal",
        automargin=True,
        zeroline=False,
    )
    return figure


def matrix(wins: WinsMatrix, language: str) -> go.Figure:
    """Return how often the row's model beat the column's: the share as shade, won of met as words."""
    size = len(wins.models)
    names = [model_name(one, name, language) for one, name in zip(wins.models, wins.names, strict=True)]
    shares: list[list[float | None]] = []
    words: list[list[str]] = []
    for i in range(size):
        met = [wins.wins[i][j] + wins.wins[j][i] for j in range(size)]
        shares.append([wins.wins[i][j] / met[j] if met[j] else None for j in range(size)])
        words.append([f"{wins.wins[i][j]:g} / {met[j]:g}" if met[j] else "" for j in range(size)])
    figure = go.Figure(layout=plotly_layout())
    figure.add_heatmap(
        z=shares,
        text=words,
        texttemplate="%{text}" if size <= MOST_WRITTEN else None,
        customdata=[[f"{row} – {column}" for column in names] for row in names],
        hovertemplate="%{customdata}<br>%{text} (%{z:.0%})<extra></extra>",
        hoverongaps=False,
        colorscale=SHADES,
        zmin=0,
        zmax=1,
        showscale=False,
        xgap=2,
        ygap=2,
    )
    places = list(range(size))
    columns, rows = [_short(name, LONGEST_COLUMN) for name in names], [_short(name) for name in names]
    figure.update_layout(
        height=120 + ROW * size, hovermode="closest", margin={"t": 8, "l": 8, "r": 8, "b": 8}
    )
    figure.update_xaxes(
        tickvals=places, ticktext=columns, side="top", automargin=True, showgrid=False, zeroline=False
    )
    figure.update_yaxes(
        tickvals=places,
        ticktext=rows,
        autorange="reversed",
        automargin=True,
        showgrid=False,
        zeroline=False,
    )
    return figure
