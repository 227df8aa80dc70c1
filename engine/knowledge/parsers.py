"""Files that are not plain text, read into Markdown: `python -m engine.knowledge.parsers SUFFIX FILE RESULT`.

Runs as a process of its own, because the files come from strangers and the libraries that read them are
large: `parsing.py` starts it, without our environment, and limits its time, memory and output. The
result is a JSON object: {"pages": [text, ...], "numbered": bool} or {"error": the catalog key}.
"""

import csv
import io
import json
import re
import resource
import sys
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, time
from pathlib import Path
from typing import Any

from engine.kit.process import die_with_parent
from engine.knowledge import pdf
from engine.knowledge.decoding import decode

LARGEST_TEXT = 20_000_000  # characters
LARGEST_UNPACKED = 500 * 2**20  # bytes; Office files are zip archives
_LEFT_OUT = "script style noscript template svg nav footer aside form iframe button select dialog head"
_OFFICE_STYLES = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => h2:fresh"


class Unreadable(Exception):
    """The file cannot be read; the message is the catalog key of why."""


Pages = list[str]


def table(rows: Iterable[Sequence[Any]]) -> str:
    """Return `rows` as a Markdown table, the first one as its header; empty rows and columns are left out."""
    cells = [[_cell(value) for value in row] for row in rows]
    cells = [row for row in cells if any(row)]
    if not cells:
        return ""
    width = max(len(row) for row in cells)
    padded = [row + [""] * (width - len(row)) for row in cells]
    used = [n for n in range(width) if any(row[n] for row in padded)]
    lines = ["| " + " | ".join(row[n] for n in used) + " |" for row in padded]
    return "\n".join([lines[0], "|" + " --- |" * len(used), *lines[1:]])


def _cell(value: Any) -> str:
    if isinstance(value, datetime) and value.time() == time():
        value = value.date()  # a sheet's dates are all at midnight
    return "" if value is None else " ".join(str(value).replace("|", "/").split())


def read_pdf(file: Path) -> Pages:
    """Return the text of each page; a PDF without any text is most likely a scan."""
    return pdf.pages(file, table)


def read_html(file: Path) -> Pages:
    """Return what a page says, without navigation, scripts and forms."""
    return [_from_html(file.read_bytes())]


def _from_html(data: bytes | str) -> str:
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(data, "html.parser")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for tag in soup.find_all(_LEFT_OUT.split()):
        tag.decompose()
    for tag in soup.select("[hidden], [aria-hidden=true]"):
        tag.decompose()
    whole = soup.body or soup
    main = soup.find("main") or (soup.find("article") if len(soup.find_all("article")) == 1 else None)
    if main and len(main.get_text()) * 2 > len(whole.get_text()):
        whole = main
    converter = MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        strip=["a", "img", "b", "strong", "em", "i", "u", "code", "sup", "sub"],
        table_infer_header=True,
        escape_asterisks=False,
        escape_underscores=False,
        escape_misc=False,
    )
    text = re.sub(r"[ \t]+\n", "\n", converter.convert_soup(whole)).strip()
    text = re.sub(r"\n{3,}", "\n\n", text)
    # A page whose headings do not name it is found by its title.
    return f"# {title}\n\n{text}" if text and title and not text.startswith("# ") else text


def read_docx(file: Path) -> Pages:
    """Return a Word document as one text; Word keeps no page breaks that hold on another machine."""
    import mammoth

    _check_archive(file)
    with file.open("rb") as source:
        nothing = mammoth.images.img_element(lambda image: {"src": ""})
        html = mammoth.convert_to_html(source, style_map=_OFFICE_STYLES, convert_image=nothing).value
    return [_from_html(html)]


def read_pptx(file: Path) -> Pages:
    """Return one text a slide: its title as heading, its texts and tables from top to bottom, its notes."""
    from pptx import Presentation

    _check_archive(file)
    return [_slide(slide) for slide in Presentation(str(file)).slides]


