"""HTML of the arena's pages."""

from collections.abc import Sequence
from html import escape

from apps import cards
from apps.theme import colour_of
from arena.schemas import BASE, BattleView, Rating, Side, SideView
from engine.kit.messages import t

LETTERS: dict[str, str] = {"left": "A", "right": "B"}
CSS = """
.mbe-fight{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:16px}
.mbe-fighter{background:var(--panel);border:1px solid var(--line);border-radius:10px;padding:16px 20px;
 min-height:160px;box-sizing:border-box}
.mbe-fighter.won{border-color:var(--accent);box-shadow:inset 0 3px 0 var(--accent)}
.mbe-fighter header{display:flex;gap:4px 12px;align-items:baseline;flex-wrap:wrap;margin-bottom:8px}
.mbe-fighter header b{font-size:18px} .mbe-fighter header .mbe-state{margin-left:auto;font-weight:400}
.mbe-fighter .mbe-model{font-weight:600;overflow-wrap:anywhere;animation:mbe-reveal .5s ease-out}
.mbe-won{background:var(--accent);color:#14213D;border-radius:6px;padding:1px 8px;font-weight:600;
 font-size:14px;animation:mbe-reveal .5s ease-out}
@keyframes mbe-reveal{from{opacity:0;transform:translateY(4px)}}
@media(prefers-reduced-motion:reduce){.mbe-model,.mbe-won{animation:none!important}}
.mbe-answer{white-space:pre-wrap;overflow-wrap:anywhere}
.mbe-asked{white-space:pre-wrap;overflow-wrap:anywhere;font-size:18px;margin:0 0 4px}
.mbe-page .mbe-status{min-height:24px}
.mbe-page .mbe-votes{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));gap:8px;counter-reset:vote}
.mbe-page .mbe-votes button{width:100%!important;min-width:0!important;counter-increment:vote}
.mbe-votes button::before{content:counter(vote);color:var(--muted);margin-right:8px;
 font-variant-numeric:tabular-nums}
.mbe-page .mbe-chips{gap:8px;flex-wrap:wrap;justify-content:flex-start}
.mbe-page .mbe-chips button{flex:0 1 auto!important;min-width:0!important;max-width:100%;text-align:left;
 font-weight:400;color:var(--primary);white-space:normal;overflow-wrap:anywhere}
.mbe-page .js-plotly-plot :is(.xtick,.ytick,.g-xtitle,.g-ytitle,.heatmap-label,.textpoint) text,
.mbe-page .js-plotly-plot :is(.xtitle,.ytitle){fill:var(--ink)!important}
.mbe-page .js-plotly-plot :is(.gridlayer,.zerolinelayer) path{stroke:var(--line)!important}
.mbe-page .mbe-table td a{padding:0} .mbe-table time{white-space:nowrap}
.mbe-page .mbe-ranks td:first-child{min-width:0;width:48px}
@media(max-width:760px){
 .mbe-fight{grid-template-columns:minmax(0,1fr)} .mbe-fighter{min-height:96px}
 .mbe-page .mbe-votes{position:fixed;left:0;right:0;bottom:0;z-index:40;margin:0;gap:6px;
  padding:8px 8px calc(8px + env(safe-area-inset-bottom));background:var(--panel);
  border-top:1px solid var(--line)}
 .mbe-page .mbe-votes button{padding:8px 2px;min-height:48px} .mbe-votes button::before{content:none}
 .mbe-keys{display:none} .mbe-page .mbe-table td{min-width:64px}
 .mbe-page .mbe-table td:first-child:not(.num){min-width:180px}
 .mbe-table td:first-child a{display:-webkit-box;-webkit-line-clamp:3;overflow:hidden;
  -webkit-box-orient:vertical;-webkit-box-pack:start;text-align:left}
 .mbe-page:has(.mbe-votes){padding-bottom:96px!important}
}
"""


def model_name(model: str | None, name: str | None, language: str) -> str:
    """Return what people call a model; only the base has a name of ours."""
    return t("arena_page.base", language) if model == BASE else name or ""


def nobody(developer: bool, language: str) -> str:
    """Return what stands in place of the form while no expert is published."""
    place = "studio/publish" if developer else "market/"
    words = t("arena_page.to_studio" if developer else "arena_page.to_market", language)
    return cards.empty(t("arena_page.nobody", language), f"/{language}/{place}", words)


