"""File names and bytes as people send them, turned into a clean name and a text."""

import codecs
import unicodedata
from dataclasses import dataclass

from engine.kit.errors import BadInput

TEXTS = (".md", ".txt")
PARSED = (".csv", ".docx", ".htm", ".html", ".pdf", ".pptx", ".xlsx")
SUFFIXES = (*TEXTS, *PARSED)
_BEGINNINGS = {".pdf": b"%PDF-", ".docx": b"PK", ".pptx": b"PK", ".xlsx": b"PK"}
_NEAR_THE_START = 1024  # bytes that may stand before the mark of a PDF
NAME_LENGTH = 120


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """The text of a file and the Python name of the encoding it was written in."""

    text: str
    encoding: str


def clean_name(filename: str) -> str:
    """Return the base name of `filename` without folders, control or direction characters.

    Raises BadInput when its suffix is not accepted or nothing is left of it.
    """
    base = unicodedata.normalize("NFC", filename).replace("\\", "/").rsplit("/", 1)[-1]
    name = "".join(c for c in base if unicodedata.category(c)[0] != "C").strip()
    stem, dot, suffix = name.rpartition(".")
    if f".{suffix.lower()}" not in SUFFIXES or not dot or not stem.strip(". "):
        shown = name[:80] or "?"
        raise BadInput("knowledge.bad_suffix", field="file", name=shown, accepted=", ".join(SUFFIXES))
    return f"{stem[: NAME_LENGTH - len(suffix) - 1]}.{suffix}"


def suffix_of(name: str) -> str:
    """Return the suffix of a clean name, with its dot, in lower case."""
    return f".{name.rpartition('.')[2].lower()}"


def check_kind(data: bytes, name: str) -> None:
    """Raise BadInput unless `data` begins like the kind of file that `name` promises."""
    suffix = suffix_of(name)
    if not data.strip():
        raise BadInput("knowledge.empty_file", field="file", name=name)
    if suffix == ".csv":
        decode(data, name)
    mark = _BEGINNINGS.get(suffix, b"")
    if mark not in data[: _NEAR_THE_START if suffix == ".pdf" else len(mark)]:
        raise BadInput("knowledge.other_kind", field="file", name=name, suffix=suffix)


def decode(data: bytes, name: str) -> Decoded:
    """Return the text of `data`: UTF-8 (with or without BOM), UTF-16 with BOM, or GB 18030.

    Raises BadInput naming the first byte (counted from 0) that cannot be read, or when there is
    no text in it.
    """
    decoded = _decode(data, name)
    if "\0" in decoded.text:
        before = decoded.text[: decoded.text.index("\0")]
        wide = decoded.encoding == "utf-16"
        raise _unreadable(name, len(before.encode("utf-16")) if wide else data.index(b"\0"))
    if not decoded.text.strip():
        raise BadInput("knowledge.empty_file", field="file", name=name)
    return decoded


def _decode(data: bytes, name: str) -> Decoded:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return _strict(data, "utf-16", name)
    try:
        return Decoded(text=data.decode("utf-8-sig"), encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        where = error.start
    if _damaged_utf8(data):
        raise _unreadable(name, where)
    decoded = _strict(data, "gb18030", name)
    if not _common_chinese(decoded.text):
        raise _unreadable(name, where)
    return decoded


def _strict(data: bytes, encoding: str, name: str) -> Decoded:
    try:
        return Decoded(text=data.decode(encoding), encoding=encoding)
    except UnicodeDecodeError as error:
        raise _unreadable(name, error.start) from error


def _unreadable(name: str, byte: int) -> BadInput:
    return BadInput("knowledge.bad_encoding", field="file", name=name, byte=byte)


def _damaged_utf8(data: bytes) -> bool:
    """True when nearly all of `data` is valid UTF-8: a broken file rather than another encoding."""
    beyond_ascii = [c for c in data.decode("utf-8", errors="replace") if c > "\x7f"]
    return beyond_ascii.count("\ufffd") * 10 < len(beyond_ascii)


def _common_chinese(text: str) -> bool:
    """True when nine in ten characters beyond ASCII are of GB 2312, the everyday set.

    GB 18030 can read many byte sequences of Western encodings too, but as rare characters.
    """
    beyond_ascii = [c for c in text if c > "\x7f"]
    common = sum(bool(c.encode("gb2312", errors="ignore")) for c in beyond_ascii)
    return common * 10 >= len(beyond_ascii) * 9
