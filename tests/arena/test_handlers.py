"""The arena's pages without a browser: what they show, and what they keep hidden."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from arena import handlers, service
from arena.handlers import BattlePage
from arena.schemas import BASE, Contestant
from engine.accounts.schemas import Person
from engine.inference import pool
from engine.inference.fake import FakeModel
from engine.inference.schemas import Delta
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, NotFound, NotReady, UpstreamFailed
from engine.kit.settings import settings
from engine.market.schemas import ExpertView

Publish = Callable[..., ExpertView]


@pytest.fixture
def expert(publish: Publish) -> ExpertView:
    """One published expert; its battles are against the base model."""
    return publish("help-desk", "How long do returns take?", "legal", "Help <b>desk</b>")


def watched(person: Person, battle_id: str) -> list[BattlePage]:
    async def collect() -> list[BattlePage]:
        return [page async for page in handlers.watch(person, battle_id, "en")]

    return asyncio.run(collect())


class HalfBroken(FakeModel):
    """The base model breaks off in the middle of its first answer."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    async def stream(  # type: ignore[override]
        self, model: str, messages: Sequence[dict[str, str]], **sampling: object
    ) -> AsyncIterator[Delta]:
        yield Delta(text="Half of it")
        if model == BASE and not self.broken:
            self.broken = True
            raise UpstreamFailed("inference.broke_off")
        yield Delta(text=" and the rest", finish_reason="stop")


def test_nothing_published_leads_each_to_where_it_begins(model: None, dana: Person, eva: Person) -> None:
    assert "/en/studio/publish" in handlers.opening(dana, "en").empty
    assert "/zh/market/" in handlers.opening(eva, "zh").empty


def test_examples_are_the_experts_own_and_categories_those_in_use(
    model: None, eva: Person, publish: Publish, expert: ExpertView
) -> None:
    publish("second", "How long do returns take?")
    publish("third", "退货需要多久？", "legal")
    opening = handlers.opening(eva, "en")
    assert not opening.empty and opening.ready and not opening.notice
    assert set(opening.examples) == {"How long do returns take?", "退货需要多久？"}
    assert [code for _, code in opening.categories] == ["", "legal", "other"]