def not_ready(why: str, language: str) -> str:
    """Return what stands above the form while no model answers."""
    return cards.note(f"{why} {t('arena_page.not_ready', language)}")


def question(battle: BattleView, language: str) -> str:
    """Return what both sides were asked, and that a vote on one's own expert does not count."""
    own = cards.note(t(battle.note, language)) if battle.note else ""
    return f'<p class="mbe-asked">{escape(battle.prompt)}</p>{own}'


def side(battle: BattleView, which: Side, said: str, how: str, language: str) -> str:
    """Return one column; `how` is "live" while it answers, "broken" when it just broke off."""
    one: SideView = getattr(battle, which)
    won = battle.verdict == which
    answer = escape(said) or f'<span class="mbe-muted">{_silence(one, how, language)}</span>'
    broken = cards.note(t("arena_page.broke_off", language), "bad") if how == "broken" else ""
    return (
        f'<section class="mbe-fighter{" won" if won else ""}" data-side="{which}">'
        f"<header><b>{LETTERS[which]}</b>{_reveal(battle, one, won, language)}"
        f"{_state(one, how, language)}</header>"
        f'<div class="mbe-answer">{answer}</div>{broken}</section>'
    )


def _silence(one: SideView, how: str, language: str) -> str:
    if one.finished:
        return t("arena_page.said_nothing", language)
    return t("arena_page.thinking" if how == "live" else "arena_page.unfinished", language)


def _reveal(battle: BattleView, one: SideView, won: bool, language: str) -> str:
    if battle.verdict is None:
        return ""
    name = f'<span class="mbe-model">{escape(model_name(one.model, one.name, language))}</span>'
    return name + (f'<span class="mbe-won">★ {t("arena_page.winner", language)}</span>' if won else "")


def _state(one: SideView, how: str, language: str) -> str:
    if how == "live":
        return cards.state(t("arena_page.answering", language), "busy").text
    if one.finished:
        return cards.state(t("arena_page.done", language), "calm").text if one.name is None else ""
    return cards.state(t("arena_page.incomplete", language), "bad").text


def columns(shown: Sequence[str]) -> str:
    """Return the two columns side by side; on a phone one above the other."""
    return f'<div class="mbe-fight">{"".join(shown)}</div>'


def status(battle: BattleView, live: bool, language: str) -> str:
    """Return one sentence: what happens now, or what the vote was."""
    words = escape(_sentence(battle, live, language))
    if battle.verdict is None and battle.left.finished and battle.right.finished:
        words += f' <span class="mbe-keys mbe-muted">{t("arena_page.keys", language)}</span>'
    if battle.verdict:
        words += f' <a href="/{language}/arena/leaderboard">{t("arena_page.tab_leaderboard", language)}</a>'
    return f'<div class="mbe-status mbe-muted" role="status">{words}</div>'


def _sentence(battle: BattleView, live: bool, language: str) -> str:
    if battle.verdict in ("left", "right"):
        one: SideView = getattr(battle, battle.verdict)
        name = model_name(one.model, one.name, language)
        return t("arena_page.you_chose", language, side=LETTERS[battle.verdict], name=name)
    if battle.verdict:
        return t(f"arena_page.you_chose_{battle.verdict}", language)
    if battle.left.finished and battle.right.finished:
        return t("arena_page.vote_now", language)
    return t("arena_page.being_written" if live else "arena_page.one_is_missing", language)


def retry(missing: Sequence[Side], language: str) -> str:
    """Return the words on the button that asks the missing sides again; nothing when none is missing."""
    if not missing:
        return ""
    if len(missing) > 1:
        return t("arena_page.ask_both_again", language)
    return t("arena_page.ask_again", language, side=LETTERS[missing[0]])


