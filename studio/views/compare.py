"""Training runs side by side; each has a letter, as their names may be long."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from apps import cards
from apps.theme import FONTS, LIGHT, SERIES
from engine.flows.compare_trainings import Comparison, Contender
from engine.jobs.schemas import JobView
from engine.kit.messages import t
from engine.training.schemas import RunView
from studio.views.runs import texts

LETTERS = "ABCD"


def choices(found: Sequence[tuple[RunView, JobView | None]], language: str) -> list[tuple[str, str]]:
    """Return (words, id) of the runs to choose from; equal names are told apart by when they began."""
    return [(f"{run.name} · {cards.ago(run.created_at, language)}", run.id) for run, _ in found]


def head(found: Comparison, language: str) -> str:
    """Return what can be said in a sentence, below the way back."""
    facts = {}
    for letter, run in zip(LETTERS, found.runs, strict=False):
        if run.run_id == found.lowest:
            facts = {"letter": letter, "name": run.name, "loss": _loss(run.held_out_loss)}
    words = t(f"runs.verdict_{found.verdict}", language, **facts)
    return (
        f'<a class="mbe-back" href="/{language}/studio/train">← {t("studio.back_to_list", language)}</a>'
        f"<h1>{t('runs.compare', language)}</h1>{cards.note(words, 'good' if found.lowest else '')}"
    )


def curves(found: Comparison, language: str) -> go.Figure | None:
    """Return the held-out losses in one figure; None while there are none."""
    if not any(run.held_out for run in found.runs):
        return None
    figure = go.Figure()
    for place, run in enumerate(found.runs):
        if run.held_out:
            _draw(figure, place, run)
    key = "runs.compare_curves" if found.comparable else "runs.compare_curves_apart"
    axis = {"rangemode": "tozero", "gridcolor": LIGHT.line}
    figure.update_layout(
        title={"text": t(key, language), "x": 0, "font": {"size": 16}},
        xaxis={**axis, "title": {"text": t("runs.step", language), "font": {"size": 14}}},
        yaxis={**axis, "title": {"text": t("runs.axis_loss", language), "font": {"size": 14}}},
        font={"family": FONTS, "size": 14},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 60, "r": 76, "t": 48, "b": 48},
        height=360,
        showlegend=False,
        hovermode="x unified",
    )
    return figure


def _draw(figure: go.Figure, place: int, run: Contender) -> None:
    letter, colour = LETTERS[place], SERIES[place]
    steps, losses = zip(*run.held_out, strict=True)
    figure.add_scatter(
        x=steps,
        y=losses,
        # Plotly reads some HTML in names.
        name=f"{letter} · {escape(run.name)}",
        mode="lines+markers",
        line={"color": colour, "width": 2},
        hovertemplate="%{y:.4f}",
    )
    figure.add_annotation(
        x=steps[-1],
        y=losses[-1],
        text=f"<b>{letter}</b>",
        showarrow=False,
        xanchor="left",
        # Lines often end at the same place; their letters then stand side by side.
        xshift=8 + 16 * place,
        font={"color": colour},
    )


def facts(found: Comparison, language: str) -> str:
    """Return the figures of the runs, the settings that differ, and their answers."""
    shown = f"<h2>{t('runs.figures', language)}</h2>{_figures(found, language)}"
    shown += f"<h2>{t('runs.settings', language)}</h2>{_settings(found, language)}"
    return f"{shown}<h2>{t('runs.answers', language)}</h2>{_answers(found, language)}"


def _figures(found: Comparison, language: str) -> str:
    keys = ("runs.training", "studio.state", "studio.steps", "studio.loss", "studio.eval_loss", "studio.time")
    rows: list[list[cards.Cell]] = [
        [
            cards.link(f"/{language}/studio/train?run={run.run_id}", f"{letter} · {run.name}"),
            cards.state(t(f"jobs.state_{run.state}", language), cards.JOB_TONES[run.state])
            if run.state
            else None,
            f"{run.steps:,}",
            _loss(run.loss),
            _loss(run.held_out_loss),
            "–" if run.seconds is None else cards.duration(run.seconds, language),
        ]
        for letter, run in zip(LETTERS, found.runs, strict=False)
    ]
    return cards.table([t(key, language) for key in keys], rows, t("runs.figures", language))


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _settings(found: Comparison, language: str) -> str:
    if not found.settings:
        return f"<p class='mbe-muted'>{t('runs.settings_same', language)}</p>"
    headers = [t("runs.setting", language), *LETTERS[: len(found.runs)]]
    rows = [
        [_named(one.name, language), *(_value(v, language) for v in one.values)] for one in found.settings
    ]
    return cards.table(headers, rows, t("runs.settings", language))


def _named(name: str, language: str) -> str:
    whole = name in ("dataset", "knowledge_bases", "base_model")
    return t(f"report.{name}" if whole else f"report.field_{name}", language)


def _value(value: Any, language: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, list):
        return ", ".join(value) or t("runs.no_bases", language)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _answers(found: Comparison, language: str) -> str:
    if not found.answers:
        return f"<p class='mbe-muted'>{t('runs.answers_none', language)}</p>"
    named = [f"{letter} · {run.name}" for letter, run in zip(LETTERS, found.runs, strict=False)]
    rows = [[one.question, *(a.answer or "–" if a else "–" for a in one.answers)] for one in found.answers]
    headers = [t("runs.question", language), *named]
    return texts(headers, rows, t("runs.answers", language), "mbe-side")