def _slide(slide: Any) -> str:
    title = slide.shapes.title
    parts = (
        [f"# {_cell(title.text_frame.text)}"] if title is not None and title.text_frame.text.strip() else []
    )
    for shape in sorted(_shapes(slide.shapes), key=lambda shape: (shape.top or 0, shape.left or 0)):
        if title is not None and shape.shape_id == title.shape_id:
            continue
        if shape.has_table:
            parts.append(table([cell.text for cell in row.cells] for row in shape.table.rows))
        elif shape.has_text_frame:
            said = [paragraph for paragraph in shape.text_frame.paragraphs if paragraph.text.strip()]
            mark = "- " if len(said) > 1 else ""
            parts.append("\n".join(f"{mark}{_cell(paragraph.text)}" for paragraph in said))
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        parts.append(slide.notes_slide.notes_text_frame.text.strip())
    return "\n\n".join(part for part in parts if part)


def _shapes(shapes: Any) -> list[Any]:
    found = []
    for shape in shapes:
        found += _shapes(shape.shapes) if hasattr(shape, "shapes") else [shape]
    return found


def read_xlsx(file: Path) -> Pages:
    """Return one text a sheet: its name as heading, each block of rows between empty rows as a table."""
    from openpyxl import load_workbook

    _check_archive(file)
    book = load_workbook(file, read_only=True, data_only=True)
    sheets = []
    for sheet in book.worksheets:
        blocks: list[list[Sequence[Any]]] = [[]]
        for row in sheet.iter_rows(values_only=True):
            if any(value is not None and str(value).strip() for value in row):
                blocks[-1].append(row)
            elif blocks[-1]:
                blocks.append([])
        tables = [table(block) for block in blocks if block]
        if tables:
            sheets.append("\n\n".join([f"# {_cell(sheet.title)}", *tables]))
    return sheets


def read_csv(file: Path) -> Pages:
    """Return the rows as one table; the separator is found out."""
    text = decode(file.read_bytes(), file.name).text
    try:
        dialect: Any = csv.Sniffer().sniff(text[:20_000], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    return [table(csv.reader(io.StringIO(text), dialect))]


def _check_archive(file: Path) -> None:
    """Refuse an archive that would unpack to more than any honest document."""
    try:
        with zipfile.ZipFile(file) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile as error:
        raise Unreadable("knowledge.damaged_file") from error
    if size > LARGEST_UNPACKED:
        raise Unreadable("knowledge.parse_limit")


# The formats with pages that a reader can turn to; the others are one long text.
NUMBERED = (".pdf", ".pptx")
READERS: dict[str, Callable[[Path], Pages]] = {
    ".pdf": read_pdf,
    ".html": read_html,
    ".htm": read_html,
    ".docx": read_docx,
    ".pptx": read_pptx,
    ".xlsx": read_xlsx,
    ".csv": read_csv,
}


def result(suffix: str, file: Path) -> dict[str, Any]:
    """Return what the process says of `file`. Any fault of the file is an answer, not a traceback."""
    try:
        pages = READERS[suffix](file)
    except (Unreadable, pdf.Locked) as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "knowledge.parse_limit"}
    except Exception as error:
        # The libraries raise whatever they like at damaged files.
        print(f"{type(error).__name__}: {error}"[:500], file=sys.stderr)
        return {"error": "knowledge.damaged_file"}
    if not any(page.strip() for page in pages):
        return {"error": "knowledge.scanned_pdf" if suffix == ".pdf" else "knowledge.no_text_inside"}
    if sum(len(page) for page in pages) > LARGEST_TEXT:
        return {"error": "knowledge.parse_limit"}
    return {"pages": pages, "numbered": suffix in NUMBERED}


def main(suffix: str, file: str, target: str, memory: str, seconds: str, parent: str) -> None:
    """Limit this process, read `file` and write the result to `target`."""
    die_with_parent(int(parent))
    resource.setrlimit(resource.RLIMIT_AS, (int(memory), int(memory)))
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_TEXT * 6, LARGEST_TEXT * 6))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Path(target).write_text(json.dumps(result(suffix, Path(file))), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
