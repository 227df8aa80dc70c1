"""HTML and the curve of the retrieval page."""

from collections.abc import Sequence
from html import escape
from urllib.parse import urlencode

import plotly.graph_objects as go

from apps import cards
from apps.cards import Html
from apps.theme import SERIES, plotly_layout
from engine.kit.messages import t
from engine.knowledge.schemas import BaseView, CheckView, ChunkView, Passage, QuestionView, Trace

CSS = """
.mbe-legs{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:16px;margin-top:12px}
.mbe-legs h3{margin:0 0 8px!important;font-size:15px!important}
.mbe-legs .mbe-card{margin-bottom:8px;padding:10px 12px}
.mbe-legs .mbe-text{display:-webkit-box;-webkit-line-clamp:5;-webkit-box-orient:vertical;overflow:hidden}
.mbe-legs .mbe-given{border-left:3px solid var(--good)}
@media(max-width:760px){.mbe-legs{grid-template-columns:minmax(0,1fr)}}
"""
SHORT = 90  # characters of a passage in a choice


def address(language: str, base_id: str, question: str = "") -> str:
    """Return the address of the page, with a question that it looks into at once."""
    asked = {"base": base_id} | ({"question": question} if question else {})
    return f"/{language}/studio/retrieval?{urlencode(asked)}"


def head(base: BaseView, language: str) -> str:
    """Return the name of the base above what the page is for."""
    back = f"/{language}/studio/?base={base.id}"
    why = cards.empty(t("studio.prepare_first", language), back, t("studio.to_base", language))
    return (
        f'<a class="mbe-back" href="{escape(back)}">← {escape(base.name)}</a>'
        f"<h1>{t('studio.check_retrieval', language)}</h1>"
        f'<p class="mbe-muted">{t("studio.check_retrieval_why", language)}</p>'
        f"{'' if base.indexed_chunks or base.disabled else why}"
    )


def short(passage: Passage) -> str:
    """Return a passage in one line."""
    text = " ".join(passage.text.split())
    return f"{passage.document_name} · {text[:SHORT]}{'…' if len(text) > SHORT else ''}"


def trace(found: Trace, shown: int, language: str) -> str:
    """Return the verdict on a question above the three lists."""
    words = {"evidence": f"{found.evidence:.2f}", "least": f"{found.least:.2f}", "count": len(found.used)}
    key = "studio.question_answered" if found.used else "studio.question_refused"
    verdict = cards.note(t(key, language, **words), "good" if found.used else "bad")
    legs = (
        ("leg_fused", [_passage(passage, found, language) for passage in found.fused]),
        (
            "leg_words",
            [_chunk(c, t("studio.bm25", language, score=f"{s:.1f}"), found) for c, s in found.words],
        ),
        (
            "leg_near",
            [_chunk(c, t("studio.cosine", language, score=f"{s:.2f}"), found) for c, s in found.near],
        ),
    )
    lists = "".join(
        f"<div><h3>{t(f'studio.{key}', language)}</h3>"
        f"{''.join(items[:shown]) or cards.muted(t('studio.leg_empty', language)).text}</div>"
        for key, items in legs
    )
    return f'<style>{CSS}</style>{verdict}<div class="mbe-legs">{lists}</div>'


def _chunk(chunk: ChunkView, score: str, found: Trace) -> str:
    return _card(chunk.document_name, score, chunk.text, found.question, "")


def _passage(passage: Passage, found: Trace, language: str) -> str:
    score = t("studio.fused_score", language, score=f"{passage.score:.2f}")
    given = t("studio.given", language) if passage.chunk_id in found.used else ""
    return _card(passage.document_name, score, passage.text, found.question, given)


def _card(name: str, score: str, text: str, question: str, given: str) -> str:
    mark = f"<div>{cards.state(given, 'good').text}</div>" if given else ""
    return (
        f'<div class="mbe-card{" mbe-given" if given else ""}"><div class="mbe-job-top">'
        f'<span class="mbe-muted">{escape(name)}</span>'
        f'<span class="mbe-muted mbe-num">{escape(score)}</span></div>'
        f'<div class="mbe-text">{cards.marked(text, question)}</div>{mark}</div>'
    )


def result(past: Sequence[CheckView], language: str) -> str:
    """Return what the latest check found, or what stands there before the first."""
    if not past:
        return cards.empty(t("studio.no_checks", language))
    last = past[-1]
    tiles = cards.tiles(
        [
            (t("studio.recall_1", language), f"{last.recall_1:.0%}"),
            (t("studio.recall_5", language), f"{last.recall_5:.0%}"),
            (t("studio.mrr", language), f"{last.mrr:.2f}"),
            (t("studio.refused_wrongly", language), _share(last.refused_wrongly)),
            (t("studio.refused_rightly", language), _share(last.refused_rightly)),
            (t("studio.threshold", language), f"{last.least_evidence:.2f}"),
        ]
    )
    words = t(
        "studio.check_words",
        language,
        answerable=last.answerable,
        unanswerable=last.unanswerable,
        chunks=f"{last.chunks:,}",
        embedder=last.embedder,
    )
    when = cards.moment(last.created_at, language).text
    return f'{tiles}<p class="mbe-muted">{escape(words)} · {when}</p>'


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def curve(past: Sequence[CheckView], language: str) -> go.Figure:
    """Return recall and MRR over the checks; the title says what became of them."""
    figure = go.Figure()
    numbers = list(range(1, len(past) + 1))
    for key, colour in (("recall_5", SERIES[0]), ("mrr", SERIES[4])):
        name = t(f"studio.{key}", language)
        values = [getattr(each, key) for each in past]
        figure.add_scatter(
            x=numbers, y=values, name=name, mode="lines+markers", line={"color": colour},
            hovertemplate="%{y:.3f}",
        )  # fmt: skip
    first, last = past[0].recall_5, past[-1].recall_5
    title = t("studio.recall_over_time", language, first=f"{first:.0%}", last=f"{last:.0%}")
    layout = plotly_layout() | {
        "title": {"text": title, "x": 0, "font": {"size": 16}},
        "xaxis": {"title": {"text": t("studio.axis_check", language)}, "dtick": max(1, len(past) // 10)},
        "yaxis": {"range": [0, 1.05], "title": {"text": t("studio.axis_share", language)}},
        "height": 320,
        "hovermode": "x unified",
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "legend": {"orientation": "h", "y": -0.3},
    }
    figure.update_layout(**layout)
    return figure


def questions(saved: Sequence[QuestionView], base_id: str, language: str) -> str:
    """Return the table of saved questions; each leads to what it finds."""
    if not saved:
        return cards.empty(t("studio.no_questions", language))
    headers = [t(f"studio.{key}", language) for key in ("asked", "answered_in", "added")]
    rows: list[list[cards.Cell]] = [
        [
            cards.link(address(language, base_id, question.text), question.text),
            _answer(question, language),
            cards.moment(question.created_at, language),
        ]
        for question in saved
    ]
    return cards.table(headers, rows, t("studio.saved_questions", language))


def _answer(question: QuestionView, language: str) -> Html | str:
    return question.document_name or cards.muted(t("studio.nowhere", language))
