import threading
from collections import Counter
from datetime import timedelta

import pytest

from engine.evals import service
from engine.evals.schemas import CampaignItem, CampaignView, TaskView
from engine.kit import clock
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, NotFound

GOOD = {"accuracy": 5, "helpfulness": 4, "tone": 3}


def items(count: int = 2, owner: str = "pe_dev", expert: str = "ex_1") -> list[CampaignItem]:
    return [
        CampaignItem(
            question=f"question {n}",
            answer=f"answer {n} of {expert}",
            expert_id=expert,
            expert_name=f"name of {expert}",
            owner_id=owner,
        )
        for n in range(count)
    ]


def campaign(given: list[CampaignItem] | None = None, each: int = 1, title: str = "Tents") -> CampaignView:
    with unit_of_work() as uow:
        return service.create_campaign(
            uow,
            person_id="pe_dev",
            tenant_id="te_1",
            title=title,
            items=items() if given is None else given,
            judgements_each=each,
        )


def take(person: str = "pe_eva") -> TaskView | None:
    with unit_of_work() as uow:
        return service.next_task(uow, person)


def must_take(person: str = "pe_eva") -> TaskView:
    task = take(person)
    assert task is not None
    return task


def submit(task: TaskView, person: str = "pe_eva", comment: str = "", **scores: int) -> TaskView:
    with unit_of_work() as uow:
        return service.submit(uow, task.id, person, GOOD | scores, comment)


def later(monkeypatch: pytest.MonkeyPatch, minutes: float) -> None:
    monkeypatch.setattr(service, "now", lambda: clock.now() + timedelta(minutes=minutes))


def test_a_campaign_shows_how_far_it_is(db: str) -> None:
    opened = campaign(each=2)
    assert (opened.items, opened.done, opened.total, opened.title) == (2, 0, 4, "Tents")
    submit(must_take())
    with unit_of_work() as uow:
        assert [(one.id, one.done) for one in service.campaigns(uow, "te_1")] == [(opened.id, 1)]
        assert service.campaigns(uow, "te_else") == []
        with pytest.raises(NotFound):
            service.get_campaign(uow, opened.id, "te_else")


@pytest.mark.parametrize(
    ("given", "each", "title", "field"),
    [
        (items(), 1, "  ", "title"),
        ([], 1, "x", "items"),
        (items(), 0, "x", "judgements_each"),
        (items(), 21, "x", "judgements_each"),
        ([items()[0].model_copy(update={"question": " "})], 1, "x", "items"),
    ],
)
def test_a_campaign_that_cannot_be_judged_is_refused(
    db: str, given: list[CampaignItem], each: int, title: str, field: str
) -> None:
    with pytest.raises(BadInput) as caught:
        campaign(given, each, title)
    assert caught.value.field == field


def test_a_task_shows_the_answer_but_not_whose_it_is(db: str) -> None:
    campaign()
    task = must_take()
    assert (task.question, task.answer, task.campaign_title) == ("question 0", "answer 0 of ex_1", "Tents")
    assert "name of" not in task.model_dump_json() and task.state == "claimed"


def test_the_task_in_hand_stays_until_it_is_done(db: str) -> None:
    campaign()
    first = must_take()
    assert must_take().id == first.id
    submit(first)
    assert must_take().id != first.id
    with unit_of_work() as uow:
        assert [task.state for task in service.my_tasks(uow, "pe_eva")] == ["claimed", "done"]
        assert service.my_tasks(uow, "pe_else") == []


def test_nobody_judges_their_own_expert(db: str) -> None:
    campaign(items(1, owner="pe_eva") + items(1, owner="pe_dev", expert="ex_2"))
    assert must_take("pe_eva").answer == "answer 0 of ex_2"
    submit(must_take("pe_eva"))
    assert take("pe_eva") is None
    assert must_take("pe_else").answer == "answer 0 of ex_1"


def test_nobody_judges_the_same_answer_twice(db: str) -> None:
    campaign(items(1), each=3)
    submit(must_take())
    assert take() is None
    submit(must_take("pe_2"), "pe_2")
    submit(must_take("pe_3"), "pe_3")
    assert take("pe_4") is None


def test_all_answers_get_a_first_judgement_before_any_gets_a_second(db: str) -> None:
    campaign(items(3), each=2)
    seen: list[str] = []
    for n in range(6):
        task = must_take(f"pe_{n}")
        seen.append(task.question)
        submit(task, f"pe_{n}")
    assert Counter(seen[:3]) == Counter(seen[3:]) == Counter(f"question {n}" for n in range(3))


