"""HTML of the catalog, of an expert and of its chat."""

import json
from collections.abc import Sequence
from html import escape
from typing import Protocol
from urllib.parse import quote, urlencode

from apps import cards, passage
from apps.cards import Html
from apps.passage import Cited
from engine.flows.open_citation import Citation
from engine.kit.errors import EngineError, InsufficientCredit, NotFound, NotReady
from engine.kit.messages import t
from engine.kit.money import format_credits
from engine.knowledge.schemas import Passage
from engine.market.schemas import ExpertView

TABS = (("", "catalog"), ("wallet", "wallet"), ("usage", "usage"), ("keys", "keys"))
LONGEST_QUESTION = 200
_COPY = (
    "const b=this,e=document.createElement('textarea'),d=()=>{b.textContent=b.dataset.done;"
    "setTimeout(()=>b.textContent=b.dataset.words,1500)};"
    "if(navigator.clipboard)navigator.clipboard.writeText(b.dataset.text).then(d);"
    "else{e.value=b.dataset.text;document.body.append(e);e.select();document.execCommand('copy');e.remove();d()}"
)


class Costs(Protocol):
    """What the cost line needs of an answer's cost; `charged_micro` in micro-credits."""

    @property
    def input_tokens(self) -> int: ...
    @property
    def output_tokens(self) -> int: ...
    @property
    def charged_micro(self) -> int: ...
    @property
    def package_tokens(self) -> int: ...
    @property
    def receipt_id(self) -> str: ...
    @property
    def finish(self) -> str: ...


def t_(key: str, language: str, **facts: object) -> str:
    """Return words of the market, ready to stand in HTML."""
    return escape(t(f"marketplace.{key}", language, **facts))


def tabs(language: str, here: str) -> list[tuple[str, str, bool]]:
    """Return the market's pages: (address, words, whether it is this one)."""
    return [(f"/{language}/market/{path}", t_(f"tab_{key}", language), key == here) for path, key in TABS]


def heading(key: str, language: str) -> str:
    """Return the title of a page with one sentence on what it is for."""
    return f"<h1>{t_(key, language)}</h1><p class='mbe-muted'>{t_(f'{key}_why', language)}</p>"


def lost(words: str, language: str) -> str:
    """Return what stands where a page cannot be shown."""
    return cards.empty(words, f"/{language}/market/", t("marketplace.to_catalog", language))


def expert_address(name: str, language: str) -> str:
    """Return the address of an expert's page."""
    return f"/{language}/market/expert?name={quote(name)}"


def receipt_address(receipt_id: str, language: str) -> str:
    """Return the address of a receipt."""
    return f"/{language}/market/wallet?{urlencode({'receipt': receipt_id})}"


# The catalog


def none_published(language: str) -> str:
    """Return what stands in an empty market."""
    words = t("marketplace.to_studio", language)
    return cards.empty(t("marketplace.none_published", language), f"/{language}/studio/", words)


def none_match(language: str) -> str:
    """Return what stands where nothing was found."""
    words = t("marketplace.clear_search", language)
    return cards.empty(t("marketplace.none_match", language), f"/{language}/market/", words)


def experts(shown: Sequence[ExpertView], count: int, language: str) -> str:
    """Return cards of the experts `shown` out of `count` that match."""
    key = "count" if len(shown) == count else "count_some"
    told = t_(key, language, shown=f"{len(shown):,}", count=f"{count:,}")
    if count == 1:
        told = ""
    body = "".join(_card(expert, language) for expert in shown)
    return f'<p class="mbe-muted mbe-num">{told}</p><div class="mbe-experts">{body}</div>'


def _card(expert: ExpertView, language: str) -> str:
    about = " ".join(expert.description.split())
    return (
        f'<a class="mbe-expert" href="{escape(expert_address(expert.name, language))}">'
        f"<b>{escape(expert.title)}</b>"
        f'<span class="mbe-muted"><code class="mbe-code">{escape(expert.name)}</code> '
        f"{escape(expert.version)} · {escape(_category(expert, language))}</span>"
        f'<span class="mbe-about">{escape(about)}</span>'
        f'<span class="mbe-price">{price_line(expert, language)}</span>'
        f'<span class="mbe-muted mbe-num">{_calls(expert, language)}</span></a>'
    )


def _category(expert: ExpertView, language: str) -> str:
    return t(f"market.category_{expert.category}", language)


def _calls(expert: ExpertView, language: str) -> str:
    key = {0: "no_calls", 1: "one_call"}.get(expert.calls, "calls")
    return t_(key, language, count=f"{expert.calls:,}")


def price_line(expert: ExpertView, language: str) -> str:
    """Return both prices with their unit."""
    if not expert.input_price_micro and not expert.output_price_micro:
        return t_("free", language)
    return t_(
        "price_line",
        language,
        input=format_credits(expert.input_price_micro),
        output=format_credits(expert.output_price_micro),
    )


# One expert


def expert_head(expert: ExpertView, developer: str, language: str) -> str:
    """Return who an expert is: title, maker, version, category, tags, prices and quality."""
    facts = [
        t_("made_by", language, name=developer) if developer else "",
        t_("version", language, version=expert.version),
        escape(_category(expert, language)),
        _calls(expert, language),
    ]
    tags = "".join(f'<span class="mbe-tag">{escape(tag)}</span>' for tag in expert.tags)
    return (
        f'<a class="mbe-back" href="/{language}/market/">← {t_("back", language)}</a>'
        f'<h1>{escape(expert.title)}</h1><p class="mbe-muted mbe-num"><code class="mbe-code">'
        f"{escape(expert.name)}</code> · {' · '.join(fact for fact in facts if fact)}</p>"
        f'<p class="mbe-text">{escape(expert.description)}</p>'
        f"{f'<p>{tags}</p>' if tags else ''}{_figures(expert, language)}"
    )


def _figures(expert: ExpertView, language: str) -> str:
    quality = expert.quality or {}
    unknown = t("marketplace.not_measured", language)
    accuracy, p95 = quality.get("accuracy"), quality.get("response_p95_ms")
    seconds = "" if p95 is None else t("marketplace.p95_value", language, seconds=f"{p95 / 1000:,.1f}")
    tiles: list[tuple[str, str | Html]] = [
        (t("marketplace.price_in", language), _credits(expert.input_price_micro, language)),
        (t("marketplace.price_out", language), _credits(expert.output_price_micro, language)),
        (t("marketplace.accuracy", language), unknown if accuracy is None else f"{accuracy:.1%}"),
        (t("marketplace.p95", language), seconds or unknown),
    ]
    return cards.tiles(tiles)


def _credits(micro: int, language: str) -> str:
    return t("money.unit", language, amount=format_credits(micro))


def sample_question(expert: ExpertView) -> str:
    """Return the first line of the usage example, short enough to be asked."""
    lines = expert.example.strip().splitlines() or [""]
    return lines[0].strip()[:LONGEST_QUESTION]


def example(expert: ExpertView, language: str) -> str:
    """Return the usage example as its developer wrote it."""
    if not expert.example.strip():
        return ""
    words = t_("ask_for_example", language)
    return f'<div class="mbe-note"><span class="mbe-muted">{words}</span> {escape(expert.example)}</div>'


def copy_button(text: str, language: str) -> str:
    """Return a button that copies `text`; it works without the server."""
    words, done = t_("copy", language), t_("copied", language)
    return (
        f'<button type="button" data-text="{escape(text)}" data-words="{words}" data-done="{done}" '
        f'onclick="{escape(_COPY)}">{words}</button>'
    )


def copyable(text: str, language: str, label: str = "") -> str:
    """Return `text` in the mono face with a button that copies it."""
    return (
        f'<div class="mbe-copy"><div class="mbe-copy-top"><span class="mbe-muted">{escape(label)}</span>'
        f'{copy_button(text, language)}</div><pre class="mbe-code" tabindex="0">{escape(text)}</pre></div>'
    )


def api(expert: ExpertView, base_url: str, language: str) -> str:
    """Return how a program asks this expert: curl, Python and JavaScript."""
    facts = cards.tiles(
        [
            (t("marketplace.api_base", language), cards.code(base_url)),
            (t("marketplace.api_model", language), cards.code(expert.name)),
        ]
    )
    shown = "".join(
        copyable(code, language, label)
        for label, code in snippets(expert.name, sample_question(expert) or "Hello", base_url)
    )
    return (
        f"<p>{t_('api_why', language)} "
        f'<a href="/{language}/market/keys">{t_("api_keys", language)}</a></p>{facts}{shown}'
    )


def snippets(name: str, question: str, base_url: str) -> list[tuple[str, str]]:
    """Return (language, code) of a call; the key comes from the environment variable MBE_API_KEY."""
    asked = json.dumps(question, ensure_ascii=False)
    body = json.dumps(
        {"model": name, "messages": [{"role": "user", "content": question}]}, ensure_ascii=False
    ).replace("'", "'\\''")
    curl = (
        f'curl {base_url}/chat/completions \\\n  -H "Authorization: Bearer $MBE_API_KEY" \\\n'
        f"  -H \"Content-Type: application/json\" \\\n  -d '{body}'"
    )
    python = (
        "import os\n\nfrom openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{base_url}", api_key=os.environ["MBE_API_KEY"])\n'
        f"answer = client.chat.completions.create(\n"
        f'    model="{name}",\n    messages=[{{"role": "user", "content": {asked}}}],\n)\n'
        "print(answer.choices[0].message.content)"
    )
    javascript = (
        'import OpenAI from "openai";\n\n'
        f'const client = new OpenAI({{ baseURL: "{base_url}", apiKey: process.env.MBE_API_KEY }});\n'
        "const answer = await client.chat.completions.create({\n"
        f'  model: "{name}",\n  messages: [{{ role: "user", content: {asked} }}],\n}});\n'
        "console.log(answer.choices[0].message.content);"
    )
    return [("curl", curl), ("Python", python), ("JavaScript", javascript)]


# Under an answer


def chips(passages: Sequence[Passage], answer: str, busy: bool, name: str, language: str) -> str:
    """Return the passages as numbered chips, with the words marked that the finished answer took.

    Each leads to its place in its document; `name` is the expert that cites them.
    """
    address = passage.opener(language, expert=name)
    return cards.citations(passages, "" if busy else answer, language, address)


def finish(reason: str, language: str) -> str:
    """Return how an answer ended."""
    known = ("stop", "length", "cancelled", "failed", "expired", "degraded")
    return t(f"marketplace.finish_{reason if reason in known else 'other'}", language, finish=reason)


def cost_line(cost: Costs, answer: str, language: str) -> str:
    """Return tokens, charge, the way to the receipt and a way to copy the answer, in one quiet line."""
    parts = []
    if cost.finish not in ("", "stop"):
        parts.append(escape(finish(cost.finish, language)))
    if cost.input_tokens or cost.output_tokens:
        words = t_("cost_line", language, input=f"{cost.input_tokens:,}", output=f"{cost.output_tokens:,}")
        parts.append(f'<span title="{t_("cost_tokens_hint", language)}">{words}</span>')
    if cost.charged_micro:
        parts.append(escape(_credits(cost.charged_micro, language)))
    elif cost.package_tokens:
        parts.append(escape(t("packages.from_package", language, tokens=f"{cost.package_tokens:,}")))
    else:
        parts.append(t_("nothing_charged", language))
    address = escape(receipt_address(cost.receipt_id, language))
    parts.append(f'<a href="{address}">{t_("receipt_link", language)}</a>')
    if answer:
        parts.append(copy_button(answer, language))
    return f'<div class="mbe-cost">{" · ".join(parts)}</div>'


def trouble(words: str) -> str:
    """Return why a question was not asked."""
    return cards.note(words, "bad")


def refusal(error: EngineError, language: str) -> str:
    """Return an error as one friendly line, with the way out where there is one."""
    if isinstance(error, InsufficientCredit):
        words = t_("insufficient", language, **error.facts)
        link = f'<a href="/{language}/market/wallet">{t_("open_wallet", language)}</a>'
        return cards.note(Html(f"{words} {link}"), "bad")
    if isinstance(error, NotReady) and error.key.startswith("inference."):
        return cards.note(t("marketplace.try_again", language, seconds=error.retry_after))
    return trouble(error.message(language))


def unsettled(language: str) -> str:
    """Return what is said of a stopped answer whose receipt cannot be told from others."""
    words = t_("stopped_unsettled", language)
    return cards.note(Html(f'{words} <a href="/{language}/market/wallet">{t_("open_wallet", language)}</a>'))


def starting(progress: int | None, language: str) -> str:
    """Return that the model server starts, and how far it is."""
    if progress:
        return cards.note(t("marketplace.starting_progress", language, progress=progress))
    return cards.note(t("marketplace.starting", language))


# One citation


def citation(found: Citation, cited: Cited, language: str) -> str:
    """Return a passage in its document under the document's name, and the way back to the expert."""
    chunk, expert = found.place.chunk, found.expert
    back = f'<span class="mbe-muted">{escape(expert.title)}</span>'
    if expert.state == "published":
        address = escape(expert_address(expert.name, language))
        back = f'<a class="mbe-back" href="{address}">← {escape(expert.title)}</a>'
    page = t("marketplace.cited_page", language, page=chunk.page) if chunk.page else ""
    where = " · ".join(part for part in (page, chunk.heading) if part)
    under = f'<p class="mbe-muted">{escape(where)}</p>' if where else ""
    return (
        f"{back}<h1>{escape(chunk.document_name)}</h1>{under}"
        f"{_goes_by(found, language)}{passage.in_document(found.place, cited.start, cited.end)}"
    )


def _goes_by(found: Citation, language: str) -> str:
    """Return what the marked text is to the expert."""
    return f"<p>{t_('cited_edited' if found.place.chunk.edited else 'cited_here', language)}</p>"


def citation_gone(error: NotFound, name: str, language: str) -> str:
    """Return why a citation of the expert `name` cannot be shown, and the way to ask again."""
    words = t("marketplace.ask_expert", language)
    return cards.empty(error.message(language), expert_address(name, language), words)
