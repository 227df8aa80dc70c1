"""Cut a text into passages: pure, deterministic, with exact offsets into the original.

Sizes are estimated tokens: a Chinese, Japanese or Korean character counts 1, any other word 1.3 or
a sixth of its characters, whichever is more (long words break into several tokens).

Cutting follows the document: never across a heading, rather between paragraphs than inside one,
else between sentences. List items and table rows stay whole. Only a sentence, item or row that is
itself longer than the maximum is cut, after whitespace or punctuation if there is any.

Headings are kept apart from the text, as a path. A heading without any text below it becomes a
passage of its own, so that every word of the document is in a passage or in the heading of one.
A list or table that continues in a further passage takes its introduction ("We do not take back:")
or its header row along in the heading path.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from engine.kit.errors import BadInput
from engine.knowledge.structure import Unit, units

TARGET_TOKENS = 80
PATH_SEPARATOR = " › "


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A passage: `text` is the original's characters from `start` to `end`; `heading` its path."""

    text: str
    start: int
    end: int
    heading: str


def chunk_id(document_sha256: str, piece: Piece) -> str:
    """Return the id of a passage: the same document, place and text give the same id, always."""
    named = f"{document_sha256}\n{piece.start}\n{piece.end}\n{piece.text}"
    return f"ch_{hashlib.sha256(named.encode()).hexdigest()[:32]}"


def content_hash(piece: Piece) -> str:
    """Return the hash of all that is embedded and searched of a passage."""
    return hash_of(search_text(piece.heading, piece.text))


def hash_of(searched: str) -> str:
    """Return the hash of a text as it is embedded and searched."""
    return hashlib.sha256(searched.encode()).hexdigest()[:32]


def search_text(heading: str, text: str) -> str:
    """Return what is embedded and searched: the heading path, then the passage."""
    return f"{heading}\n{text}" if heading else text


def split(
    text: str, *, target_tokens: int = TARGET_TOKENS, max_tokens: int | None = None, overlap: bool = True
) -> list[Piece]:
    """Cut `text` into passages of about `target_tokens`, in order.

    No passage exceeds `max_tokens` (default: twice the target). With `overlap`, a passage that
    starts inside a paragraph repeats the sentence before it, if that is at most a third of the
    target. Raises BadInput for sizes that make no sense.
    """
    most = 2 * target_tokens if max_tokens is None else max_tokens
    if not 8 <= target_tokens <= most:
        raise BadInput("knowledge.bad_chunk_size", field="target_tokens", target=target_tokens, most=most)
    pieces: list[Piece] = []
    section: list[Unit] = []
    for unit in units(text, most):
        if section and unit.section is not section[-1].section:
            pieces += (_piece(text, group) for group in _pack(section, target_tokens, most, overlap))
            section = []
        section.append(unit)
    return pieces + [_piece(text, group) for group in _pack(section, target_tokens, most, overlap)]


def _pack(section: list[Unit], target: int, most: int, overlap: bool) -> list[list[Unit]]:
    """Join the units of one section into groups, one per passage."""
    groups: list[list[Unit]] = []
    for block in _blocks(section):
        whole = _size(block)
        # A paragraph that would be cut starts a passage of its own once this one is large enough.
        if groups and _size(groups[-1]) >= target / 2 and _size(groups[-1]) + whole > target:
            groups.append([])
        for unit in block:
            if not groups:
                groups.append([])
            group = groups[-1]
            if group and _size(group) + unit.tokens > target:
                groups.append(_repeated(group, unit, target, most) if overlap else [])
            groups[-1].append(unit)
    if len(groups) > 1 and _size(groups[-1]) < target / 4:
        # A short rest says little by itself: better a slightly larger last passage.
        rest = [unit for unit in groups[-1] if unit not in groups[-2]]
        if _size(groups[-2]) + _size(rest) <= min(target * 1.25, most):
            groups[-2] += rest
            groups.pop()
    return groups


def _repeated(group: list[Unit], following: Unit, target: int, most: int) -> list[Unit]:
    """Return the sentence of `group` that the next passage repeats, or nothing."""
    last = group[-1]
    inside = last.sentence and following.block == last.block and len(group) > 1
    fits = last.tokens <= target / 3 and last.tokens + following.tokens <= most
    return [last] if inside and fits else []


def _blocks(section: list[Unit]) -> Iterator[list[Unit]]:
    block: list[Unit] = []
    for unit in section:
        if block and unit.block != block[-1].block:
            yield block
            block = []
        block.append(unit)
    if block:
        yield block


def _size(group: list[Unit]) -> float:
    return sum(unit.tokens for unit in group)


def _piece(text: str, group: list[Unit]) -> Piece:
    first, last = group[0], group[-1]
    path = (
        [*first.section.path, first.lead]
        if first.lead and first.start > first.lead_start
        else first.section.path
    )
    return Piece(
        text=text[first.start : last.end],
        start=first.start,
        end=last.end,
        heading=PATH_SEPARATOR.join(path),
    )