def test_two_people_never_get_the_same_slot(db: str) -> None:
    campaign(items(6), each=2)
    taken: list[tuple[str, str]] = []
    errors: list[Exception] = []
    gate = threading.Barrier(8)

    def judge(person: str) -> None:
        try:
            gate.wait()
            while (task := take(person)) is not None:
                taken.append((task.id, f"{person} {task.question}"))
                submit(task, person)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=judge, args=(f"pe_{n % 4}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The second page of a person may find its task already judged by the first; nothing else goes wrong.
    assert all(isinstance(error, Conflict) for error in errors)
    with unit_of_work() as uow:
        (state,) = service.campaigns(uow, "te_1")
        left = service.waiting(uow, "pe_new")
    by_slot: dict[str, set[str]] = {}
    for slot, who in taken:
        by_slot.setdefault(slot, set()).add(who)
    assert all(len(who) == 1 for who in by_slot.values())
    assert len(set().union(*by_slot.values())) == len(by_slot)
    assert state.done == 12 and left == 0


def test_several_pages_of_one_person_hold_one_task(db: str) -> None:
    campaign(items(5), each=3)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(must_take().id)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6 and len(set(found)) == 1


def test_a_task_held_for_thirty_minutes_goes_back_to_the_pool(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign(items(1))
    held = must_take("pe_slow")
    later(monkeypatch, 29)
    assert take("pe_eva") is None
    later(monkeypatch, 31)
    assert must_take("pe_eva").id == held.id
    with pytest.raises(NotFound, match="30 minutes"):
        submit(held, "pe_slow")
    assert submit(held, "pe_eva").state == "done"


def test_a_late_judgement_counts_when_nobody_took_the_task_over(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    campaign(items(1))
    held = must_take()
    later(monkeypatch, 300)
    assert must_take().id == held.id
    assert submit(held).state == "done"


def test_a_skipped_answer_goes_to_somebody_else_and_does_not_come_back(db: str) -> None:
    campaign(items(1))
    task = must_take()
    with unit_of_work() as uow:
        assert service.waiting(uow, "pe_else") == 0
        service.skip(uow, task.id, "pe_eva")
        assert service.waiting(uow, "pe_eva") == 0 and service.waiting(uow, "pe_else") == 1
    assert take() is None
    assert must_take("pe_else").id == task.id
    with pytest.raises(NotFound):
        submit(task)


@pytest.mark.parametrize("name", ["accuracy", "helpfulness", "tone"])
@pytest.mark.parametrize("value", [0, 6, None, 3.5, "4", True])
def test_every_score_is_a_whole_number_from_1_to_5(db: str, name: str, value: object) -> None:
    campaign(items(1))
    task = must_take()
    scores: dict[str, object] = {**GOOD, name: value}
    with pytest.raises(BadInput) as caught, unit_of_work() as uow:
        service.submit(uow, task.id, "pe_eva", scores)  # type: ignore[arg-type]
    assert caught.value.field == name
    assert submit(task).state == "done"


def test_a_comment_may_have_2000_characters(db: str) -> None:
    campaign()
    with pytest.raises(BadInput, match="2001"):
        submit(must_take(), comment="字" * 2001)
    assert submit(must_take(), comment=" 好\0" + "字" * 1999).comment == "好" + "字" * 1999


def test_a_judgement_is_given_once_and_only_by_the_person_who_holds_the_task(db: str) -> None:
    campaign()
    task = must_take()
    with pytest.raises(NotFound):
        submit(task, "pe_else")
    submit(task)
    with pytest.raises(Conflict, match="already judged"):
        submit(task, accuracy=1)
    with pytest.raises(Conflict), unit_of_work() as uow:
        service.skip(uow, task.id, "pe_eva")


def test_results_give_means_and_intervals_per_expert(db: str) -> None:
    opened = campaign(items(1, expert="ex_1") + items(1, expert="ex_2"), each=3)
    marks = {"ex_1": [3, 4, 5], "ex_2": [1, 1, 1]}
    for n in range(3):
        for _ in range(2):
            task = must_take(f"pe_{n}")
            score = marks[task.answer.split()[-1]][n]
            remark = "helpful" if score == 5 else ""
            submit(task, f"pe_{n}", remark, accuracy=score, helpfulness=score, tone=1)
    with unit_of_work() as uow:
        found = service.results(uow, opened.id, "te_1")
        with pytest.raises(NotFound):
            service.results(uow, opened.id, "te_else")
    best, worst = found.experts
    assert (best.expert_id, best.expert_name, best.count) == ("ex_1", "name of ex_1", 3)
    # Student's t with two degrees of freedom is 4.303; the deviation of 3, 4, 5 is 1.
    assert best.accuracy.mean == 4 and best.accuracy.count == 3
    assert best.accuracy.low == pytest.approx(4 - 4.302653 / 3**0.5) and best.accuracy.high == 5
    assert best.tone.mean == best.tone.low == best.tone.high == 1
    assert best.overall.mean == pytest.approx(3) and worst.overall.mean == 1
    assert [(one.comment, one.expert_name) for one in found.comments] == [("helpful", "name of ex_1")]
    assert found.campaign.done == found.campaign.total == 6


def test_one_judgement_has_no_interval_and_none_has_no_result(db: str) -> None:
    opened = campaign(items(1))
    with unit_of_work() as uow:
        assert service.results(uow, opened.id, "te_1").experts == ()
    submit(must_take())
    with unit_of_work() as uow:
        (result,) = service.results(uow, opened.id, "te_1").experts
    assert result.accuracy.mean == 5 and result.accuracy.low is None and result.accuracy.high is None
