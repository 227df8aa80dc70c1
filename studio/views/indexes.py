"""HTML and the bars of the indexes page."""

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from apps import cards
from apps.cards import Html
from apps.theme import SERIES, plotly_layout
from engine.flows.compare_indexes import Comparison
from engine.kit.messages import t
from engine.knowledge.schemas import BaseView, CheckView, IndexView, Snapshot

PACKAGED = ("minilm", "ngram")
MEASURES = ("recall_1", "recall_5", "mrr")
REFUSALS = ("refused_wrongly", "refused_rightly")


def head(base: BaseView, language: str) -> str:
    """Return the name of the base above what the page is for."""
    back = f"/{language}/studio/?base={base.id}"
    return (
        f'<a class="mbe-back" href="{escape(back)}">← {escape(base.name)}</a>'
        f"<h1>{t('studio.indexes', language)}</h1>"
        f'<p class="mbe-muted">{t("studio.indexes_why", language)}</p>'
    )


def embedder_name(name: str, language: str) -> str:
    """Return an embedding model in words; a model of the person's own by its name."""
    return t(f"studio.embedder_{name}", language) if name in PACKAGED else name


def target_words(tokens: int, language: str) -> str:
    """Return how long passages are, in words."""
    return t("studio.target_tokens", language, tokens=tokens)


def snapshot_words(kept: Snapshot, language: str) -> str:
    """Return a kept state in one line."""
    when = f"{kept.created_at:%Y-%m-%d %H:%M} UTC"
    return t("studio.snapshot_words", language, when=when, chunks=f"{kept.chunks:,}")


def table(found: Comparison, language: str) -> str:
    """Return both indexes side by side, or the one there is, and what to know before switching."""
    columns = [(found.live, found.live_check)]
    if found.other:
        columns.append((found.other, found.other_check))
    facts: list[tuple[str, Sequence[Html | str]]] = [
        ("embedding_model", [embedder_name(one.embedder, language) for one, _ in columns]),
        ("passage_length", [target_words(one.target_tokens, language) for one, _ in columns]),
        ("documents", [f"{one.documents:,}" for one, _ in columns]),
        ("indexed", [_indexed(one) for one, _ in columns]),
        *((name, [_share(check, name) for _, check in columns]) for name in (*MEASURES, *REFUSALS)),
    ]
    headers = ["", t("studio.index_live", language)]
    if found.other:
        headers.append(t("studio.index_beside", language))
    head_row = "".join(f'<th scope="col">{escape(words)}</th>' for words in headers)
    body = "".join(
        f'<tr><th scope="row">{escape(t(f"studio.{key}", language))}</th>{"".join(map(_cell, values))}</tr>'
        for key, values in facts
    )
    return (
        f'<div class="mbe-scroll"><table class="mbe-table mbe-sides"><thead><tr>{head_row}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>{_remarks(found, language)}"
    )


def _cell(value: Html | str) -> str:
    return f"<td>{value.text if isinstance(value, Html) else escape(value)}</td>"


def _indexed(one: IndexView) -> Html:
    whole = one.indexed_chunks == one.chunks
    return cards.state(f"{one.indexed_chunks:,} / {one.chunks:,}", "good" if whole else "busy")


def _share(check: CheckView | None, name: str) -> str:
    value = getattr(check, name) if check else None
    if value is None:
        return "–"
    return f"{value:.3f}" if name == "mrr" else f"{value:.1%}"


def _remarks(found: Comparison, language: str) -> str:
    """Say what the second index lacks and what would stay behind; nothing where all is well."""
    remarks = []
    if found.lacking:
        remarks.append(t("studio.second_lacks", language, count=f"{found.lacking:,}"))
    if found.left_behind:
        remarks.append(t("studio.left_behind", language, count=f"{found.left_behind:,}"))
    if found.other and found.live.least_evidence is not None and found.other.least_evidence is None:
        remarks.append(t("studio.threshold_stays", language))
    if found.other and not (found.live_check and found.other_check):
        remarks.append(t("studio.not_compared", language))
    return "".join(cards.note(words) for words in remarks)


def bars(found: Comparison, language: str) -> go.Figure | None:
    """Return what the saved questions find in both, side by side; the title says which finds more."""
    if not (found.live_check and found.other_check):
        return None
    figure = go.Figure()
    names = [t(f"studio.{name}", language) for name in MEASURES]
    sides = (("index_live", found.live_check, SERIES[0]), ("index_beside", found.other_check, SERIES[4]))
    for key, check, colour in sides:
        values = [getattr(check, name) for name in MEASURES]
        figure.add_bar(
            x=names, y=values, name=t(f"studio.{key}", language), marker={"color": colour},
            text=[f"{value:.3f}" for value in values], textposition="outside", cliponaxis=False,
            hovertemplate="%{x}: %{y:.3f}",
        )  # fmt: skip
    gain = found.other_check.mrr - found.live_check.mrr
    key = "second_better" if gain > 0 else "second_worse" if gain < 0 else "second_same"
    count = found.other_check.answerable
    title = t(f"studio.{key}", language, count=f"{count:,}")
    figure.update_layout(
        **plotly_layout()
        | {
            "title": {"text": title, "x": 0, "font": {"size": 16}},
            "xaxis": {"showgrid": False},
            "yaxis": {"range": [0, 1.12], "title": {"text": t("studio.axis_share", language)}},
            "height": 320,
            "barmode": "group",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "legend": {"orientation": "h", "y": -0.2},
        }
    )
    return figure
