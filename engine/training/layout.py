"""A report as HTML that stands alone, and as Markdown. All text is escaped here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

CSS = """
:root{--ink:#14213D;--paper:#FBFBF8;--panel:#FFFFFF;--line:#E4E3DC;--muted:#6B7280;--one:#2F5DA8;--two:#9F5F08;
color-scheme:light dark}
@media(prefers-color-scheme:dark){:root{--ink:#E8EAF0;--paper:#11151C;--panel:#1A202B;--line:#2B3340;
--muted:#9AA3B2;--one:#7FA6E6;--two:#D99A45}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);line-height:1.5;font-size:15px;
font-family:system-ui,-apple-system,"Segoe UI","PingFang SC","Noto Sans SC","Microsoft YaHei",sans-serif}
main{max-width:880px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:28px;line-height:1.25;margin:0 0 8px;overflow-wrap:anywhere}h2{font-size:19px;margin:32px 0 8px}
p{margin:8px 0;overflow-wrap:anywhere}.muted{color:var(--muted)}
.scroll{overflow-x:auto;border:1px solid var(--line);border-radius:10px;background:var(--panel);margin:12px 0}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{text-align:left;vertical-align:top;padding:8px 14px;border-bottom:1px solid var(--line)}
tr:last-child>*{border-bottom:0}th{font-weight:500;color:var(--muted)}td{overflow-wrap:break-word}
.facts th{width:34%;min-width:110px}.facts th,.facts td{overflow-wrap:anywhere}
.curve{overflow-x:auto}svg{display:block;width:100%;min-width:600px;height:auto;margin:8px 0}
svg text{font-size:13px;fill:var(--muted)}
svg .grid{stroke:var(--line)}svg .one{stroke:var(--one)}svg .two{stroke:var(--two)}
svg path{fill:none;stroke-width:2}svg text.one{fill:var(--one);stroke:none}
svg text.two{fill:var(--two);stroke:none}
@media print{body{background:none}.scroll{break-inside:avoid}}
"""
"""The colours are those of the pages; a file that is sent around cannot ask the product for them."""

_MARKS = re.compile(r"([\\`*\[\]|~]|(?<![^\W_])_|_(?![^\W_])|^[#+-])")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of text below their headers; without headers, the first cell of a row names the second."""

    headers: Sequence[str] = ()
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of a report: sentences, then a drawing, then tables. `drawing` is SVG of our own making."""

    heading: str = ""
    sentences: Sequence[str] = ()
    drawing: str = ""
    tables: Sequence[Table] = ()


def as_html(title: str, language: str, sections: Sequence[Section]) -> str:
    """Return a whole HTML page that needs nothing else: no script, no font, no other file."""
    body = "".join(_html_section(section) for section in sections)
    return (
        f'<!doctype html>\n<html lang="{"zh-CN" if language == "zh" else "en"}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )


def _html_section(section: Section) -> str:
    heading = f"<h2>{escape(section.heading)}</h2>" if section.heading else ""
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in section.sentences)
    drawing = f'<div class="curve">{section.drawing}</div>' if section.drawing else ""
    return heading + sentences + drawing + "".join(_html_table(table) for table in section.tables)


def _html_table(table: Table) -> str:
    head = "".join(f'<th scope="col">{escape(words)}</th>' for words in table.headers)
    rows = "".join(f"<tr>{_html_cells(row, not table.headers)}</tr>" for row in table.rows)
    return (
        f'<div class="scroll"><table{"" if table.headers else " class=facts"}>'
        f"{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{rows}</tbody></table></div>"
    )


def _html_cells(row: Sequence[str], named: bool) -> str:
    first = f'<th scope="row">{escape(row[0])}</th>' if named else f"<td>{escape(row[0])}</td>"
    return first + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:])


def as_markdown(title: str, sections: Sequence[Section]) -> str:
    """Return the same as Markdown; drawings are left out."""
    return f"# {plain(title)}\n\n{markdown_of(sections)}"


def markdown_of(sections: Sequence[Section]) -> str:
    """Return sections as Markdown, without a title."""
    parts = []
    for section in sections:
        if section.heading:
            parts.append(f"## {plain(section.heading)}")
        parts += [plain(sentence) for sentence in section.sentences]
        parts += [_markdown_table(table) for table in section.tables]
    return "\n\n".join(parts) + "\n"


def _markdown_table(table: Table) -> str:
    width = len(table.headers or table.rows[0])
    lines = [table.headers or [""] * width, ["---"] * width, *table.rows]
    first, rule, *rest = lines
    return "\n".join([_markdown_row(first), f"| {' | '.join(rule)} |", *(_markdown_row(row) for row in rest)])


def _markdown_row(row: Sequence[str]) -> str:
    return f"| {' | '.join(plain(cell) for cell in row)} |"


def plain(text: str) -> str:
    """Return text for one line of Markdown in which it is only text: no HTML, no marks, no line break."""
    return _MARKS.sub(r"\\\1", escape(" ".join(text.split()), quote=False))
