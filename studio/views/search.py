"""HTML and plots of a search: what it will take, how its trials did, and which is the best."""

from collections.abc import Sequence
from html import escape
from typing import Any

import plotly.graph_objects as go

from apps import cards
from apps.theme import FONTS, LIGHT, SERIES
from engine.flows.plan_limits import Use
from engine.flows.search_training import Outlook
from engine.jobs.schemas import JobView
from engine.kit.messages import t
from engine.market.schemas import ExpertView
from engine.training.schemas import RunView, SearchView, Tally, Trial
from engine.training.search import SearchSpace, best
from studio.views.preview import price_remarks, price_words

TONES = {"done": "good", "pruned": "calm", "failed": "bad", None: "busy"}
MARKS: dict[str, dict[str, Any]] = {
    "done": {"color": SERIES[0], "symbol": "circle", "size": 10},
    "pruned": {"color": LIGHT.muted, "symbol": "circle-open", "size": 10, "line": {"width": 2}},
    "failed": {"color": LIGHT.bad, "symbol": "x", "size": 10},
    "best": {"color": LIGHT.accent, "symbol": "star", "size": 16},
}
MOST_COMPARED = 3
MOST_EPOCHS_MARKED = 8
WIDE = 5
"""Losses whose largest is so many times the smallest are drawn by orders of magnitude."""


def _address(language: str, search_id: str) -> str:
    return f"/{language}/studio/train?search={search_id}"


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def rows(
    found: Sequence[tuple[SearchView, JobView | None, Tally]], language: str
) -> list[tuple[Any, list[cards.Cell]]]:
    """Return (when it began, cells) of searches for the table of training runs."""
    return [
        (
            search.created_at,
            [
                cards.link(_address(language, search.id), search.name),
                cards.state(job.state_text(language), cards.JOB_TONES[job.state]) if job else None,
                t("search.of_trials", language, ended=tally.ended, trials=search.space["trials"]),
                "–",
                _loss(tally.lowest),
                cards.moment(search.created_at, language),
            ],
        )
        for search, job, tally in found
    ]


def outlook(found: Outlook, use: Use, language: str) -> str:
    """Return how long a search takes at most, and what it needs."""
    needs, trials = found.estimate, found.space.trials
    time = (
        t("studio.check_time_unknown", language)
        if needs.seconds is None
        else t("studio.check_about", language, time=cards.duration(needs.seconds, language))
    )
    used, limit = cards.size(needs.memory), cards.size(needs.limit)
    memory = t("studio.check_memory_of", language, used=used, limit=limit)
    shown = cards.tiles(
        [
            (t("search.tile_trials", language), str(trials)),
            (t("search.tile_time", language), time),
            (t("machine.price", language), price_words(found.price, language)),
            (t("studio.check_memory", language), memory),
            (t("studio.check_tokens", language), f"{found.tokens:,}"),
        ]
    )
    shown += cards.note(t("search.time_why", language))
    if needs.seconds is not None:
        how = "check_time_measured" if needs.measured else "check_time_guessed"
        shown += cards.note(t(f"studio.{how}", language))
    most, spent = (
        (use.plan.gpu_seconds, use.spent.gpu) if needs.device else (use.plan.cpu_seconds, use.spent.cpu)
    )
    if most is not None:
        left = cards.duration(max(0.0, most - spent), language)
        shown += cards.note(t("studio.check_price", language, left=left, plan=use.plan.name))
    return shown + "".join(cards.note(words, tone) for words, tone in price_remarks(found.price, language))


def head(search: SearchView, dataset: str, language: str) -> str:
    """Return a search's name, what it is made of, and where it looks."""
    space = SearchSpace.from_dict(search.space)
    facts = t(
        "search.facts",
        language,
        dataset=dataset,
        base=search.base_model,
        ranks=", ".join(map(str, space.rank)),
        low=f"{space.learning_rate[0]:g}",
        high=f"{space.learning_rate[1]:g}",
        fewest=space.epochs[0],
        most=space.epochs[1],
    )
    return (
        f'<a class="mbe-back" href="/{language}/studio/train">← {t("studio.back_to_list", language)}</a>'
        f'<h1>{escape(search.name)}</h1><p class="mbe-muted">{escape(facts)}</p>'
    )


