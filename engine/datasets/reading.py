"""Reads uploaded files record by record, so that a large file never has to fit into memory."""

import codecs
import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from engine.datasets.layouts import COLUMNS, LONGEST, Unusable
from engine.kit.errors import BadInput, TooLarge
from engine.kit.settings import settings

Kind = Literal["json", "jsonl", "csv", "parquet"]

KINDS: dict[str, Kind] = {
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
}
PIECE = 1 << 16
WIDEST = 16 * LONGEST
MEGABYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that was found readable: its clean name, kind and encoding ("binary" for Parquet)."""

    path: Path
    name: str
    kind: Kind
    encoding: str


@dataclass(frozen=True)
class Record:
    """One record: its number as a person counts in the file, and its value or why there is none."""

    number: int
    value: Any = None
    problem: Unusable | None = None


def clean_name(filename: str) -> str:
    """Return the base name without control characters. Raises BadInput when nothing usable is left."""
    base = filename.replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(c for c in base if c.isprintable()).strip()
    if not name.strip(".") or len(name) > 200:
        raise BadInput("datasets.bad_filename", field="file")
    return name


def inspect(path: Path, filename: str) -> Source:
    """Check name, size and encoding of an uploaded file before any row is read.

    Raises BadInput for a wrong suffix, an empty file or an unknown encoding, TooLarge above the limit.
    """
    name = clean_name(filename)
    kind = KINDS.get(Path(name).suffix.lower())
    if kind is None:
        raise BadInput("datasets.wrong_suffix", field="file", name=name)
    size, most = path.stat().st_size, settings().upload_limit
    if size > most:
        raise TooLarge(
            "datasets.too_large",
            field="file",
            name=name,
            size=f"{size / MEGABYTE:,.1f}",
            most=f"{most / MEGABYTE:,.1f}",
        )
    if size == 0:
        raise BadInput("datasets.empty_file", field="file", name=name)
    encoding = "binary" if kind == "parquet" else find_encoding(path)
    if kind == "json" and _holds_lines(path, encoding):
        kind = "jsonl"
    return Source(path=path, name=name, kind=kind, encoding=encoding)


def find_encoding(path: Path) -> str:
    """Return "utf-8" (with or without a mark) or "gb18030". Raises BadInput naming the first bad line."""
    bad_line = _first_bad_line(path, "utf-8-sig")
    if bad_line is None:
        return "utf-8"
    if _first_bad_line(path, "gb18030") is None:
        return "gb18030"
    raise BadInput("datasets.bad_encoding", field="file", line=bad_line)


def records(source: Source) -> Iterator[Record]:
    """Yield the records of a file in order. Raises BadInput when its outer shape is wrong."""
    if source.kind == "parquet":
        yield from _parquet(source)
        return
    encoding = "utf-8-sig" if source.encoding == "utf-8" else source.encoding
    newline = "" if source.kind == "csv" else None
    with source.path.open(encoding=encoding, newline=newline) as file:
        if source.kind == "csv":
            yield from _csv(file)
        elif source.kind == "jsonl":
            yield from _lines(file)
        else:
            yield from _array(file, source.name)


def _first_bad_line(path: Path, encoding: str) -> int | None:
    decoder, lines = codecs.getincrementaldecoder(encoding)(), 0
    with path.open("rb") as file:
        while True:
            piece = file.read(MEGABYTE)
            try:
                lines += decoder.decode(piece, final=not piece).count("\n")
            except UnicodeDecodeError as error:
                return lines + bytes(error.object)[: error.start].count(b"\n") + 1
            if not piece:
                return None


def _holds_lines(path: Path, encoding: str) -> bool:
    """Tell JSON lines under the name .json: the first line is an object and something follows it."""
    with path.open(encoding="utf-8-sig" if encoding == "utf-8" else encoding) as file:
        first, second = file.readline(WIDEST), ""
        if not first.lstrip().startswith("{"):
            return False
        try:
            json.loads(first)
        except ValueError:
            return False
        while line := file.readline(PIECE):
            second = line.strip()
            if second:
                break
        return bool(second)


def _lines(file: IO[str]) -> Iterator[Record]:
    number = 0
    while line := file.readline(WIDEST):
        number += 1
        if len(line) == WIDEST and not line.endswith("\n"):
            while (rest := file.readline(WIDEST)) and not rest.endswith("\n"):
                pass
            yield Record(number, problem=Unusable("too_long", most=f"{LONGEST:,}"))
            continue
        if not line.strip():
            continue
        try:
            yield Record(number, json.loads(line))
        except (ValueError, RecursionError):
            yield Record(number, problem=Unusable("not_json"))


def _csv(file: IO[str]) -> Iterator[Record]:
    csv.field_size_limit(WIDEST)
    header_line = file.readline(WIDEST)
    delimiter = max(",;\t", key=header_line.count)
    header = [name.strip() for name in next(csv.reader([header_line], delimiter=delimiter), [])]
    reader, start = csv.reader(file, delimiter=delimiter), 2
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield Record(start, problem=Unusable("bad_record"))
        else:
            if len(cells) > len(header):
                yield Record(start, problem=Unusable("column_count"))
            elif cells:
                yield Record(start, dict(zip(header, cells, strict=False)))
        start = reader.line_num + 2


def _parquet(source: Source) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        file = pq.ParquetFile(source.path)
        names = file.schema_arrow.names
        columns = [name for name in names if name in COLUMNS] or names
        for batch in file.iter_batches(batch_size=256, columns=columns):
            for value in batch.to_pylist():
                number += 1
                yield Record(number, value)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise BadInput("datasets.not_parquet", field="file", name=source.name) from error


_BEHIND_VALUE = (",", "]", "}", " ", "\n", "\r", "\t")


class _Window:
    """The part of a JSON text in view: grows on demand, forgets what was read."""

    def __init__(self, file: IO[str]) -> None:
        self._file, self._text, self._place = file, "", 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not white space, without taking it; "" at the end."""
        while True:
            while self._place < len(self._text):
                if not self._text[self._place].isspace():
                    return self._text[self._place]
                self._place += 1
            if not self._grow():
                return ""

    def take(self, wanted: str) -> bool:
        """Take the next character if it is `wanted`."""
        found = self.peek() == wanted
        self._place += found
        return found

    def value(self) -> Any:
        """Take the next JSON value. Raises ValueError when there is none or it is wider than allowed."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except RecursionError as error:
                raise ValueError("nested too deeply") from error
            except ValueError:
                if len(self._text) - self._place > WIDEST or not self._grow():
                    raise
                continue
            # A number near the end of the view may go on behind it: "0." and "0" are the same so far.
            closed = isinstance(value, str | list | dict) or self._text[end : end + 1] in _BEHIND_VALUE
            if closed or not self._grow():
                self._place = end
                return value

    def _grow(self) -> bool:
        piece = self._file.read(max(PIECE, len(self._text) - self._place))
        self._text = self._text[self._place :] + piece
        self._place = 0
        return bool(piece)


def _array(file: IO[str], name: str) -> Iterator[Record]:
    window = _Window(file)
    try:
        found = window.take("[") or _open_data(window)
    except ValueError:
        found = False
    if not found:
        raise BadInput("datasets.no_list", field="file", name=name)
    number = 0
    if window.peek() == "]":
        return
    while True:
        number += 1
        try:
            yield Record(number, window.value())
        except ValueError:
            yield Record(number, problem=Unusable("broken_tail"))
            return
        if window.take("]"):
            return
        if not window.take(","):
            yield Record(number + 1, problem=Unusable("broken_tail"))
            return


def _open_data(window: _Window) -> bool:
    """Step into the list of `{"data": [...]}`; other members before it are skipped."""
    if not window.take("{"):
        return False
    while window.peek() == '"':
        key = window.value()
        if not window.take(":"):
            return False
        if key == "data":
            return window.take("[")
        window.value()
        if not window.take(","):
            return False
    return False
