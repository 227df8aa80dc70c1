"""HTML of the passages page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from urllib.parse import urlencode

from apps import cards, passage
from engine.kit.messages import t
from engine.knowledge.schemas import BaseView, ChunkView, PlaceView

PAGE = 10
CSS = """
.mbe-clip{display:-webkit-box;-webkit-line-clamp:6;-webkit-box-orient:vertical;overflow:hidden;margin:8px 0}
.mbe-page .mbe-out .mbe-clip{color:var(--muted)}
.mbe-marks{display:flex;flex-wrap:wrap;gap:4px 6px;align-items:start}
.mbe-mark{border:1px solid var(--line);border-radius:12px;padding:0 10px;font-size:14px;white-space:nowrap}
.mbe-page .mbe-top-line{color:var(--muted);overflow-wrap:anywhere;flex:1 1 200px;min-width:0}
.mbe-page :is(.mbe-open,.mbe-pager a){color:var(--primary);font-weight:500;text-decoration:none;padding:0}
.mbe-page :is(.mbe-open,.mbe-pager a):hover{text-decoration:underline}
.mbe-page .mbe-pager{display:flex;flex-wrap:wrap;gap:4px 20px;align-items:baseline;margin:0 0 8px;
 font-variant-numeric:tabular-nums}
.mbe-page .mbe-pager,.mbe-page .mbe-pager span{color:var(--muted)}
.mbe-page nav.mbe-pager{margin:16px 0 0}
"""


@dataclass(frozen=True, kw_only=True)
class Where:
    """What the page's address names: a base, a page of its passages from 1, the words that they hold.

    With `chunk_id` it names one passage, and the list that leads back to it.
    """

    base_id: str
    page: int = 1
    words: str = ""
    chunk_id: str = ""

    def query(self) -> str:
        """Return the part of the address after the question mark."""
        asked = {"base": self.base_id, "page": self.page, "words": self.words, "chunk": self.chunk_id}
        return urlencode({name: said for name, said in asked.items() if said})

    def address(self, language: str) -> str:
        """Return the whole address."""
        return f"/{language}/studio/passages?{self.query()}"


def title(base: BaseView, language: str) -> str:
    """Return what stands above the list."""
    return (
        f'<a class="mbe-back" href="/{language}/studio/?base={base.id}">← {escape(base.name)}</a>'
        f"<h1>{t('studio.tab_passages', language)}</h1>"
        f'<p class="mbe-muted">{t("studio.passages_why", language)}</p>'
    )


def passages(found: Sequence[ChunkView], where: Where, total: int, disabled: int, language: str) -> str:
    """Return one page of passages between two lines that say which page it is.

    `total` are the passages on all pages; `disabled` those of the base that were taken out.
    """
    if not found and not where.words:
        to_base = f"/{language}/studio/?base={where.base_id}"
        return cards.empty(t("studio.no_chunks", language), to_base, t("studio.to_base", language))
    everything = Where(base_id=where.base_id).address(language)
    if not found:
        words = t("studio.nothing_holds", language, words=where.words)
        return cards.empty(words, everything, t("studio.all_passages", language))
    key = "studio.page_of_words" if where.words else "studio.page_of"
    pages = pages_of(total)
    line = t(key, language, page=where.page, pages=pages, total=f"{total:,}", words=where.words)
    if where.words:
        above = f'{escape(line)} <a href="{escape(everything)}">{t("studio.all_passages", language)}</a>'
    else:
        out = t("studio.count_out", language, count=f"{disabled:,}")
        above = escape(f"{line} · {out}" if disabled else line)
    shown = "".join(_card(chunk, where, language) for chunk in found)
    below = _pager(where, pages, line, language) if pages > 1 else ""
    return f'<div class="mbe-pager">{above}</div><div class="mbe-stack">{shown}</div>{below}'


def pages_of(total: int) -> int:
    """Return how many pages a list of `total` passages has, at least one."""
    return max(1, -(-total // PAGE))


def _pager(where: Where, pages: int, line: str, language: str) -> str:
    back, on = t("studio.previous", language), t("studio.next", language)
    parts = [f"<span>{escape(line)}</span>"]
    if where.page > 1:
        address = replace(where, page=where.page - 1).address(language)
        parts.insert(0, f'<a rel="prev" href="{escape(address)}">← {back}</a>')
    if where.page < pages:
        address = replace(where, page=where.page + 1).address(language)
        parts.append(f'<a rel="next" href="{escape(address)}">{on} →</a>')
    return f'<nav class="mbe-pager">{"".join(parts)}</nav>'


def _under(chunk: ChunkView, language: str) -> str:
    """Return the page and the heading that a passage stands under, each after a dot."""
    heading = f" · {escape(chunk.heading)}" if chunk.heading else ""
    return cards.place(chunk.page, language) + heading


def _card(chunk: ChunkView, where: Where, language: str) -> str:
    number = chunk.ordinal + 1
    top = f"{number} · {escape(chunk.document_name)}{_under(chunk, language)}"
    named = t("studio.passage_of", language, number=number, name=chunk.document_name)
    address = replace(where, chunk_id=chunk.id).address(language)
    return (
        f'<div class="mbe-card{"" if chunk.enabled else " mbe-out"}"><div class="mbe-job-top">'
        f'<span class="mbe-top-line">{top}</span>{_marks(chunk, language)}</div>'
        f'<div class="mbe-text mbe-clip">{escape(chunk.text)}</div>'
        f'<a class="mbe-open" href="{escape(address)}" aria-label="{escape(named)}">'
        f"{t('studio.open_passage', language)}</a></div>"
    )


def _marks(chunk: ChunkView, language: str) -> str:
    keys = [
        *(["edited"] if chunk.edited else []),
        *([] if chunk.enabled else ["taken_out"]),
        *(["not_indexed"] if chunk.enabled and not chunk.indexed else []),
    ]
    shown = "".join(f'<span class="mbe-mark">{t(f"studio.{key}", language)}</span>' for key in keys)
    return f'<span class="mbe-marks">{shown}</span>' if shown else ""


def head(chunk: ChunkView, where: Where, language: str) -> str:
    """Return the number of a passage above where it comes from and what was changed of it."""
    back, number = t("studio.all_passages", language), chunk.ordinal + 1
    to_list = replace(where, chunk_id="").address(language)
    source = f"{escape(chunk.document_name)}{_under(chunk, language)}"
    return (
        f'<a class="mbe-back" href="{escape(to_list)}">← {back}</a>'
        f"<h1>{t('studio.passage_number', language, number=number)}</h1>"
        f'<div class="mbe-job-top"><span class="mbe-top-line">{source}</span>{_marks(chunk, language)}</div>'
    )


def in_document(place: PlaceView, language: str) -> str:
    """Return a passage marked in the text around it, and what was made of it if it was edited."""
    edited = place.chunk.edited
    why = f'<p class="mbe-muted">{t("studio.document_stays", language)}</p>' if edited else ""
    return why + passage.in_document(place)