def verdict(job: JobView, trials: Sequence[Trial], expert: ExpertView | None, language: str) -> str:
    """Return what is being done, which trial is the best, and where to go next."""
    shown = ""
    running = next((trial for trial in trials if trial.ended is None), None)
    steps = job.metrics.get("trial_steps")
    if running and steps and job.state == "running":
        facts = {"number": running.number, "step": f"{job.metrics['trial_step']:,}", "steps": f"{steps:,}"}
        shown += f"<p class='mbe-muted'>{escape(t('search.now', language, **facts))}</p>"
    winner = best(trials)
    if winner is None:
        return shown or cards.note(t("search.nothing_yet", language))
    facts = {
        "number": winner.number,
        "loss": _loss(winner.eval_loss),
        "rank": winner.rank,
        "rate": f"{winner.learning_rate:g}",
        "epochs": winner.epochs,
    }
    finished = job.state == "succeeded"
    words = t("search.best" if finished else "search.best_so_far", language, **facts)
    first = trials[0]
    if winner is not first and first.ended == "done":
        words += t("search.against_first", language, loss=_loss(first.eval_loss))
    shown += cards.note(words, "good")
    if expert:
        run = f"/{language}/studio/train?run={winner.run_id}"
        shown += (
            f'<a class="mbe-button" href="/{language}/studio/publish?expert={expert.id}">'
            f"{t('studio.test_it', language)}</a>"
            f'<p class="mbe-ways"><a href="{run}">{t("search.to_winner", language)}</a></p>'
        )
    return shown


def losses(trials: Sequence[Trial], language: str) -> go.Figure | None:
    """Return the held-out loss of every trial, and the lowest so far; None before the first has ended."""
    figure = _points(trials, [trial.number for trial in trials], language)
    if figure is None:
        return None
    done = [trial for trial in trials if trial.ended == "done" and trial.eval_loss is not None]
    lowest = [min(one.eval_loss or 0.0 for one in done[: n + 1]) for n in range(len(done))]
    figure.add_scatter(
        x=[trial.number for trial in done],
        y=lowest,
        name=t("search.lowest", language),
        mode="lines",
        line={"color": SERIES[0], "width": 1.5, "shape": "hv", "dash": "dot"},
        hoverinfo="skip",
    )
    _lay_out(figure, t("search.losses", language), t("search.axis_trial", language), language)
    figure.update_xaxes(dtick=1 if len(trials) <= 15 else 5)
    figure.update_layout(
        height=380,
        showlegend=True,
        legend={"orientation": "h", "y": -0.22, "x": 0, "bgcolor": "rgba(0,0,0,0)"},
        margin={"l": 60, "r": 20, "t": 48, "b": 88},
    )
    return figure


def against(name: str, trials: Sequence[Trial], language: str) -> go.Figure | None:
    """Return the held-out losses against one of the values that were searched."""
    figure = _points(trials, [getattr(trial, name) for trial in trials], language)
    if figure is None:
        return None
    _lay_out(figure, t(f"search.by_{name}", language), t(f"studio.recipe_{name}", language), language)
    values = sorted({getattr(trial, name) for trial in trials})
    if name == "rank":
        figure.update_xaxes(type="log", tickvals=values, ticktext=[str(value) for value in values])
    elif name == "learning_rate":
        figure.update_xaxes(**_by_size(values[0], values[-1]))
    elif values[-1] - values[0] <= MOST_EPOCHS_MARKED:
        figure.update_xaxes(dtick=1)
    figure.update_layout(height=280, showlegend=False, margin={"l": 52, "r": 12, "t": 40, "b": 44})
    return figure


def _by_size(low: float, high: float) -> dict[str, Any]:
    """Return an axis by orders of magnitude, marked at round values or, where few lie on it, at its ends."""
    marks: list[float] = []
    for factors in ((1,), (1, 3), (1, 2, 5)):
        marks = [float(f"{factor}e{power}") for power in range(-9, 9) for factor in factors]
        marks = [mark for mark in marks if low <= mark <= high]
        if len(marks) > 1:
            break
    else:
        marks = [low, high]
    return {"type": "log", "tickvals": marks, "ticktext": [f"{mark:.3g}" for mark in marks]}


def _points(trials: Sequence[Trial], places: Sequence[Any], language: str) -> go.Figure | None:
    """Return a figure with a mark for each trial that has ended; those without a loss stand at the top."""
    known = [trial.eval_loss for trial in trials if trial.ended and trial.eval_loss is not None]
    if not known:
        return None
    top, winner = max(known), best(trials)
    figure = go.Figure()
    for kind, mark in MARKS.items():
        chosen = [
            (place, trial)
            for place, trial in zip(places, trials, strict=True)
            if trial.ended and ("best" if trial is winner else trial.ended) == kind
        ]
        if chosen:
            figure.add_scatter(
                x=[place for place, _ in chosen],
                y=[top if trial.eval_loss is None else trial.eval_loss for _, trial in chosen],
                name=t(f"search.ended_{kind}", language),
                mode="markers",
                marker=mark,
                text=[_hover(trial, language) for _, trial in chosen],
                hovertemplate="%{text}<extra></extra>",
            )
    if min(known) > 0 and top / min(known) > WIDE:
        # What is good would else lie on one line at the bottom.
        figure.update_yaxes(**_by_size(min(known), top))
    return figure


