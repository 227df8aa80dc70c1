"""HTML and curves of the training page."""

import math
from collections.abc import Sequence
from datetime import datetime
from html import escape
from typing import Any

import plotly.graph_objects as go

from apps import cards
from apps.theme import FONTS, LIGHT, SERIES
from engine.jobs.schemas import JobView
from engine.kit.messages import t
from engine.market.schemas import ExpertView
from engine.training.drawing import curve_words, lines
from engine.training.prompting import is_prompt
from engine.training.schemas import Point, RunView, SearchView, Serving, Tally
from studio.views.search import rows as search_rows

FILES = "/api/admin/training"
"""The gateway's routes of reports, as the front door serves them."""

CSS = """
.mbe-page dl.mbe-files{display:grid;grid-template-columns:1fr auto;gap:12px 24px;align-items:center;
 margin:8px 0 0}
.mbe-files dt{min-width:0;color:var(--ink)} .mbe-files dt span{display:block;font-size:14px}
.mbe-files dd{margin:0;display:flex;gap:8px;flex-wrap:wrap;justify-content:flex-end}
.mbe-page .mbe-files a{border:1px solid var(--line);border-radius:8px;padding:4px 12px;color:var(--primary);
 text-decoration:none;white-space:nowrap;font-weight:500}
.mbe-page .mbe-files a:hover{border-color:var(--primary)}
.mbe-page pre.mbe-prompt{white-space:pre-wrap;overflow-wrap:anywhere;font:inherit;color:var(--ink)}
.mbe-page p.mbe-files{margin-top:12px} .mbe-page p.mbe-files a{margin-left:4px;padding:2px 8px}
@media(max-width:600px){.mbe-page dl.mbe-files{grid-template-columns:1fr;gap:6px}
 .mbe-files dd{justify-content:flex-start;margin-bottom:8px}}
"""

TRAIN_COLOUR, HELD_OUT_COLOUR = SERIES[0], SERIES[4]


def _address(language: str, run_id: str) -> str:
    return f"/{language}/studio/train?run={run_id}"


def runs(
    found: Sequence[tuple[RunView, JobView | None]],
    searches: Sequence[tuple[SearchView, JobView | None, Tally]],
    language: str,
) -> str:
    """Return the table of runs and searches with how each stands, newest first."""
    if not found and not searches:
        return cards.empty(t("studio.no_runs", language))
    headers = [
        t(f"studio.{key}", language) for key in ("name", "state", "steps", "loss", "eval_loss", "created")
    ]
    rows: list[tuple[datetime, list[cards.Cell]]] = [
        (
            run.created_at,
            [
                cards.link(_address(language, run.id), run.name),
                cards.state(job.state_text(language), cards.JOB_TONES[job.state]) if job else None,
                f"{job.done:,} / {job.total:,}" if job and job.total else "–",
                _loss(run.final_loss),
                _loss(run.final_eval_loss),
                cards.moment(run.created_at, language),
            ],
        )
        for run, job in found
    ]
    rows += search_rows(searches, language)
    rows.sort(key=lambda row: row[0], reverse=True)
    table = cards.table(headers, [cells for _, cells in rows], t("studio.tab_train", language))
    some = any(run.finished_at for run, _ in found) or any(one.best_run_id for one, _, _ in searches)
    return table + (everything(language) if some else "")


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def no_dataset(language: str) -> str:
    """Return what stands where the form would, before there is anything to train with."""
    return cards.empty(
        t("studio.train_needs_data", language), f"/{language}/studio/data", t("studio.import_data", language)
    )


def proposal(recipe: dict[str, Any], rows: int, language: str) -> str:
    """Return what a recipe comes to: epochs and steps."""
    per_step = recipe["batch_size"] * recipe["accumulation"]
    steps = math.ceil(rows / per_step) * recipe["epochs"]
    words = t(
        "studio.recipe_words",
        language,
        rows=f"{rows:,}",
        epochs=recipe["epochs"],
        steps=f"{steps:,}",
        rank=recipe["rank"],
    )
    return f'<p class="mbe-muted">{escape(words)}</p>'


def head(run: RunView, dataset: str, language: str) -> str:
    """Return a run's name and what it is made of."""
    recipe = run.recipe
    if is_prompt(recipe):
        return _prompt_head(run, dataset, language)
    facts = t(
        "studio.run_facts",
        language,
        method=recipe.get("method", "sft").upper(),
        dataset=dataset,
        base=run.base_model,
        rank=recipe.get("rank", "–"),
        rate=f"{recipe.get('learning_rate', 0):g}",
        epochs=recipe.get("epochs", "–"),
        batch=recipe.get("batch_size", "–"),
    )
    return _title(run, facts, language)


def _title(run: RunView, facts: str, language: str) -> str:
    return (
        f'<a class="mbe-back" href="/{language}/studio/train">← {t("studio.back_to_list", language)}</a>'
        f'<h1>{escape(run.name)}</h1><p class="mbe-muted">{escape(facts)}</p>'
    )


