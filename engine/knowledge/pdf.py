"""The text of a PDF, page by page: headings by their size, paragraphs joined, tables as tables.

A PDF knows only where its letters stand. Words are taken in the order in which the file writes them,
which keeps columns apart, and put together to lines, then to paragraphs.
"""

import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

HEADING = 1.15  # times the size of the body's letters
LONGEST_HEADING = 120  # characters
FULL = 0.85  # a line this full (of the widest) goes on in the next one
EDGE = 2  # lines at the top and at the foot of a page that may be a running head
REPEATED = 0.5  # on more than this share of the pages it is one; with a number in it, on FEWEST pages
FEWEST = 3
WORD_GAP = 0.2  # of a letter's size: a smaller gap is inside a word
_CJK = r"[\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uffef]"
_ENDS = re.compile(r"[。！？!?；;：:.…][\"'”’」』）)》】\]]*$")
_ITEM = re.compile(r"\s*(?:[-*•·▪◦●○■–]\s|\d{1,3}[.)、]|[（(]\d{1,3}[)）])")
_BULLET = re.compile(r"^\s*[•·▪◦●○■]\s*")
_UNNAMED = re.compile(r"\(cid:\d+\)")  # a glyph that the font gives no letter for; 127 is the bullet


class Locked(Exception):
    """The file asks for a password; the message is the catalog key."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line on a page: its text, left and right edge, top (points), and the size of its letters."""

    text: str
    left: float
    right: float
    top: float
    size: float


def pages(file: Path, table: Callable[[Iterable[Sequence[Any]]], str]) -> list[str]:
    """Return the text of every page in order; `table` turns rows into text. Raises Locked."""
    import pdfplumber
    from pdfminer.pdfdocument import PDFPasswordIncorrect
    from pdfplumber.utils.exceptions import PdfminerException

    found: list[list[Line]] = []
    try:
        with pdfplumber.open(file) as document:
            for page in document.pages:
                found.append(_page_lines(page, table))
                page.close()
    except PdfminerException as error:
        if any(isinstance(cause, PDFPasswordIncorrect) for cause in error.args):
            raise Locked("knowledge.locked_pdf") from error
        raise
    sizes = Counter(round(line.size, 1) for lines in found for line in lines for _ in line.text)
    body = sizes.most_common(1)[0][0] if sizes else 0.0
    return [_text(lines, body) for lines in _without_running_heads(found)]


def _page_lines(page: Any, table: Callable[[Iterable[Sequence[Any]]], str]) -> list[Line]:
    tables = [(each.bbox, table(each.extract())) for each in page.find_tables()]
    tables = [(box, text) for box, text in tables if text.count("\n") > 1]
    words = page.extract_words(use_text_flow=True, x_tolerance_ratio=WORD_GAP, extra_attrs=["size"])
    outside = [word for word in words if not any(_inside(word, box) for box, _ in tables)]
    lines = list(_lines(outside))
    for (left, top, right, _), text in tables:
        above = [
            n for n, line in enumerate(lines) if line.top < top and line.left < right and line.right > left
        ]
        place = above[-1] + 1 if above else 0
        lines.insert(place, Line(text=f"\n{text}\n", left=left, right=right, top=top, size=0.0))
    return lines


def _inside(word: dict[str, Any], box: tuple[float, float, float, float]) -> bool:
    across, down = (word["x0"] + word["x1"]) / 2, (word["top"] + word["bottom"]) / 2
    return box[0] <= across <= box[2] and box[1] <= down <= box[3]


def _lines(words: Iterable[dict[str, Any]]) -> Iterable[Line]:
    line: list[dict[str, Any]] = []
    for word in words:
        if line:
            last = line[-1]
            lower = (
                abs((word["top"] + word["bottom"]) - (last["top"] + last["bottom"])) / 2 > last["size"] / 2
            )
            if lower or word["x0"] < last["x0"]:
                yield _line(line)
                line = []
        line.append(word)
    if line:
        yield _line(line)


def _line(words: list[dict[str, Any]]) -> Line:
    text = words[0]["text"]
    for before, word in zip(words, words[1:], strict=False):
        close = word["x0"] - before["x1"] < before["size"]
        text += word["text"] if close and _touch(text, word["text"]) else f" {word['text']}"
    return Line(
        text=_UNNAMED.sub("", text.replace("(cid:127)", "•")).strip(),
        left=words[0]["x0"],
        right=words[-1]["x1"],
        top=min(word["top"] for word in words),
        size=statistics.median(word["size"] for word in words),
    )


def _touch(before: str, after: str) -> bool:
    """Chinese is written without spaces; elsewhere a gap is one."""
    return bool(re.search(f"{_CJK}$", before) and re.match(_CJK, after))


def _without_running_heads(found: list[list[Line]]) -> list[list[Line]]:
    """Leave out lines at the edges of pages that repeat but for their numbers."""
    edges = Counter(
        name for lines in found for name in {_nameless(line.text) for line in lines[:EDGE] + lines[-EDGE:]}
    )
    most = max(FEWEST - 1, REPEATED * len(found))
    common = {name for name, count in edges.items() if count > most or ("#" in name and count >= FEWEST)}
    kept = []
    for lines in found:
        start, end = 0, len(lines)
        while start < min(EDGE, end) and _nameless(lines[start].text) in common:
            start += 1
        while end > max(start, len(lines) - EDGE) and _nameless(lines[end - 1].text) in common:
            end -= 1
        kept.append(lines[start:end])
    return kept


def _nameless(text: str) -> str:
    return re.sub(r"\d+", "#", text.strip())


def _text(lines: list[Line], body: float) -> str:
    """Join the lines of a page to headings, list items and paragraphs."""
    widest = max((line.right - line.left for line in lines if line.size), default=0.0)
    parts: list[Line] = []
    before: Line | None = None
    for line in lines:
        if before is not None and _goes_on(before, line, widest, body):
            joined = parts[-1].text
            glue = "" if _touch(joined, line.text) else " "
            if re.search(r"[a-z]-$", joined) and re.match(r"[a-z]", line.text):
                joined, glue = joined[:-1], ""
            parts[-1] = replace(parts[-1], text=joined + glue + line.text)
        else:
            parts.append(line)
        before = line
    return "\n\n".join(_marked(part, body) for part in parts if part.text.strip()).strip()


def _is_heading(line: Line, body: float) -> bool:
    return line.size > HEADING * body and len(line.text) <= LONGEST_HEADING


def _goes_on(before: Line, line: Line, widest: float, body: float) -> bool:
    if not (before.size and line.size) or abs(before.size - line.size) > 0.5 or _ITEM.match(line.text):
        return False
    gap = line.top - before.top
    if not 0 < gap < 2.2 * before.size:
        # Further down, or up again: a column's end goes on in the next column if it stops in a sentence.
        return gap < 0 and not _ENDS.search(before.text) and not _is_heading(before, body)
    if _is_heading(before, body):
        return True
    full = before.right - before.left >= FULL * widest
    return full or (gap < 1.6 * before.size and not _ENDS.search(before.text) and line.text[:1].islower())


def _marked(part: Line, body: float) -> str:
    text = part.text.strip()
    if part.size and _is_heading(part, body):
        return f"{'#' if part.size > 1.5 * body else '##'} {text}"
    return _BULLET.sub("- ", text)
