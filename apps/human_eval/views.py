"""HTML of the human evaluation pages."""

from collections.abc import Sequence
from html import escape

from apps import cards
from apps.theme import colour_of
from engine.evals.schemas import (
    RUBRIC,
    CampaignResults,
    CampaignView,
    CommentView,
    ExpertResult,
    Score,
    TaskView,
)
from engine.kit.messages import t
from engine.market.schemas import ExpertView

CSS = """
.mbe-task p{white-space:pre-wrap;overflow-wrap:anywhere;margin:0 0 16px;font-size:18px}
.mbe-task div{white-space:pre-wrap;overflow-wrap:anywhere}
.mbe-page .mbe-table td a{padding:0} .mbe-table :is(time,.mbe-state){white-space:nowrap}
.mbe-table details summary{cursor:pointer;list-style:none;display:-webkit-box;-webkit-line-clamp:2;
 -webkit-box-orient:vertical;overflow:hidden;overflow-wrap:anywhere}
.mbe-table details[open] summary{-webkit-line-clamp:unset;font-weight:500}
.mbe-table details div{white-space:pre-wrap;overflow-wrap:anywhere;color:var(--muted);margin-top:4px}
.mbe-page .js-plotly-plot :is(.xtick,.ytick) text,.mbe-page .js-plotly-plot :is(.xtitle,.ytitle),
.mbe-page .js-plotly-plot :is(.bartext,.annotation-text){fill:var(--ink)!important}
.mbe-page .js-plotly-plot :is(.gridlayer,.zerolinelayer) path{stroke:var(--line)!important}
.mbe-page .js-plotly-plot :is(.xerror,.yerror){stroke:var(--ink)!important}
@media(max-width:760px){.mbe-page .mbe-table td{min-width:72px}
 .mbe-page .mbe-table td:is(:first-child,:nth-last-child(2)){min-width:140px}}
"""


def address(language: str, path: str = "", **query: str) -> str:
    """Return the address of a page; ids need no quoting."""
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return f"/{language}/human-eval/{path}" + (f"?{asked}" if asked else "")


def refusal(path: str, other: str | None, language: str) -> str:
    """Return what a page is and who uses it, and the way to a page that the person can use."""
    words = t(f"human_eval.for_{path or 'tasks'}", language)
    if other is None:
        return cards.empty(words, f"/{language}/", t("human_eval.to_front", language))
    return cards.empty(words, address(language, other), t(f"human_eval.tab_{other or 'tasks'}", language))


def task(one: TaskView, language: str) -> str:
    """Return a question and its answer, without whose it is."""
    quiet = '<span class="mbe-muted">{}</span>'
    asked, said = (quiet.format(t(f"human_eval.{key}", language)) for key in ("question", "answer"))
    answer = escape(one.answer) or quiet.format(t("human_eval.said_nothing", language))
    return (
        f'<section class="mbe-card mbe-task">{asked}<p>{escape(one.question)}</p>'
        f"{said}<div>{answer}</div></section>"
    )


def nothing_left(rated: bool, language: str) -> str:
    """Return what stands in place of the task when none is left."""
    return cards.empty(t("human_eval.all_rated" if rated else "human_eval.nothing_yet", language))


def progress(count: int, most: int, language: str) -> str:
    """Return how many answers the person has rated; beyond `most` it is not counted on."""
    shown = f"{count}+" if count >= most else str(count)
    return f'<p class="mbe-muted mbe-num">{t("human_eval.rated_count", language, count=shown)}</p>'


def rated(found: Sequence[TaskView], language: str) -> str:
    """Return what the person rated, newest first; nothing before the first."""
    if not found:
        return ""
    headers = [t(f"human_eval.{key}", language) for key in ("question", *RUBRIC, "comment", "when")]
    rows: list[list[cards.Cell]] = [
        [
            _opens(one.question, one.answer),
            one.accuracy,
            one.helpfulness,
            one.tone,
            one.comment or None,
            cards.moment(one.submitted_at, language),
        ]
        for one in found
    ]
    title = t("human_eval.rated_title", language)
    return f"<h2>{title}</h2>{cards.table(headers, rows, title)}"


def _opens(question: str, answer: str) -> cards.Html:
    """Return a question that opens to its answer."""
    return cards.Html(
        f"<details><summary>{escape(question)}</summary><div>{escape(answer)}</div></details>", question
    )


def expert_name(one: ExpertView, language: str) -> str:
    """Return an expert's version and where it stands."""
    return f"{one.title} {one.version} · {t(f'market.state_{one.state}', language)}"