def _hover(trial: Trial, language: str) -> str:
    return t(
        "search.hover",
        language,
        number=trial.number,
        loss=_loss(trial.eval_loss),
        rank=trial.rank,
        rate=f"{trial.learning_rate:g}",
        epochs=trial.epochs,
    )


def _lay_out(figure: go.Figure, title: str, below: str, language: str) -> None:
    small = {"size": 13}
    figure.update_layout(
        title={"text": title, "x": 0, "font": {"size": 15}},
        xaxis={"title": {"text": below, "font": small}, "gridcolor": LIGHT.line},
        yaxis={"title": {"text": t("search.axis_loss", language), "font": small}, "gridcolor": LIGHT.line},
        font={"family": FONTS, "size": 13},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
    )


def table(trials: Sequence[Trial], winner: Trial | None, goes_on: bool, language: str) -> str:
    """Return the trials with their values and how they ended, each a link to its own page.

    `goes_on` tells whether the search does, or may: a trial that has not ended is not under way without it.
    """
    if not trials:
        return ""
    keys = (
        "search.trial",
        "studio.state",
        "studio.recipe_rank",
        "studio.recipe_learning_rate",
        "studio.recipe_epochs",
        "studio.eval_loss",
        "studio.time",
    )
    body: list[list[cards.Cell]] = [
        [
            cards.link(
                f"/{language}/studio/train?run={trial.run_id}",
                t("search.trial_number", language, number=trial.number),
            ),
            _state(trial, trial is winner, goes_on, language),
            str(trial.rank),
            f"{trial.learning_rate:g}",
            str(trial.epochs),
            _loss(trial.eval_loss),
            "–" if trial.seconds is None else cards.duration(trial.seconds, language),
        ]
        for trial in trials
    ]
    shown = f"<h2>{t('search.trials_title', language)}</h2>"
    shown += cards.table([t(key, language) for key in keys], body, t("search.trials_title", language))
    done = [trial for trial in trials if trial.ended == "done" and trial.eval_loss is not None]
    done.sort(key=lambda trial: (trial.eval_loss, trial.number))
    if len(done) > 1:
        ids = ",".join(trial.run_id for trial in done[:MOST_COMPARED])
        words = t("search.compare", language, count=len(done[:MOST_COMPARED]))
        shown += f'<p class="mbe-ways"><a href="/{language}/studio/train?compare={ids}">{words}</a></p>'
    reasons = [(trial.number, trial.error_text(language)) for trial in trials if trial.error]
    return shown + "".join(
        cards.note(t("search.reason", language, number=number, reason=reason), "bad")
        for number, reason in reasons
    )


def _state(trial: Trial, winning: bool, goes_on: bool, language: str) -> cards.Html:
    ended = trial.ended or ("running" if goes_on else "broken_off")
    shown = cards.state(t(f"search.ended_{ended}", language), TONES[trial.ended] if goes_on else "calm")
    return (
        cards.Html(f"{shown.text} · ★ {t('search.ended_best', language)}", shown.sort) if winning else shown
    )


def part_of(run: RunView, language: str) -> str:
    """Return a trial's place in its search, with the way there; nothing for a training by itself."""
    if run.search_id is None:
        return ""
    words = t("search.part_of", language, number=run.trial)
    return f'<p class="mbe-ways"><a href="{_address(language, run.search_id)}">{words}</a></p>'


def trial_result(run: RunView, language: str) -> str:
    """Return how a trial ended that is not an expert; nothing while it goes."""
    if run.ended is None:
        return ""
    given = run.result or {}
    shown = cards.tiles(
        [
            (t("studio.loss", language), _loss(run.final_loss)),
            (t("studio.eval_loss", language), _loss(run.final_eval_loss)),
            (t("studio.time", language), cards.duration(float(given.get("seconds") or 0.0), language)),
        ]
    )
    return shown + cards.note(t(f"search.told_{run.ended}", language), "bad" if run.ended == "failed" else "")
