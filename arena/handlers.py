"""What the arena's pages show and do: values in, views out, no gradio."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import plotly.graph_objects as go

from arena import battles, plots, views
from arena.schemas import BattleView, Side
from engine.accounts.schemas import Person
from engine.flows import browse_market
from engine.inference import state
from engine.kit.messages import t
from engine.market.schemas import CATEGORIES

EXAMPLES = 3
HISTORY = 100
SIDES: tuple[Side, ...] = ("left", "right")

# Words may come faster than a person reads; the page is sent at most this often, in seconds.
PAUSE = 0.05


@dataclass(frozen=True)
class Opening:
    """Whether a battle can start. `empty` stands in place of the form, `notice` above it."""

    empty: str
    notice: str
    ready: bool
    examples: tuple[str, ...]
    categories: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class BattlePage:
    """A battle as its page shows it now. `retry` is the words on the button that asks a side again."""

    battle_id: str
    question: str
    sides: str
    status: str
    can_vote: bool
    voted: bool
    retry: str


@dataclass(frozen=True)
class Board:
    """The leaderboard. `empty` stands in place of all the rest."""

    empty: str = ""
    message: str = ""
    warning: str = ""
    table: str = ""
    ratings: go.Figure | None = None
    matrix: go.Figure | None = None


def opening(person: Person, language: str) -> Opening:
    """Return what stands on the page before a battle: the example questions are the experts' own."""
    published = browse_market.catalog()
    used = {expert.category for expert in published}
    ready = state.answers()
    return Opening(
        empty="" if published else views.nobody("developer" in person.roles, language),
        notice="" if ready else views.not_ready(state.status().text(language), language),
        ready=ready,
        examples=tuple(dict.fromkeys(expert.example for expert in published))[:EXAMPLES],
        categories=(
            (t("arena_page.any_category", language), ""),
            *((t(f"market.category_{one}", language), one) for one in CATEGORIES if one in used),
        ),
    )


def start(person: Person, prompt: str, category: str) -> str:
    """Start a battle and return its id. Raises BadInput at the prompt, NotReady, Conflict."""
    return battles.start(person, prompt or "", category=category or None).id


def show(person: Person, battle_id: str, language: str) -> BattlePage:
    """Return one of the person's battles as it stands. Raises NotFound."""
    return _page(battles.get(person, battle_id), language)


async def watch(person: Person, battle_id: str, language: str) -> AsyncIterator[BattlePage]:
    """Yield the page while both sides answer. A side that breaks off keeps its words on the page."""
    battle = await asyncio.to_thread(battles.get, person, battle_id)
    said = {side: getattr(battle, side).answer for side in SIDES}
    broken: set[Side] = set()
    live = {side for side in SIDES if not getattr(battle, side).finished}
    if live:
        yield _page(battle, language, said, live, broken)
    shown, clock = 0.0, asyncio.get_running_loop().time
    async with aclosing(battles.stream(person, battle_id)) as words:  # type: ignore[type-var]
        async for word in words:
            said[word.side] += word.text
            if word.error:
                broken.add(word.side)
            if word.finished or word.error:
                live.discard(word.side)
            if word.finished or word.error or clock() - shown >= PAUSE:
                shown = clock()
                yield _page(battle, language, said, live, broken)
    yield _page(await asyncio.to_thread(battles.get, person, battle_id), language, said, live, broken)


def vote(person: Person, battle_id: str, verdict: str, language: str) -> BattlePage:
    """Record the person's one vote and return the battle with its names."""
    return _page(battles.vote(person, battle_id, verdict), language)


def _page(
    battle: BattleView,
    language: str,
    said: dict[Side, str] | None = None,
    live: set[Side] | frozenset[Side] = frozenset(),
    broken: set[Side] | frozenset[Side] = frozenset(),
) -> BattlePage:
    """Compose the page of a battle; `said` are words that are not stored yet."""
    missing = [side for side in SIDES if not getattr(battle, side).finished]
    shown = [
        views.side(
            battle,
            side,
            (said or {}).get(side) or getattr(battle, side).answer,
            "live" if side in live else "broken" if side in broken else "",
            language,
        )
        for side in SIDES
    ]
    return BattlePage(
        battle_id=battle.id,
        question=views.question(battle, language),
        sides=views.columns(shown),
        status=views.status(battle, bool(live), language),
        can_vote=not missing and battle.verdict is None,
        voted=battle.verdict is not None,
        retry="" if live else views.retry(missing, language),
    )


def history(person: Person, language: str) -> str:
    """Return the table of the person's battles, or what stands there before the first."""
    return views.history(battles.history(person, HISTORY), HISTORY, language)


def record(person: Person, battle_id: str, language: str) -> str:
    """Return one battle of the past in full. Raises NotFound."""
    battle = battles.get(person, battle_id)
    return views.record(battle, _page(battle, language).sides, language)


def board(_person: Person, language: str) -> Board:
    """Return the leaderboard; everybody who is signed in may read it."""
    found = battles.leaderboard()
    if not found:
        return Board(empty=views.no_votes(language))
    return Board(
        message=views.headline(found, language),
        warning=views.warnings(found, language),
        table=views.ranks(found, language),
        ratings=plots.ratings(found, language),
        matrix=plots.matrix(battles.wins_matrix(), language),
    )
