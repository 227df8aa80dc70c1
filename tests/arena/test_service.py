import threading
from collections import Counter

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError

from arena import service
from arena.schemas import BASE, BattleView, Contestant
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, EngineError, NotFound

CAMPING = Contestant(model="ex_camping", name="camping-helper", owner_id="pe_dev")
LAUNDRY = Contestant(model="ex_laundry", name="laundry-helper", owner_id="pe_other")
STARTER = Contestant(model=BASE, name="Base model")


def begin(
    prompt: str = "Is the tent waterproof?",
    left: Contestant = CAMPING,
    right: Contestant = LAUNDRY,
    person: str = "pe_eva",
    category: str | None = None,
) -> BattleView:
    with unit_of_work() as uow:
        return service.start(
            uow, person_id=person, tenant_id="te_1", prompt=prompt, left=left, right=right, category=category
        )


def answer_both(battle: BattleView, person: str = "pe_eva") -> None:
    with unit_of_work() as uow:
        for side in ("left", "right"):
            service.record_answer(
                uow, battle_id=battle.id, person_id=person, side=side, text=f"{side} says yes", finished=True
            )


def judge(battle: BattleView, verdict: str = "left", person: str = "pe_eva") -> BattleView:
    with unit_of_work() as uow:
        return service.vote(uow, battle.id, person, verdict)


def win(winner: Contestant, loser: Contestant, prompt: str, person: str = "pe_eva") -> None:
    battle = begin(prompt, winner, loser, person)
    answer_both(battle, person)
    with unit_of_work() as uow:
        left = service.contestants(uow, battle.id, person)["left"].model
    judge(battle, "left" if left == winner.model else "right", person)


def test_names_are_hidden_until_the_vote_and_shown_after_it(db: str) -> None:
    battle = begin()
    answer_both(battle)
    with unit_of_work() as uow:
        hidden = service.get(uow, battle.id, "pe_eva")
    assert hidden.left.answer == "left says yes" and hidden.right.finished
    assert "helper" not in hidden.model_dump_json() and "ex_" not in hidden.model_dump_json()
    shown = judge(battle, "tie")
    assert {shown.left.name, shown.right.name} == {"camping-helper", "laundry-helper"}
    assert shown.verdict == "tie" and shown.rated and shown.note is None
    with unit_of_work() as uow:
        assert service.get(uow, battle.id, "pe_eva") == shown


def test_a_coin_decides_the_sides(db: str) -> None:
    battles = [begin(f"question {n}") for n in range(40)]
    with unit_of_work() as uow:
        left = Counter(service.contestants(uow, battle.id, "pe_eva")["left"].model for battle in battles)
    assert set(left) == {"ex_camping", "ex_laundry"}


@pytest.mark.parametrize(
    ("prompt", "key"),
    [
        ("", "arena.empty_prompt"),
        (" \n ", "arena.empty_prompt"),
        ("x" * 4001, "arena.long_prompt"),
        ("a\0b", "arena.unreadable_prompt"),
        ("a\ud800b", "arena.unreadable_prompt"),
    ],
)
def test_a_bad_prompt_starts_nothing(db: str, prompt: str, key: str) -> None:
    with pytest.raises(BadInput) as caught:
        begin(prompt)
    assert caught.value.key == key and caught.value.field == "prompt"


def test_the_longest_prompt_is_accepted_and_a_model_does_not_fight_itself(db: str) -> None:
    assert begin("字" * 4000).prompt == "字" * 4000
    with pytest.raises(BadInput, match="itself"):
        begin("Hello", CAMPING, CAMPING)


def test_a_vote_waits_for_both_answers(db: str) -> None:
    battle = begin()
    with unit_of_work() as uow:
        part = service.record_answer(
            uow, battle_id=battle.id, person_id="pe_eva", side="left", text="Ye", finished=False
        )
        assert part.left.answer == "Ye" and not part.left.finished
        service.record_answer(
            uow, battle_id=battle.id, person_id="pe_eva", side="left", text="Yes", finished=True
        )
    with pytest.raises(Conflict, match="still answering"):
        judge(battle)


def test_a_finished_answer_stays_as_it_is(db: str) -> None:
    battle = begin()
    answer_both(battle)
    with pytest.raises(Conflict):
        answer_both(battle)


def test_an_answer_with_characters_that_cannot_be_stored_is_kept_without_them(db: str) -> None:
    battle = begin()
    with unit_of_work() as uow:
        kept = service.record_answer(
            uow, battle_id=battle.id, person_id="pe_eva", side="right", text="a\0b\ud83d", finished=True
        )
    assert kept.right.answer == "ab"


def test_only_the_person_who_started_it_sees_answers_and_votes(db: str) -> None:
    battle = begin()
    answer_both(battle)
    with pytest.raises(NotFound):
        judge(battle, person="pe_stranger")
    with unit_of_work() as uow, pytest.raises(NotFound):
        service.get(uow, battle.id, "pe_stranger")
    with unit_of_work() as uow, pytest.raises(NotFound):
        service.contestants(uow, battle.id, "pe_stranger")
    with pytest.raises(NotFound):
        judge(battle.model_copy(update={"id": "bt_unknown"}))