def no_experts(language: str) -> str:
    """Return what stands in place of the form while no expert has been tested."""
    words = t("human_eval.to_train", language)
    return cards.empty(t("human_eval.no_experts", language), f"/{language}/studio/train", words)


def campaigns(found: Sequence[CampaignView], language: str) -> str:
    """Return the table of campaigns, newest first."""
    if not found:
        return cards.empty(t("human_eval.no_campaigns", language))
    keys = ("title", "answers", "judgements_each", "done", "created")
    headers = [t(f"human_eval.{key}", language) for key in keys]
    rows: list[list[cards.Cell]] = [
        [
            cards.link(address(language, "campaigns", campaign=one.id), one.title),
            one.items,
            one.judgements_each,
            _done(one),
            cards.moment(one.created_at, language),
        ]
        for one in found
    ]
    return cards.table(headers, rows, t("human_eval.tab_campaigns", language))


def _done(one: CampaignView) -> cards.Html:
    whole = one.done >= one.total
    shown = cards.state(f"{one.done:,} / {one.total:,}", "good" if whole else "busy" if one.done else "calm")
    return cards.Html(shown.text, one.done / one.total)


def head(one: CampaignView, language: str) -> str:
    """Return a campaign's name, how far it is, and its numbers."""
    share = round(100 * one.done / one.total)
    words = t("human_eval.judged", language, done=f"{one.done:,}", total=f"{one.total:,}")
    facts = t("human_eval.facts", language, answers=f"{one.items:,}", each=one.judgements_each)
    return (
        f'<a class="mbe-back" href="{address(language, "campaigns")}">← '
        f"{t('human_eval.tab_campaigns', language)}</a><h1>{escape(one.title)}</h1>"
        f'<div class="mbe-card"><div class="mbe-job-top"><b>{words}</b>'
        f'<span class="mbe-muted">{facts} · {cards.moment(one.created_at, language).text}</span></div>'
        f'<div class="mbe-bar-track" role="progressbar" aria-valuenow="{share}" aria-valuemin="0" '
        f'aria-valuemax="100"><i style="width:{share}%"></i></div></div>'
    )


def message(found: CampaignResults, language: str) -> str:
    """Return the message of the plot: who was rated best, unless the intervals overlap."""
    if not found.experts:
        return cards.empty(t("human_eval.no_ratings", language))
    first = found.experts[0]
    facts = {"name": first.expert_name, "mean": f"{first.overall.mean:.1f}"}
    if len(found.experts) == 1:
        words = t("human_eval.message_one", language, **facts)
    elif all(_apart(first.overall, one.overall) for one in found.experts[1:]):
        words = t("human_eval.message_best", language, **facts)
    else:
        words = t("human_eval.message_open", language)
    return f"<h2>{escape(words)}</h2><p class='mbe-muted'>{t('human_eval.how_to_read', language)}</p>"


def _apart(best: Score, other: Score) -> bool:
    return best.low is not None and other.high is not None and best.low > other.high


def found(results: CampaignResults, language: str) -> str:
    """Return the table of experts with means and 95% intervals, best first."""
    if not results.experts:
        return ""
    keys = ("expert", "ratings", "overall", *RUBRIC)
    headers = [t(f"human_eval.{key}", language) for key in keys]
    rows: list[list[cards.Cell]] = [
        [
            _expert(one),
            one.count,
            *(_mean(score) for score in (one.overall, one.accuracy, one.helpfulness, one.tone)),
        ]
        for one in results.experts
    ]
    return cards.table(headers, rows, t("human_eval.expert", language))


def _expert(one: ExpertResult) -> cards.Html:
    dot = f'<span class="mbe-dot" style="background:{colour_of(one.expert_name)}"></span>'
    return cards.Html(dot + escape(one.expert_name), one.expert_name)


def _mean(score: Score) -> cards.Html:
    span = "" if score.low is None else f" <span class='mbe-muted'>{score.low:.1f} – {score.high:.1f}</span>"
    return cards.Html(f"<span class='mbe-num'><b>{score.mean:.2f}</b>{span}</span>", score.mean)


def comments(found: Sequence[CommentView], language: str) -> str:
    """Return what people wrote beside their scores, newest first."""
    if not found:
        return ""
    headers = [t(f"human_eval.{key}", language) for key in ("expert", "question", "comment")]
    rows = [[one.expert_name, one.question, one.comment] for one in found]
    title = t("human_eval.comments", language)
    return f"<h2>{title}</h2>{cards.table(headers, rows, title)}"