def history(found: Sequence[BattleView], most: int, language: str) -> str:
    """Return the table of battles, newest first."""
    if not found:
        words = t("arena_page.start", language)
        return cards.empty(t("arena_page.no_battles", language), f"/{language}/arena/", words)
    headers = [t(f"arena_page.{key}", language) for key in ("question", "vote", "side_a", "side_b", "when")]
    rows: list[list[cards.Cell]] = [
        [
            cards.link(f"/{language}/arena/history?battle={one.id}", _cut(one.prompt)),
            _verdict(one, language),
            _who(one.left, language),
            _who(one.right, language),
            cards.moment(one.created_at, language),
        ]
        for one in found
    ]
    more = f"<p class='mbe-muted'>{t('arena_page.newest', language, most=most)}</p>"
    table = cards.table(headers, rows, t("arena_page.tab_history", language))
    return table + (more if len(found) >= most else "")


def _cut(text: str, most: int = 90) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _verdict(one: BattleView, language: str) -> cards.Html:
    if one.verdict is None:
        return cards.muted(t("arena_page.no_vote", language))
    return cards.Html(escape(t(f"arena_page.verdict_{one.verdict}", language)))


def _who(one: SideView, language: str) -> cards.Cell:
    return (
        model_name(one.model, one.name, language)
        if one.name
        else cards.muted(t("arena_page.hidden", language))
    )


def record(battle: BattleView, shown: str, language: str) -> str:
    """Return a battle of the past; one without a vote can be taken up again."""
    back = t("arena_page.tab_history", language)
    address = f"/{language}/arena/?battle={battle.id}"
    go_on = f'<a class="mbe-button" href="{address}">{t("arena_page.go_on", language)}</a>'
    end = status(battle, False, language) if battle.verdict else go_on
    return (
        f'<a class="mbe-back" href="/{language}/arena/history">← {back}</a>'
        f'{question(battle, language)}<p class="mbe-muted">{cards.moment(battle.created_at, language).text}'
        f"{_category(battle, language)}</p>{shown}{end}"
    )


def _category(battle: BattleView, language: str) -> str:
    return f" · {t(f'market.category_{battle.category}', language)}" if battle.category else ""


def no_votes(language: str) -> str:
    """Return what stands on the leaderboard before the first vote."""
    words = t("arena_page.start", language)
    return cards.empty(t("arena_page.no_votes", language), f"/{language}/arena/", words)


def headline(found: Sequence[Rating], language: str) -> str:
    """Return the message of the plot: who leads, if anybody clearly does."""
    first, rivals = found[0], [one for one in found[1:] if one.group == found[0].group]
    if first.several_groups:
        words = t("arena_page.leads_nobody_groups", language)
    elif rivals and all(one.rank > 1 for one in rivals):
        name = model_name(first.model, first.name, language)
        words = t("arena_page.leads", language, name=name, rating=f"{first.rating:,.0f}")
    else:
        words = t("arena_page.leads_nobody", language)
    return f"<h2>{escape(words)}</h2><p class='mbe-muted'>{t('arena_page.how_to_read', language)}</p>"


def warnings(found: Sequence[Rating], language: str) -> str:
    """Return what keeps the ratings from being compared or trusted, if anything does."""
    keys = []
    if found[0].several_groups:
        keys.append("arena_page.groups_do_not_meet")
    if not all(one.settled for one in found):
        keys.append("arena_page.unsettled")
    return "".join(cards.note(t(key, language)) for key in keys)


def ranks(found: Sequence[Rating], language: str) -> str:
    """Return the table of ratings; the group stands in it only when there are several."""
    groups = found[0].several_groups
    keys = ["rank", "name", "rating", "interval", "battles", *(["group"] if groups else [])]
    rows: list[list[cards.Cell]] = []
    for one in found:
        name = escape(model_name(one.model, one.name, language))
        dot = f'<span class="mbe-dot" style="background:{colour(one)}"></span>'
        row: list[cards.Cell] = [
            one.rank,
            cards.Html(f"{dot}{name}", name),
            round(one.rating),
            cards.Html(f'<span class="mbe-num">{one.low:,.0f} – {one.high:,.0f}</span>', one.high - one.low),
            one.battles,
        ]
        rows.append([*row, one.group] if groups else row)
    headers = [t(f"arena_page.{key}", language) for key in keys]
    caption = t("arena_page.tab_leaderboard", language)
    return f'<div class="mbe-ranks">{cards.table(headers, rows, caption)}</div>'


def colour(one: Rating) -> str:
    """Return a model's colour, the same on every page and in every language."""
    return colour_of(one.name)
