"""The parts of a text that are not cut: sentences, list items, table rows, lines of code.

Reads the common part of Markdown (headings, lists, tables, fences); a plain text is paragraphs.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

LONGEST_HEADING = 200
LONGEST_LEAD = 120
_WIDE = "\u3000-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af\uff00-\uffef"
_TOKEN = re.compile(rf"[{_WIDE}]|[^\s{_WIDE}]+")
_SPACES = "".join(filter(str.isspace, map(chr, range(0x3000))))  # what is in no token
_LINE = re.compile(r"([^\r\n]*)(?:\r\n|\r|\n|\Z)")
_HEADING = re.compile(rf"[ ]{{0,3}}(#{{1,6}})[ \t]+(\S.{{0,{LONGEST_HEADING}}}?)[ \t]*#*[ \t]*$")
_ITEM = re.compile(
    r"[ \t]*(?:[-*+][ \t]+|[•·▪][ \t]*|\d{1,3}、|[（(]\d{1,3}[)）]"
    rf"|\d{{1,3}}[.)](?:[ \t]+|(?=[{_WIDE}])))"
)
_RULE = re.compile(r"[ \t]*([-*_])(?:[ \t]*\1){2,}[ \t]*$")
_FENCE = re.compile(r"[ ]{0,3}(```|~~~)")
_CLOSERS = "\"'”’』」）)》】\\]*_"
_SENTENCE_END = re.compile(rf"[。！？!?；…]+[{_CLOSERS}]*|\.+[{_CLOSERS}]*(?=\s)")
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|No|Nr|vs|approx|e\.g|i\.e|cf|Fig|Jr|Sr)|(?:^|\s)[A-Z])\.$"
)
_BREAKABLE = re.compile(r".*[\s，,、；;：:。.！!？?）)】\]|]", re.DOTALL)


_MARK = re.compile(r"\s*(?:[-*+>#|]+\s*|\d{1,3}[.)]\s+)*")


@dataclass(frozen=True, kw_only=True)
class Section:
    """What stands below one heading; `path` are the headings from the outermost to it."""

    path: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Characters `start` to `end`, about `tokens` long, not to be cut.

    `block` numbers the paragraph, list or table it belongs to. `lead` introduces a list or table
    and stands at `lead_start`.
    """

    start: int
    end: int
    tokens: float
    section: Section
    block: int
    sentence: bool = False
    lead: str = ""
    lead_start: int = -1


@dataclass(frozen=True, kw_only=True)
class _Line:
    start: int
    end: int
    text: str


@dataclass(frozen=True, kw_only=True)
class _Block:
    kind: str
    lines: list[_Line]


def estimate_tokens(text: str) -> float:
    """Return the estimated tokens of `text`: 1 per CJK character, 1.3 or length/6 per other word."""
    return sum(_weight(match) for match in _TOKEN.findall(text))


def _weight(token: str) -> float:
    wide = len(token) == 1 and ("\u3000" <= token <= "\u9fff" or token >= "\uac00")
    return 1.0 if wide else max(1.3, len(token) / 6)


def units(text: str, most: int) -> Iterator[Unit]:
    """Yield the parts of `text` in order, none above `most` tokens.

    They hold every visible character except the headings that some part's path names.
    """
    levels: list[int] = []
    section = Section(path=())
    bare: _Line | None = None  # the last heading, while no text has followed it
    for number, block in enumerate(_blocks(text)):
        match = _HEADING.match(block.lines[0].text) if block.kind == "heading" else None
        if match is None:
            bare = None
            yield from _block_units(text, block, section, number, most)
            continue
        level = len(match[1])
        if bare is not None and levels[-1] >= level:
            yield from _bounded(text, (bare.start, bare.end), Section(path=section.path[:-1]), number, most)
        levels = [other for other in levels if other < level]
        section = Section(path=(*section.path[: len(levels)], " ".join(match[2].split())))
        levels.append(level)
        bare = block.lines[0]
    if bare is not None:
        yield from _bounded(text, (bare.start, bare.end), Section(path=section.path[:-1]), -1, most)


def _blocks(text: str) -> Iterator[_Block]:
    """Group the lines of `text` into headings, lists, tables, code and paragraphs."""
    kind, lines, fence, blank = "", list[_Line](), "", False
    for match in _LINE.finditer(text):
        line = _Line(start=match.start(1), end=match.end(1), text=match[1])
        fenced = _FENCE.match(line.text)
        if fence:
            lines.append(line)
            fence = "" if fenced and fenced[1] == fence else fence
            kind = "code" if fence else "code closed"
            continue
        if not line.text.strip():
            blank = True
            continue
        now = "code" if fenced else _kind(line.text)
        indented = line.text[0] in " \t" and now == "paragraph"
        if kind == "list" and (now == "list" or indented or (now == "paragraph" and not blank)):
            now = "list"  # a blank line between two items does not end the list
        elif lines and (blank or now != kind or now == "heading"):
            yield _Block(kind=kind, lines=lines)
            lines = []
        kind, blank = now, False
        lines.append(line)
        fence = fenced[1] if fenced else ""
    if lines:
        yield _Block(kind=kind, lines=lines)