def _prompt_head(run: RunView, dataset: str, language: str) -> str:
    facts = t("prompting.facts", language, dataset=dataset, base=run.base_model)
    again = f"/{language}/studio/train?prompt={run.id}"
    written = f'<pre class="mbe-card mbe-prompt">{escape(run.recipe["template"])}</pre>'
    return (
        f"{_title(run, facts, language)}{written}"
        f'<p class="mbe-ways"><a href="{escape(again)}">{t("prompting.again", language)}</a></p>'
    )


def curve(points: Sequence[Point], finished: bool, language: str) -> go.Figure:
    """Return loss and held-out loss by step; the title says what they show."""
    train, held_out = lines(points)
    preferences = any(point.margin is not None for point in points)
    figure = go.Figure()
    for values, key, colour, mode in (
        (train, "loss", TRAIN_COLOUR, "lines"),
        (held_out, "eval_loss", HELD_OUT_COLOUR, "lines+markers"),
    ):
        if values:
            _draw(figure, values, t(f"studio.{key}", language), colour, mode)
    figure.update_layout(
        title={"text": curve_words(points, finished, language), "x": 0, "font": {"size": 16}},
        xaxis={
            "title": {"text": t("studio.axis_step", language), "font": {"size": 14}},
            "rangemode": "tozero",
            "gridcolor": LIGHT.line,
        },
        yaxis={
            "title": {
                "text": t(f"studio.axis_{'preference_' if preferences else ''}loss", language),
                "font": {"size": 14},
            },
            "rangemode": "tozero",
            "gridcolor": LIGHT.line,
        },
        font={"family": FONTS, "size": 14},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 60, "r": 110, "t": 48, "b": 48},
        height=360,
        showlegend=False,
        hovermode="x unified",
    )
    return figure


def _draw(figure: go.Figure, values: Sequence[tuple[int, float]], name: str, colour: str, mode: str) -> None:
    """Add one line, named at its end; the second name stands lower, as the lines often meet there."""
    steps, losses = zip(*values, strict=True)
    lower = -14 if figure.data else 6
    figure.add_scatter(
        x=steps,
        y=losses,
        name=name,
        mode=mode,
        line={"color": colour, "width": 2},
        hovertemplate="%{y:.4f}",
    )
    figure.add_annotation(
        x=steps[-1],
        y=losses[-1],
        text=name,
        showarrow=False,
        xanchor="left",
        xshift=8,
        yshift=lower,
        font={"color": colour},
    )


def result(run: RunView, job: JobView, expert: ExpertView | None, language: str) -> str:
    """Return what a finished run came to, and where to go next."""
    given = job.result or {}
    trained = [
        (t("studio.loss", language), _loss(run.final_loss)),
        (t("studio.steps", language), f"{given.get('steps', job.done):,}"),
    ]
    shown = cards.tiles(
        [
            (t("studio.eval_loss", language), _loss(run.final_eval_loss)),
            *([] if is_prompt(run.recipe) else trained),
            (t("studio.time", language), cards.duration(float(given.get("seconds", 0.0)), language)),
        ]
    )
    shown += serving(given.get("serving"), language)
    if expert:
        shown += (
            f'<a class="mbe-button" href="/{language}/studio/publish?expert={expert.id}">'
            f"{t('studio.test_it', language)}</a>"
        )
    return shown + files(job, language)


def serving(given: dict[str, Any] | None, language: str) -> str:
    """Return how what is served compares with what was trained; nothing for older runs."""
    if given is None:
        return ""
    found = Serving.model_validate(given)
    tones = {"same": "good", "differs": "bad", "unchecked": ""}
    facts = {"tokens": found.tokens, "others": found.others, "largest": f"{found.largest:.2g}"}
    return cards.note(t(f"studio.serving_{found.state}", language, **facts), tones[found.state])


def files(job: JobView, language: str) -> str:
    """Return links to what a finished run leaves behind: report, model card, registry entry."""
    spoken = f"language={language}"
    kinds = {
        "report": (("HTML", f"format=html&{spoken}"), ("Markdown", f"format=md&{spoken}")),
        "card": (("README.md", spoken),),
        "registry": (("YAML", "format=yaml"), ("JSON", "format=json")),
    }
    shown = "".join(
        f"<dt>{t(f'studio.file_{name}', language)}"
        f'<span class="mbe-muted">{t(f"studio.file_{name}_why", language)}</span></dt>'
        f"<dd>{_ways(f'{FILES}/{job.id}/{name}', ways)}</dd>"
        for name, ways in kinds.items()
    )
    return f'<h2>{t("studio.files", language)}</h2><dl class="mbe-card mbe-files">{shown}</dl>'


def _ways(address: str, kinds: Sequence[tuple[str, str]]) -> str:
    return "".join(f'<a href="{escape(f"{address}?{query}")}">{escape(kind)}</a>' for kind, query in kinds)


def everything(language: str) -> str:
    """Return links to the registry of all of the tenant's experts."""
    ways = _ways(f"{FILES}/registry", (("YAML", "format=yaml"), ("JSON", "format=json")))
    return f'<p class="mbe-files mbe-muted">{t("studio.whole_registry", language)} {ways}</p>'