def test_while_no_model_answers_the_page_says_so_and_nothing_starts(
    eva: Person, expert: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_INFERENCE", "vllm")
    settings.cache_clear()
    opening = handlers.opening(eva, "en")
    assert not opening.ready and "this page notices by itself" in opening.notice
    with pytest.raises(NotReady):
        handlers.start(eva, "Hello?", "")


def test_a_battle_hides_its_names_until_the_vote(model: None, eva: Person, expert: ExpertView) -> None:
    battle_id = handlers.start(eva, "<i>How</i> long?", "legal")
    first = handlers.show(eva, battle_id, "en")
    assert not first.can_vote and first.retry == "Ask both again"
    pages = watched(eva, battle_id)
    assert not pages[0].can_vote and not pages[0].retry
    done = pages[-1]
    assert done.can_vote and not done.voted and not done.retry
    assert not any("desk" in page.sides or "Base model" in page.sides for page in pages)
    assert "&lt;i&gt;How&lt;/i&gt;" in done.question and "<i>" not in done.question
    voted = handlers.vote(eva, battle_id, "left", "en")
    assert voted.voted and not voted.can_vote and voted.sides.count("Your choice") == 1
    assert "Help &lt;b&gt;desk&lt;/b&gt;" in voted.sides and "Base model" in voted.sides
    assert "基础模型" in handlers.show(eva, battle_id, "zh").sides
    with pytest.raises(Conflict):
        handlers.vote(eva, battle_id, "right", "en")


@pytest.mark.parametrize("verdict", ["tie", "both_bad"])
def test_without_a_winner_no_side_is_marked(
    model: None, eva: Person, expert: ExpertView, verdict: str
) -> None:
    battle_id = handlers.start(eva, "How long?", "")
    watched(eva, battle_id)
    voted = handlers.vote(eva, battle_id, verdict, "zh")
    assert "您的选择" not in voted.sides and "Help" in voted.sides


def test_a_side_that_breaks_off_can_be_asked_again(
    model: None, eva: Person, expert: ExpertView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool.pool(), "client", HalfBroken())
    battle_id = handlers.start(eva, "How long?", "")
    broken = watched(eva, battle_id)[-1]
    assert not broken.can_vote and broken.retry in ("Ask A again", "Ask B again")
    assert "This side stopped" in broken.sides and "Half of it" in broken.sides
    again = watched(eva, battle_id)[-1]
    assert again.can_vote and not again.retry and again.sides.count("Half of it and the rest") == 2


def test_a_vote_on_ones_own_expert_is_said_not_to_count(
    model: None, dana: Person, expert: ExpertView
) -> None:
    battle_id = handlers.start(dana, "How long?", "")
    assert "your own" in handlers.show(dana, battle_id, "en").question
    watched(dana, battle_id)
    handlers.vote(dana, battle_id, "left", "en")
    assert handlers.board(dana, "en").empty


def test_an_empty_question_is_refused_at_its_field(model: None, eva: Person, expert: ExpertView) -> None:
    with pytest.raises(BadInput) as caught:
        handlers.start(eva, "  ", "")
    assert caught.value.field == "prompt"


def test_my_battles_list_and_show_and_hide_what_is_not_voted(
    model: None, eva: Person, dana: Person, expert: ExpertView
) -> None:
    assert "/en/arena/" in handlers.history(eva, "en")
    battle_id = handlers.start(eva, "How <u>long</u>?", "")
    watched(eva, battle_id)
    listed = handlers.history(eva, "en")
    assert f"/en/arena/history?battle={battle_id}" in listed and "<u>" not in listed
    assert "hidden until you vote" in listed and "desk" not in listed
    assert f"/en/arena/?battle={battle_id}" in handlers.record(eva, battle_id, "en")
    handlers.vote(eva, battle_id, "right", "en")
    assert "desk" in handlers.history(eva, "en")
    assert "You chose B" in handlers.record(eva, battle_id, "en")


def test_nobody_reaches_anothers_battle(model: None, eva: Person, dana: Person, expert: ExpertView) -> None:
    battle_id = handlers.start(eva, "How long?", "")
    watched(eva, battle_id)
    with pytest.raises(NotFound):
        handlers.show(dana, battle_id, "en")
    with pytest.raises(NotFound):
        handlers.record(dana, battle_id, "en")
    with pytest.raises(NotFound):
        watched(dana, battle_id)
    with pytest.raises(NotFound):
        handlers.vote(dana, battle_id, "left", "en")
    assert battle_id not in handlers.history(dana, "en")


def win(person: Person, winner: str, loser: str, times: int = 1) -> None:
    """Let one model beat another as often as asked."""
    for number in range(times):
        with unit_of_work() as uow:
            battle = service.start(
                uow,
                person_id=person.id,
                tenant_id=person.tenant_id,
                prompt=f"{winner} {loser} {number}",
                left=Contestant(model=winner, name=winner.title()),
                right=Contestant(model=loser, name=loser.title()),
            )
            for side in ("left", "right"):
                service.record_answer(
                    uow, battle_id=battle.id, person_id=person.id, side=side, text="x", finished=True
                )
            left = service.contestants(uow, battle.id, person.id)["left"].model
            service.vote(uow, battle.id, person.id, "left" if left == winner else "right")


def test_the_board_names_a_clear_leader_in_the_colour_that_the_plot_has(eva: Person, dana: Person) -> None:
    assert "/zh/arena/" in handlers.board(eva, "zh").empty
    win(eva, "ann", BASE, 40)
    win(dana, BASE, "ann", 4)
    board = handlers.board(eva, "en")
    assert "Ann leads with" in board.message and not board.warning and not board.empty
    assert "Base model" in board.table and "Group" not in board.table
    assert board.ratings is not None and board.matrix is not None
    first = board.ratings.data[0]
    assert first.name == "Ann" and first.marker.color in board.table
    assert first.error_x.array[0] > 0 and first.error_x.arrayminus[0] > 0
    assert list(board.matrix.data[0].text[0]) == ["", "40 / 44"]


def test_groups_that_never_met_are_not_ranked_together(eva: Person) -> None:
    win(eva, "ann", "bob")
    win(eva, "cid", "dan")
    board = handlers.board(eva, "en")
    assert "never met" in board.warning and "only won or only lost" in board.warning
    assert "Group" in board.table and "leads" not in board.message


def test_an_open_race_names_no_leader(eva: Person, dana: Person) -> None:
    win(eva, "ann", "bob", 3)
    win(dana, "bob", "ann", 2)
    assert "Nobody leads clearly" in handlers.board(eva, "en").message


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_pages_build_in_both_languages_with_no_public_endpoint(language: str, home: Path) -> None:
    from arena.app import build

    demo = build(language)
    assert all(fn.api_visibility != "public" for fn in demo.fns.values())
    assert {path for path, _, _ in demo.pages} >= {"", "leaderboard", "history"}