def _kind(line: str) -> str:
    if _HEADING.match(line):
        return "heading"
    if line.lstrip().startswith("|"):
        return "table"
    return "list" if _ITEM.match(line) and not _RULE.match(line) else "paragraph"


def _block_units(text: str, block: _Block, section: Section, number: int, most: int) -> Iterator[Unit]:
    first = block.lines[0]
    if block.kind == "paragraph":
        for span in _sentences(text, first.start, block.lines[-1].end):
            yield from _bounded(text, span, section, number, most, sentence=True)
        return
    lead, lead_start = "", -1
    if block.kind == "list":
        lead, lead_start = _introduction(text, first.start)
        spans = _items(block.lines)
    else:
        spans = ((line.start, line.end) for line in block.lines)
        if block.kind == "table" and len(block.lines) > 1:
            cells = [cell.strip() for cell in first.text.strip().strip("|").split("|")]
            lead, lead_start = " · ".join(cell for cell in cells if cell)[:LONGEST_LEAD], first.start
    for span in spans:
        yield from _bounded(text, span, section, number, most, lead=lead, lead_start=lead_start)


def _introduction(text: str, start: int) -> tuple[str, int]:
    """Return the line before a list, and its place, when it ends in a colon."""
    line = text[max(0, start - 3 * LONGEST_LEAD) : start].rstrip().rpartition("\n")[2].strip()
    if not line.endswith((":", "：")) or _HEADING.match(line):
        return "", -1
    sentence = line[list(_sentences(line, 0, len(line)))[-1][0] :].strip()
    return sentence[-LONGEST_LEAD:], text.rfind(sentence, 0, start)


def _items(lines: list[_Line]) -> Iterator[tuple[int, int]]:
    """Yield each list item with the lines that continue it."""
    start = lines[0].start
    for before, line in zip(lines, lines[1:], strict=False):
        if _ITEM.match(line.text):
            yield start, before.end
            start = line.start
    yield start, lines[-1].end


def sentences(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, words) of the sentences of a passage, without headings, list marks, white space."""
    for line in re.finditer(r"^(?!\s*#)[^\n]+", text, re.MULTILINE):
        begin = line.start() + len(_MARK.match(line.group()).group())  # type: ignore[union-attr]
        for start, end in _sentences(text, begin, line.end()):
            words = text[start:end]
            left = len(words) - len(words.lstrip())
            if words.strip():
                yield start + left, start + len(words.rstrip()), words.strip()


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    at = start
    for match in _SENTENCE_END.finditer(text, start, end):
        if not _ABBREVIATION.search(text[max(at, match.end() - 8) : match.end()]):
            yield at, match.end()
            at = match.end()
    if text[at:end].strip():
        yield at, end


def _bounded(
    text: str,
    span: tuple[int, int],
    section: Section,
    block: int,
    most: int,
    *,
    sentence: bool = False,
    lead: str = "",
    lead_start: int = -1,
) -> Iterator[Unit]:
    """Yield a span without outer whitespace as one unit, or as several when above the maximum."""
    spans = list(_cut(text, *span, most))
    for start, end in spans:
        yield Unit(
            start=start,
            end=end,
            tokens=estimate_tokens(text[start:end]),
            section=section,
            block=block,
            sentence=sentence and len(spans) == 1,
            lead=lead,
            lead_start=lead_start,
        )


def _cut(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield spans of at most `most` tokens that together hold every visible character, in one pass."""
    # Nearly every span fits, and then needs no walk from token to token.
    if end - start <= _longest(most) and estimate_tokens(whole := text[start:end]) <= most:
        if inner := whole.strip(_SPACES):
            low = start + len(whole) - len(whole.lstrip(_SPACES))
            yield low, low + len(inner)
        return
    last, size = start, 0.0
    begin: int | None = None
    for low, high in _tokens(text, start, end, most):
        weight = _weight(text[low:high])
        if begin is not None and size + weight > most:
            # Break after whitespace or punctuation of the second half, else right here.
            middle = (begin + last) // 2
            found = _BREAKABLE.match(text, middle, low)
            cut = found.end() if found else last
            yield begin, begin + len(text[begin:cut].rstrip())
            begin = cut + len(text[cut:low]) - len(text[cut:low].lstrip()) if cut < low else low
            size = estimate_tokens(text[begin:low])
        begin = low if begin is None else begin
        size += weight
        last = high
    if begin is not None and last > begin:
        yield begin, last


def _tokens(text: str, start: int, end: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of the tokens, a run of more than `most` tokens' length in parts."""
    longest = _longest(most)
    for match in _TOKEN.finditer(text, start, end):
        for low in range(match.start(), match.end(), longest):
            yield low, min(low + longest, match.end())


def _longest(most: int) -> int:
    return 6 * most // 2
