"""Pieces of pages that look the same everywhere: job card, table, empty state, tiles, citations.

Functions that fill a place on a page return HTML as text; those that fill a table cell or a sentence
return `Html`, which is not escaped again. Everything else that is given as text is escaped here.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from apps.theme import MONO
from engine.jobs.scheduling import Place
from engine.jobs.schemas import JobView
from engine.kit.clock import now
from engine.kit.messages import t
from engine.kit.money import format_credits
from engine.knowledge import lexical
from engine.knowledge.schemas import Passage

CSS = f"""
.mbe-scroll{{overflow-x:auto;border:1px solid var(--line);border-radius:10px;background:var(--panel)}}
.mbe-page table.mbe-table,table.mbe-table{{width:100%;border-collapse:collapse;background:none;
 border:0!important;border-spacing:0;font-size:15px;margin:0;
 font-variant-numeric:tabular-nums;color:var(--ink)}}
.mbe-table th,.mbe-table td{{padding:9px 14px!important;border:0!important;
 border-bottom:1px solid var(--line)!important; text-align:left;vertical-align:top;background:none!important}}
.mbe-table tbody tr:last-child td{{border-bottom:0!important}}
.mbe-table th{{font-weight:500;color:var(--muted);white-space:nowrap}}
.mbe-page .mbe-table th button,.mbe-table th button{{font:inherit!important;color:inherit!important;
 background:none!important;border:0!important;padding:0!important;min-height:0!important;cursor:pointer}}
.mbe-table th button:hover,.mbe-table th[aria-sort] button{{color:var(--ink)!important}}
.mbe-table th[aria-sort=ascending] button::after{{content:" ↑"}}
.mbe-table th[aria-sort=descending] button::after{{content:" ↓"}}
.mbe-table tr,.mbe-table thead,.mbe-table tbody{{border:0!important}}
.mbe-table .num{{text-align:right!important;white-space:nowrap}}
.mbe-table td:first-child{{overflow-wrap:anywhere;min-width:120px}}
.mbe-page .mbe-table td a,.mbe-table td a{{color:var(--primary);font-weight:500;
 text-decoration:none;padding:0}}
.mbe-table :is(time,td .mbe-state,td code,.mbe-num,.mbe-money){{white-space:nowrap}}
.mbe-page .mbe-table td a:hover{{text-decoration:underline}}
.mbe-table tbody tr:hover td{{background:var(--paper)!important}}
.mbe-table th.num:first-child{{width:1%}}
.mbe-page a.mbe-button,a.mbe-button{{display:inline-block;margin-top:12px;padding:8px 16px;border-radius:8px;
 background:var(--primary);color:var(--panel)!important;text-decoration:none!important;font-weight:500}}
.mbe-tiles{{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:12px}}
.mbe-tile{{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:12px 16px}}
.mbe-tile b{{display:block;font-size:20px;font-weight:650;font-variant-numeric:tabular-nums;
 overflow-wrap:anywhere;color:var(--ink)}}
.mbe-page .mbe-tile b *{{font-size:20px;font-weight:650}}
.mbe-tiles{{margin-top:8px}} .mbe-page .mbe-tile>span{{color:var(--muted);font-size:15px}}
.mbe-job-top{{display:flex;gap:4px 12px;justify-content:space-between;flex-wrap:wrap}}
.mbe-job-facts{{color:var(--muted);font-variant-numeric:tabular-nums;display:flex;gap:2px 16px;
 flex-wrap:wrap}}
.mbe-state.busy{{color:var(--primary)}} .mbe-state.calm{{color:var(--muted)}}
.mbe-bar-track i{{transition:width .4s}}
.mbe-note{{border-left:3px solid var(--line);padding:6px 14px;color:var(--ink);margin:8px 0}}
.mbe-note .mbe-state{{font-weight:400}} .mbe-note.good{{border-color:var(--good)}}
.mbe-note.bad{{border-color:var(--bad)}}
.mbe-say{{margin:0 0 8px;padding:8px 12px;border-radius:10px;max-width:80%;white-space:pre-wrap;
 overflow-wrap:anywhere;border:1px solid var(--line);background:var(--panel);width:fit-content}}
.mbe-say small{{display:block;color:var(--muted)}}
.mbe-say.user{{margin-left:auto;background:var(--paper)}}
.mbe-cites{{display:flex;gap:6px;flex-wrap:wrap;margin-top:8px}}
.mbe-cite summary{{cursor:pointer;list-style:none;display:inline-block;border:1px solid var(--line);
 border-radius:12px;padding:1px 10px;font-size:14px;color:var(--muted);background:var(--panel)}}
