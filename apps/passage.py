"""One passage in its document: how it is drawn, and the address of the page that shows it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from urllib.parse import urlencode

from engine.knowledge.schemas import Passage, PlaceView

CSS = """
.mbe-page h1{overflow-wrap:anywhere}
.mbe-page .mbe-doc{padding:0!important;overflow:hidden}
.mbe-page p+.mbe-doc{margin-top:8px}
.mbe-doc>div{padding:12px 20px}
.mbe-far{max-height:132px;overflow-y:auto;border-top:1px solid var(--line)}
.mbe-page .mbe-far .mbe-text{color:var(--muted)}
.mbe-far:first-child{display:flex;flex-direction:column-reverse;border-top:0;
 border-bottom:1px solid var(--line)}
"""
"""The far text before a passage is laid out in reverse so that it begins scrolled to its end."""


@dataclass(frozen=True, kw_only=True)
class Cited:
    """What the address of a citation names: an expert by its public name or by the id of a version, a chunk.

    `start` and `end` are those of the cited text in its document; 0 means the whole chunk.
    """

    expert: str = ""
    version: str = ""
    chunk_id: str
    start: int = 0
    end: int = 0

    def address(self, language: str) -> str:
        """Return the address of the page that shows it."""
        asked = {"expert": self.expert, "version": self.version, "chunk": self.chunk_id}
        asked |= {"from": str(self.start), "to": str(self.end)} if self.end else {}
        return f"/{language}/market/passage?{urlencode({k: said for k, said in asked.items() if said})}"

    @classmethod
    def read(cls, query: Mapping[str, str]) -> "Cited":
        """Return what the query of an address names; what is not a number counts as left out."""
        start, end = (_number(query.get(name, "")) for name in ("from", "to"))
        return cls(
            expert=query.get("expert", ""),
            version=query.get("version", ""),
            chunk_id=query.get("chunk", ""),
            start=start,
            end=end,
        )


def _number(said: str) -> int:
    return int(said) if said.isdecimal() and len(said) < 12 else 0


def opener(language: str, *, expert: str = "", version: str = "") -> Callable[[Passage], str]:
    """Return a function that gives the address of a passage which this expert has cited."""

    def address(passage: Passage) -> str:
        cited = Cited(
            expert=expert,
            version=version,
            chunk_id=passage.chunk_id,
            start=passage.start,
            end=passage.end,
        )
        return cited.address(language)

    return address


def in_document(place: PlaceView, start: int = 0, end: int = 0) -> str:
    """Return a passage marked in the text around it; its own paragraph whole, the rest to be scrolled to.

    Only characters `start` to `end` of the document are marked if they lie within the passage. One that
    was edited is marked whole, since its new text has other offsets.
    """
    chunk = place.chunk
    before = ("…" if chunk.start > len(place.before) else "") + place.before
    after = place.after + ("…" if chunk.end + len(place.after) < place.length else "")
    passage = place.passage
    if chunk.start <= start < end <= chunk.end and not chunk.edited:
        first, last = start - chunk.start, end - chunk.start
        before, passage, after = before + passage[:first], passage[first:last], passage[last:] + after
    begins = before.rfind("\n") + 1
    ends = after.find("\n") if "\n" in after else len(after)
    return (
        f'<div class="mbe-card mbe-doc">{_far(before[:begins])}<div class="mbe-text">'
        f"{escape(before[begins:])}<mark>{escape(passage)}</mark>{escape(after[:ends])}</div>"
        f"{_far(after[ends:])}</div>"
    )


def _far(text: str) -> str:
    shown = escape(text.strip("\r\n"))
    return f'<div class="mbe-far" tabindex="0"><div class="mbe-text">{shown}</div></div>' if shown else ""
