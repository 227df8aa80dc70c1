"""The dashboard's script; Streamlit runs it anew for each visit and each change."""

import streamlit as st

from apps.dashboard import charts
from apps.dashboard.mount import LANGUAGE_HEADER, PERSON_HEADER
from apps.frame import FRAME_CSS, header_for, short_credits
from apps.theme import WIDTH, root_css
from engine.accounts.schemas import Person
from engine.flows import people, watch_market
from engine.kit.errors import EngineError
from engine.kit.messages import pick_language, t
from engine.kit.money import format_credits

CSS = f"""
{root_css()}{FRAME_CSS}
[data-testid=stHeader],[data-testid=stToolbar],footer{{display:none!important}}
[data-testid=stMainBlockContainer]{{max-width:{WIDTH}px;padding:0 16px 64px}}
[data-testid=stMainBlockContainer] h1{{font-size:24px;padding:16px 0 0;font-weight:650}}
.mbe-bar{{margin:0 calc(50% - 50vw)}}
.mbe-tiles{{display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:12px;
 margin:8px 0 16px}}
.mbe-tile{{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:12px 16px}}
.mbe-tile b{{display:block;font-size:22px;font-weight:650;font-variant-numeric:tabular-nums;color:var(--ink)}}
.mbe-tile span{{color:var(--muted);font-size:14px}}
.mbe-empty{{border:1px dashed var(--line);border-radius:10px;padding:32px 20px;text-align:center;
 color:var(--muted);margin-top:16px}}
"""
RANGES = (7, 30, 90)


def tiles(overview: dict[str, int | None], language: str) -> str:
    """Return the row of figures above the plots."""

    def count(name: str) -> str:
        return f"{overview[name] or 0:,}"

    def money(name: str) -> str:
        micro = overview[name] or 0
        return f'<span title="{format_credits(micro)}" style="all:unset">{short_credits(micro)}</span>'

    p95 = overview["p95_latency_ms"]
    shown = [
        ("calls", count("calls")),
        ("tokens", count("tokens")),
        ("revenue", money("revenue_micro")),
        ("developers", money("developer_micro")),
        ("platform", money("platform_micro")),
        ("people", count("people")),
        ("experts", count("experts")),
        ("p95", f"{p95:,} ms" if p95 is not None else "–"),
    ]
    cells = "".join(
        f'<div class="mbe-tile"><b>{value}</b><span>{t(f"dashboard.{name}", language)}</span></div>'
        for name, value in shown
    )
    return f'<div class="mbe-tiles">{cells}</div>'


def plots(found: watch_market.Figures, language: str, dark: bool) -> None:
    """Draw the plots, two in a row."""
    pairs = (
        ((charts.revenue, found.by_day), (charts.experts, found.by_expert)),
        ((charts.calls, found.by_day), (charts.tokens, found.by_day)),
        ((charts.latency, found.latency), (charts.people, found.people)),
    )
    for pair in pairs:
        for column, (chart, frame) in zip(st.columns(2), pair, strict=True):
            column.plotly_chart(
                chart(frame, language, dark),
                theme=None,
                key=chart.__name__,
                config={"displayModeBar": False},
            )


def show(person: Person, language: str) -> None:
    """Draw the whole page for somebody."""
    st.html(header_for("dashboard", language, person, "dashboard/"))
    st.markdown(f"# {t('dashboard.title', language)}")
    days = st.segmented_control(
        t("dashboard.range", language),
        RANGES,
        default=RANGES[1],
        format_func=lambda value: t("dashboard.days", language, days=value),
        label_visibility="collapsed",
    )
    try:
        found = watch_market.figures(person, days or RANGES[1])
    except EngineError as error:
        st.html(f'<div class="mbe-empty">{error.message(language)}</div>')
        return
    if found.own_only:
        st.caption(t("dashboard.own_only", language))
    st.html(tiles(found.overview, language))
    if not found.overview["calls"]:
        text, link = t("dashboard.empty", language), t("dashboard.empty_link", language)
        st.html(f'<div class="mbe-empty">{text} <a href="/{language}/market/">{link}</a></div>')
        return
    plots(found, language, dark=st.context.theme.type == "dark")
    st.download_button(
        t("dashboard.csv", language), watch_market.csv(found, language), "usage.csv", "text/csv"
    )


def main() -> None:
    """Find out who is looking, and show them their dashboard."""
    language = pick_language(st.context.headers.get(LANGUAGE_HEADER))
    st.set_page_config(page_title=t("dashboard.title", language), layout="wide")
    st.html(f"<style>{CSS}</style>")
    try:
        person = people.by_id(st.context.headers.get(PERSON_HEADER) or "")
    except EngineError as error:
        st.html(f'<div class="mbe-empty">{error.message(language)}</div>')
        return
    show(person, language)


main()