.mbe-cite summary::-webkit-details-marker{{display:none}}
.mbe-cite[open]{{flex-basis:100%}}
.mbe-cite[open] summary,.mbe-cite summary:hover{{color:var(--primary);border-color:var(--primary)}}
.mbe-quote{{border-left:3px solid var(--line);margin:6px 0;padding:4px 12px;white-space:pre-wrap;
 overflow-wrap:anywhere;color:var(--ink)}}
.mbe-quote a{{display:inline-block;margin-top:4px;padding:0!important;color:var(--primary)!important;
 font-size:14px;font-weight:500;text-decoration:none!important}}
.mbe-quote a:hover{{text-decoration:underline!important}}
.mbe-quote mark,.mbe-page mark{{background:color-mix(in srgb,var(--accent) 35%,transparent);color:inherit;
 border-radius:2px}}
.mbe-code{{font-family:{MONO};font-size:14px;overflow-wrap:anywhere}}
"""
"""Styles of everything below; a page puts `style()` at its top."""

_WORD = re.compile(r"[^\W_\u3040-\u9fff]+(?:['’][^\W_\u3040-\u9fff]+)?")
_SORT = (
    "const h=this.closest('th'),b=h.closest('table').tBodies[0],i=h.cellIndex,"
    "d=h.getAttribute('aria-sort')==='ascending'?-1:1,"
    "v=r=>r.cells[i].dataset.v??r.cells[i].innerText;"
    "[...h.parentNode.cells].forEach(c=>c.removeAttribute('aria-sort'));"
    "h.setAttribute('aria-sort',d>0?'ascending':'descending');"
    "[...b.rows].sort((x,y)=>{const p=v(x),q=v(y);return d*(isNaN(p-q)?p.localeCompare(q):p-q)})"
    ".forEach(r=>b.append(r))"
)

TONES = {"good": "✓", "bad": "✕", "busy": "●", "calm": "○"}
JOB_TONES = {
    "queued": "calm",
    "running": "busy",
    "pausing": "busy",
    "paused": "calm",
    "cancelling": "busy",
    "cancelled": "calm",
    "succeeded": "good",
    "failed": "bad",
}


@dataclass(frozen=True)
class Html:
    """HTML that is ready to stand in a cell; `sort` is what its column is sorted by, if not its words."""

    text: str
    sort: str | int | float | None = None


Cell = str | int | float | Html | None
BEGINS_ANEW = frozenset({"market.quality", "training.merge", "training.prompt"})
"""Jobs that keep nothing over a pause."""


def style() -> str:
    """Return the styles as an element."""
    return f"<style>{CSS}</style>"


def link(address: str, words: str) -> Html:
    """Return a link; the address must be one of our own."""
    return Html(f'<a href="{escape(address)}">{escape(words)}</a>', words)


def outside_link(address: str, words: str) -> Html:
    """Return a link to somebody else's page, which learns nothing of ours. It must be http or https."""
    return Html(
        f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(words)}</a>', words
    )


def muted(words: str) -> Html:
    """Return quiet words."""
    return Html(f'<span class="mbe-muted">{escape(words)}</span>', words)


def code(words: str) -> Html:
    """Return an identifier in the mono face."""
    return Html(f'<code class="mbe-code">{escape(words)}</code>', words)


def state(words: str, tone: str) -> Html:
    """Return a state as a sign and a word; `tone` is good, bad, busy or calm."""
    return Html(f'<span class="mbe-state {tone}">{TONES[tone]} {escape(words)}</span>', words)


def money(micro: int, language: str, address: str = "") -> Html:
    """Return an amount with its unit, linked to where it comes from."""
    words = escape(t("money.unit", language, amount=format_credits(micro)))
    shown = f'<span class="mbe-money">{words}</span>'
    return Html(f'<a href="{escape(address)}">{shown}</a>' if address else shown, micro)


def moment(at: datetime | None, language: str) -> Html:
    """Return a time as people say it; the exact one (UTC) shows on hover."""
    if at is None:
        return Html("–", 0)
    exact = at.strftime("%Y-%m-%d %H:%M:%S UTC")
    return Html(
        f'<time datetime="{at.isoformat()}" title="{exact}">{ago(at, language)}</time>', at.timestamp()
    )