def test_one_vote_a_battle_also_when_many_arrive_at_once(db: str) -> None:
    battle = begin()
    answer_both(battle)
    outcomes: list[str] = []

    def try_once() -> None:
        try:
            judge(battle, "left")
            outcomes.append("voted")
        except EngineError as error:
            outcomes.append(error.key)

    threads = [threading.Thread(target=try_once) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(outcomes) == {"voted": 1, "arena.already_voted": 7}


def test_an_unknown_verdict_is_refused(db: str) -> None:
    battle = begin()
    answer_both(battle)
    with pytest.raises(BadInput, match="not a vote"):
        judge(battle, "both")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE arena_votes SET verdict = 'right'",
        "DELETE FROM arena_votes",
        "TRUNCATE arena_votes",
    ],
)
def test_the_database_refuses_to_change_votes(db: str, statement: str) -> None:
    battle = begin()
    answer_both(battle)
    judge(battle)
    with pytest.raises((ProgrammingError, SQLAlchemyError), match="append-only"), unit_of_work() as uow:
        uow.execute(text(statement))
    with unit_of_work() as uow:
        assert uow.execute(text("SELECT verdict FROM arena_votes")).scalars().all() == ["left"]


def test_a_vote_on_ones_own_expert_is_kept_but_not_rated(db: str) -> None:
    battle = begin(person="pe_dev")
    assert not battle.rated and battle.note == "arena.own_expert"
    answer_both(battle, "pe_dev")
    shown = judge(battle, person="pe_dev")
    assert not shown.rated and shown.verdict == "left"
    with unit_of_work() as uow:
        assert service.leaderboard(uow) == []


def test_the_same_pair_does_not_answer_the_same_prompt_twice_for_one_person(db: str) -> None:
    begin("Hello")
    with pytest.raises(Conflict, match="already"):
        begin("  Hello ", LAUNDRY, CAMPING)
    begin("Hello", person="pe_else")
    begin("Hello again")


def test_pick_pair_takes_the_pair_that_met_least_and_skips_what_the_person_has_seen(db: str) -> None:
    everyone = [CAMPING, LAUNDRY, STARTER]
    begin("one", CAMPING, LAUNDRY, "pe_a")
    begin("two", CAMPING, STARTER, "pe_a")
    with unit_of_work() as uow:
        first = service.pick_pair(uow, everyone, "pe_eva", "three")
        assert {one.model for one in first} == {"ex_laundry", BASE}
    begin("three", *first)
    with unit_of_work() as uow:
        second = service.pick_pair(uow, everyone, "pe_eva", "three")
        assert {one.model for one in second} != {"ex_laundry", BASE}
    begin("three", *second)
    with unit_of_work() as uow:
        third = service.pick_pair(uow, everyone, "pe_eva", "three")
    begin("three", *third)
    with unit_of_work() as uow, pytest.raises(Conflict) as caught:
        service.pick_pair(uow, everyone, "pe_eva", " three")
    assert caught.value.key == "arena.all_pairs_seen"


def test_pick_pair_gives_equal_pairs_equal_chances_and_needs_two_models(db: str) -> None:
    with unit_of_work() as uow:
        pairs = Counter(
            frozenset(one.model for one in service.pick_pair(uow, [CAMPING, LAUNDRY, STARTER], "pe_eva", "q"))
            for _ in range(60)
        )
        assert len(pairs) == 3
        with pytest.raises(Conflict, match="two models"):
            service.pick_pair(uow, [CAMPING, CAMPING], "pe_eva", "q")


def test_pick_pair_prefers_a_pair_whose_vote_counts(db: str) -> None:
    begin("one", LAUNDRY, STARTER, "pe_a")
    with unit_of_work() as uow:
        pair = service.pick_pair(uow, [CAMPING, LAUNDRY, STARTER], "pe_dev", "two")
    assert {one.model for one in pair} == {"ex_laundry", BASE}


def test_the_leaderboard_ranks_with_names_and_the_matrix_counts_wins(db: str) -> None:
    for n in range(6):
        win(CAMPING, LAUNDRY, f"a {n}")
        win(LAUNDRY, STARTER, f"b {n}")
    win(LAUNDRY, CAMPING, "c 1")
    win(STARTER, LAUNDRY, "c 2")
    win(CAMPING.model_copy(update={"name": "camping-helper-2"}), STARTER, "d")
    with unit_of_work() as uow:
        board = service.leaderboard(uow)
        matrix = service.wins_matrix(uow)
    assert [rating.name for rating in board] == ["camping-helper-2", "laundry-helper", "Base model"]
    assert [rating.battles for rating in board] == [8, 14, 8]
    assert all(rating.settled for rating in board)
    assert matrix.names == ("camping-helper-2", "laundry-helper", "Base model")
    assert matrix.wins == ((0, 6, 1), (1, 0, 6), (0, 1, 0))


def test_a_leaderboard_of_one_category_counts_only_its_votes(db: str) -> None:
    battle = begin("tents", category="outdoor")
    answer_both(battle)
    judge(battle)
    with unit_of_work() as uow:
        assert len(service.leaderboard(uow, "outdoor")) == 2
        assert service.leaderboard(uow, "household") == []
        assert service.wins_matrix(uow, "household").models == ()


def test_history_shows_ones_own_battles_newest_first(db: str) -> None:
    first, second = begin("one"), begin("two")
    begin("three", person="pe_else")
    answer_both(first)
    judge(first)
    with unit_of_work() as uow:
        views = service.history(uow, "pe_eva", "te_1")
        assert service.history(uow, "pe_eva", "te_else") == []
    assert [view.id for view in views] == [second.id, first.id]
    assert views[0].left.name is None and views[1].left.name is not None
