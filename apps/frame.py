"""The frame around every page: one header, the same in Gradio, Streamlit and plain HTML."""

from html import escape

from apps.theme import FONTS, MONO, WIDTH, root_css
from engine.accounts.schemas import Person
from engine.flows import top_up_wallet
from engine.kit.messages import t
from engine.kit.money import CREDIT

CURRENT = " aria-current=page"
PLACES = ("studio", "market", "arena", "human-eval", "dashboard")

FRAME_CSS = f"""
.mbe-header{{display:flex;align-items:center;gap:4px 20px;padding:0 16px;min-height:52px;flex-wrap:wrap;
 max-width:{WIDTH}px;margin:0 auto;box-sizing:border-box;font:400 15px/1.4 {FONTS};color:var(--ink)}}
.mbe-header a{{color:var(--ink);text-decoration:none;padding:6px 0;border-bottom:2px solid transparent}}
.mbe-header a:hover{{color:var(--primary)}}
.mbe-header a:focus-visible{{outline:2px solid var(--primary);outline-offset:2px}}
.mbe-header .mbe-name{{font-weight:650;letter-spacing:-.01em;white-space:nowrap}}
.mbe-header nav{{display:flex;gap:20px;flex:1}}
.mbe-header nav a{{white-space:nowrap}}
.mbe-header nav a[aria-current]{{border-color:var(--primary);color:var(--primary);font-weight:600}}
.mbe-header .mbe-side{{display:flex;gap:14px;align-items:center;white-space:nowrap;
 font-variant-numeric:tabular-nums}}
.mbe-header .mbe-balance{{font-weight:600}}
.mbe-header .mbe-muted{{color:var(--muted)}}
.mbe-header details{{display:none}}
.mbe-bar{{background:var(--panel);border-bottom:1px solid var(--line)}}
@media(max-width:760px){{
 .mbe-header{{gap:0 10px;padding:0 12px;flex-wrap:nowrap}}
 .mbe-header nav.mbe-wide{{display:none}}
 .mbe-header .mbe-name{{flex:1}}
 .mbe-header .mbe-side{{gap:10px;font-size:14px}}
 .mbe-header .mbe-person{{max-width:64px;overflow:hidden;text-overflow:ellipsis}}
 .mbe-header details{{display:block}}
 .mbe-header summary{{list-style:none;cursor:pointer;padding:6px 8px;border:1px solid var(--line);
  border-radius:6px}}
 .mbe-header summary::-webkit-details-marker{{display:none}}
 .mbe-header details nav{{position:absolute;left:0;right:0;z-index:50;flex-direction:column;gap:0;
  background:var(--panel);border-bottom:1px solid var(--line);padding:4px 16px 12px}}
 .mbe-header details nav a{{padding:10px 0}}
}}
"""

PLAIN_CSS = f"""
*{{box-sizing:border-box}}
body{{margin:0;background:var(--paper);color:var(--ink);font:400 16px/1.5 {FONTS}}}
main{{max-width:{WIDTH}px;margin:0 auto;padding:32px 16px 64px}}
h1{{font-size:30px;line-height:1.2;letter-spacing:-.02em;margin:0 0 8px;font-weight:650}}
h2{{font-size:20px;line-height:1.3;margin:40px 0 12px;font-weight:650}}
p{{margin:0 0 12px;max-width:68ch}}
a{{color:var(--primary)}}
code{{font-family:{MONO};font-size:14px}}
.muted{{color:var(--muted)}}
.doors{{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:12px}}
.door{{display:block;background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:16px;
 color:inherit;text-decoration:none}}
.door:hover,.door:focus-visible{{border-color:var(--primary);outline:none}}
.door b{{display:block;font-size:16px}}
.door span{{color:var(--muted);font-size:15px}}
.card{{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:16px 20px}}
.row{{display:flex;gap:8px;flex-wrap:wrap;align-items:center}}
button{{font:inherit;padding:8px 14px;border-radius:8px;border:1px solid var(--line);background:var(--panel);
 color:var(--ink);cursor:pointer}}
button:hover,button:focus-visible{{border-color:var(--primary)}}
button.primary{{background:var(--primary);border-color:var(--primary);color:var(--panel)}}
label{{display:block;margin:12px 0 4px}}
input,select{{font:inherit;width:100%;padding:8px 10px;border:1px solid var(--line);border-radius:8px;
 background:var(--panel);color:var(--ink)}}
.bar{{height:6px;border-radius:3px;background:var(--line);overflow:hidden;margin-top:10px}}
.bar i{{display:block;height:100%;background:var(--primary);transition:width .4s}}
.error{{color:var(--bad)}}
.ok{{color:var(--good)}}
"""


def short_credits(micro: int) -> str:
    """Return an amount in credits with two decimals, rounded down: what a header has room for."""
    return f"{micro // (CREDIT // 100) / 100:,.2f}"


def header(
    place: str, language: str, person: Person | None = None, path: str = "", balance: int | None = None
) -> str:
    """Return the header; `place` is one of PLACES or "", `path` the address of the page without language."""
    nav = "".join(
        f'<a href="/{language}/{name}/"{CURRENT if name == place else ""}>'
        f"{escape(t(f'frame.{name}', language))}</a>"
        for name in PLACES
    )
    other = "zh" if language == "en" else "en"
    words = t("frame.other", language)
    switch = f'<a href="/{other}/{escape(path)}" lang="{other}" hreflang="{other}">{words}</a>'
    if person is None:
        side = f'<a href="/{language}/sign-in">{t("frame.sign_in", language)}</a>'
    else:
        shown = short_credits(balance or 0)
        side = (
            f'<a class="mbe-balance" href="/{language}/market/wallet" '
            f'title="{t("frame.balance", language)}">{t("money.unit", language, amount=shown)}</a>'
            f'<a class="mbe-person" href="/{language}/account">{escape(person.name)}</a>'
        )
    return (
        f'<div class="mbe-bar"><header class="mbe-header">'
        f'<a class="mbe-name" href="/{language}/">MBE Studio</a>'
        f'<nav class="mbe-wide" aria-label="{t("frame.places", language)}">{nav}</nav>'
        f'<div class="mbe-side">{switch}{side}</div>'
        f"<details><summary>{t('frame.menu', language)}</summary><nav>{nav}</nav></details>"
        f"</header></div>"
    )


def header_for(place: str, language: str, person: Person | None, path: str = "") -> str:
    """Return the header with the person's balance looked up."""
    balance = top_up_wallet.wallet(person).balance_micro if person else None
    return header(place, language, person, path, balance)


def page(title: str, language: str, body: str, *, head: str = "", top: str = "") -> str:
    """Return a whole plain HTML page with `top` (the header) and `body` inside `main`."""
    code = "zh-CN" if language == "zh" else "en"
    return (
        f'<!doctype html><html lang="{code}"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title>"
        f'<link rel="icon" href="/favicon.svg" type="image/svg+xml">'
        f"<style>{root_css()}{PLAIN_CSS}{FRAME_CSS}</style>{head}</head>"
        f"<body>{top}<main>{body}</main></body></html>"
    )