def ago(at: datetime, language: str) -> str:
    """Return how long ago `at` was; after a week, the day."""
    seconds = (now() - at).total_seconds()
    if seconds < 60:
        return t("cards.just_now", language)
    for key, size, limit in (("minutes", 60, 60), ("hours", 3600, 24), ("days", 86400, 7)):
        if seconds < size * limit:
            return t(f"cards.{key}_ago", language, count=int(seconds // size))
    return at.strftime("%Y-%m-%d")


def duration(seconds: float, language: str) -> str:
    """Return a length of time in its two largest units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return t("cards.seconds", language, s=whole)
    if whole < 3600:
        return t("cards.minutes", language, m=whole // 60, s=whole % 60)
    return t("cards.hours", language, h=whole // 3600, m=whole % 3600 // 60)


def size(count: int) -> str:
    """Return a number of bytes in the unit that fits."""
    if count < 1024:
        return f"{count} B"
    for unit, name in ((1 << 30, "GB"), (1 << 20, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}".replace(".0 ", " ")
    return f"{count / 1024:.1f} kB"


def table(headers: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str = "") -> str:
    """Return a table whose columns sort on a click; numbers stand right. The first column is the name."""
    right = {n for n in range(len(headers)) if rows and all(isinstance(row[n], int | float) for row in rows)}
    head = "".join(
        f'<th scope="col"{" class=num" if n in right else ""}>'
        f'<button type="button" onclick="{_SORT}">{escape(words)}</button></th>'
        for n, words in enumerate(headers)
    )
    body = "".join(
        "<tr>" + "".join(_cell(cell, n in right) for n, cell in enumerate(row)) + "</tr>" for row in rows
    )
    label = f' aria-label="{escape(caption)}"' if caption else ""
    return (
        f'<div class="mbe-scroll"><table class="mbe-table"{label}><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _cell(cell: Cell, right: bool) -> str:
    attributes = ' class="num"' if right else ""
    if isinstance(cell, Html):
        if cell.sort is not None:
            attributes += f' data-v="{escape(str(cell.sort))}"'
        return f"<td{attributes}>{cell.text}</td>"
    if cell is None:
        return f"<td{attributes}>–</td>"
    if isinstance(cell, str):
        return f"<td{attributes}>{escape(cell)}</td>"
    return f'<td{attributes} data-v="{cell}">{cell:,}</td>'


def empty(sentence: str, address: str = "", words: str = "") -> str:
    """Return what stands where nothing is yet: one sentence, and one button that makes it so."""
    button = f'<br><a class="mbe-button" href="{escape(address)}">{escape(words)}</a>' if address else ""
    return f'<div class="mbe-empty">{escape(sentence)}{button}</div>'


def tiles(items: Sequence[tuple[str, str | Html]]) -> str:
    """Return numbers that matter, each above its label: (label, value)."""
    shown = "".join(
        f'<div class="mbe-tile"><b>{value.text if isinstance(value, Html) else escape(value)}</b>'
        f"<span>{escape(label)}</span></div>"
        for label, value in items
    )
    return f'<div class="mbe-tiles">{shown}</div>'


def note(words: str | Html, tone: str = "") -> str:
    """Return one remark; `tone` is "good", "bad" or nothing."""
    text = words.text if isinstance(words, Html) else escape(words)
    sign = f"{TONES[tone]} " if tone else ""
    role = ' role="alert"' if tone == "bad" else ""
    return f'<div class="mbe-note {tone}"{role}>{sign}{text}</div>'


def job_card(
    job: JobView, language: str, title: str = "", place: Place | None = None, charged_micro: int = 0
) -> str:
    """Return how a job stands: state, bar, done and total, speed, time left, and why it failed.

    `place` is where a waiting one stands in line, `charged_micro` what its machine time was charged so far.
    """
    tone = JOB_TONES[job.state]
    share = (
        100 if job.state == "succeeded" else min(100, round(100 * job.done / job.total)) if job.total else 0
    )
    told = _job_facts(job, language, place)
    if charged_micro:
        told.append(t("cards.charged", language, amount=format_credits(charged_micro)))
    facts = "".join(f"<span>{escape(fact)}</span>" for fact in told)
    error = job.error_text(language)
    return (
        f'<div class="mbe-card mbe-job" data-state="{job.state}"><div class="mbe-job-top">'
        f"<b>{escape(title or job.title)}</b>{state(job.state_text(language), tone).text}</div>"
        f'<div class="mbe-bar-track" role="progressbar" aria-valuenow="{share}" aria-valuemin="0" '
        f'aria-valuemax="100"><i style="width:{share}%"></i></div>'
        f'<div class="mbe-job-facts">{facts}</div>{note(error, "bad") if error else ""}</div>'
    )


def _job_facts(job: JobView, language: str, place: Place | None) -> list[str]:
    facts = []
    if job.total:
        facts.append(t("cards.progress", language, done=f"{job.done:,}", total=f"{job.total:,}"))
    running = job.state == "running"
    elapsed = ((job.finished_at or now()) - job.started_at).total_seconds() if job.started_at else 0.0
    speed = job.metrics.get("tokens_per_second")
    if running and speed:
        facts.append(t("cards.tokens_speed", language, speed=f"{speed:,.0f}"))
    elif running and job.attempt == 1 and job.done and elapsed >= 1:
        facts.append(t("cards.speed", language, speed=f"{job.done / elapsed:,.1f}"))
    left = _seconds_left(job, elapsed)
    if running and left is not None:
        facts.append(t("cards.time_left", language, time=duration(left, language)))
    if job.state == "succeeded" and elapsed:
        facts.append(t("cards.took", language, time=duration(elapsed, language)))
    if job.state == "queued" and place is not None:
        memory = size(job.memory)
        facts.append(t(f"jobs.waits_{place.reason}", language, number=place.number, memory=memory))
    if job.state == "paused" and job.kind not in BEGINS_ANEW:
        facts.append(t("cards.paused_keeps", language))
    if job.attempt > 1:
        facts.append(t("cards.attempt", language, attempt=job.attempt))
    return facts


def _seconds_left(job: JobView, elapsed: float) -> float | None:
    """Prefer what the job measured itself; a first attempt can be extrapolated, a resumed one cannot."""
    measured = job.metrics.get("seconds_left")
    if measured is not None:
        return float(measured)
    if job.attempt == 1 and job.done and job.total and elapsed >= 2:
        return elapsed / job.done * max(0, job.total - job.done)
    return None


def bubbles(messages: Sequence[dict[str, str]], language: str) -> str:
    """Return a conversation as speech bubbles; the person's stand right."""
    return "".join(
        f'<div class="mbe-say {escape(m["role"])}"><small>{escape(role_name(m["role"], language))}</small>'
        f"{escape(m['content'])}</div>"
        for m in messages
    )


def role_name(role: str, language: str) -> str:
    """Return the word for who speaks."""
    return t(f"cards.role_{role}", language) if role in ("user", "assistant", "system") else role


def citations(
    passages: Sequence[Passage],
    question: str,
    language: str,
    address: Callable[[Passage], str] | None = None,
) -> str:
    """Return numbered chips; each opens its passage with the question's words marked.

    `address` gives the page that shows a passage in its document, which opens in a tab of its own: it may
    be long, and the conversation stays where it is.
    """
    chips = "".join(
        f'<details class="mbe-cite"><summary>{n} · {escape(p.document_name)}'
        f"{place(p.page, language)}</summary>"
        f'<div class="mbe-quote">{_heading(p.heading)}{marked(p.text, question)}'
        f"{_way(n, p, address(p), language) if address else ''}</div></details>"
        for n, p in enumerate(passages, 1)
    )
    return f'<div class="mbe-cites">{chips}</div>' if chips else ""


def _way(number: int, passage: Passage, address: str, language: str) -> str:
    named = t("cards.open_citation", language, number=number, name=passage.document_name)
    return (
        f'\n<a href="{escape(address)}" target="_blank" rel="noopener" aria-label="{escape(named)}">'
        f"{t('cards.in_document', language)} ↗</a>"
    )


def place(page: int | None, language: str) -> str:
    """Return the page of a passage after a dot; nothing where its document has no pages."""
    return f" · {t('cards.page', language, page=page)}" if page else ""


def _heading(heading: str) -> str:
    return f'<small class="mbe-muted">{escape(heading)}</small>\n' if heading else ""


def marked(text: str, question: str) -> str:
    """Return `text` as HTML with the words marked that the question asks for, as retrieval matches them."""
    wanted = frozenset(lexical.terms(question))
    parts, at = [], 0
    for start, end in _spans(text, wanted):
        parts.append(f"{escape(text[at:start])}<mark>{escape(text[start:end])}</mark>")
        at = end
    return "".join(parts) + escape(text[at:])


def _spans(text: str, wanted: frozenset[str]) -> list[tuple[int, int]]:
    """Return where wanted words stand: Latin words by stem, Chinese by pairs, touching ones joined."""
    lowered = text.lower()
    spans = [m.span() for m in _WORD.finditer(text) if lexical.stem(lexical.normalise(m[0])) in wanted]
    for term in wanted:
        if not term.isascii() and len(lowered) == len(text):
            at = lowered.find(term)
            while at >= 0:
                spans.append((at, at + len(term)))
                at = lowered.find(term, at + 1)
    joined: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined
