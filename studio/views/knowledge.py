"""HTML of the knowledge page."""

from collections.abc import Sequence
from html import escape

from apps import cards
from apps.cards import Html
from engine.kit.messages import t
from engine.knowledge.schemas import BaseView, DocumentView

STATE_TONES = {"stored": "calm", "chunked": "good", "failed": "bad"}


def _address(language: str, base_id: str) -> str:
    return f"/{language}/studio/?base={base_id}"


def bases(found: Sequence[BaseView], language: str) -> str:
    """Return the table of knowledge bases."""
    if not found:
        return cards.empty(t("studio.no_bases", language))
    headers = [
        t(f"studio.{key}", language)
        for key in ("name", "language", "documents", "chunks", "indexed", "created")
    ]
    rows: list[list[cards.Cell]] = [
        [
            cards.link(_address(language, base.id), base.name),
            t(f"studio.language_{base.language}", language),
            base.documents,
            base.chunks,
            _indexed(base, language),
            cards.moment(base.created_at, language),
        ]
        for base in found
    ]
    return cards.table(headers, rows, t("studio.tab_knowledge", language))


def _indexed(base: BaseView, language: str) -> Html:
    """Say whether everything in a base can be found."""
    if not base.documents:
        return Html(cards.muted(t("studio.empty_base", language)).text, 0)
    if not base.chunks and not base.disabled:
        return Html(cards.state(t("studio.not_prepared", language), "calm").text, 0)
    whole = base.indexed_chunks == base.chunks
    words = f"{base.indexed_chunks:,} / {base.chunks:,}"
    return Html(cards.state(words, "good" if whole else "busy").text, base.indexed_chunks)


def head(base: BaseView, language: str) -> str:
    """Return the name of a base above its counts."""
    counts = cards.tiles(
        [
            (t("studio.documents", language), f"{base.documents:,}"),
            (t("studio.chunks", language), f"{base.chunks:,}"),
            (t("studio.indexed", language), f"{base.indexed_chunks:,}"),
            (t("studio.language", language), t(f"studio.language_{base.language}", language)),
        ]
    )
    back = t("studio.back_to_list", language)
    return (
        f'<a class="mbe-back" href="/{language}/studio/">← {back}</a><h1>{escape(base.name)}</h1>{counts}'
        f'<p class="mbe-ways">{_way("retrieval", "check_retrieval", base, language)}'
        f"{_way('passages', 'look_at_passages', base, language)}"
        f"{_way('indexes', 'look_at_indexes', base, language)}</p>"
    )


def _way(path: str, words: str, base: BaseView, language: str) -> str:
    """Return the link to a page about this base."""
    return (
        f'<a href="/{language}/studio/{path}?base={escape(base.id)}">{t(f"studio.{words}", language)} →</a>'
    )


def documents(found: Sequence[DocumentView], language: str) -> str:
    """Return the table of a base's documents."""
    if not found:
        return cards.empty(t("studio.no_documents", language))
    headers = [t(f"studio.{key}", language) for key in ("name", "size", "state", "chunks", "added")]
    rows: list[list[cards.Cell]] = [
        [
            _name(document),
            Html(f'<span class="mbe-num">{cards.size(document.size)}</span>', document.size),
            _state(document, language),
            document.chunks,
            cards.moment(document.created_at, language),
        ]
        for document in found
    ]
    return cards.table(headers, rows, t("studio.documents", language))


def _name(document: DocumentView) -> cards.Cell:
    link = document.source_url and cards.outside_link(document.source_url, document.name)
    if not document.labels:
        return link or document.name
    shown = link.text if link else escape(document.name)
    return Html(f"{shown}<br>{cards.muted(' · '.join(document.labels)).text}", document.name)


def _state(document: DocumentView, language: str) -> Html:
    words = t(f"studio.document_{document.state}", language)
    shown = cards.state(words, STATE_TONES[document.state])
    if document.error is None:
        return shown
    return Html(
        f'{shown.text}<br><span class="mbe-muted">{escape(t(document.error, language))}</span>', words
    )
