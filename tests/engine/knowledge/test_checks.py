import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.knowledge import checks, service
from engine.knowledge.retrieve import least_evidence, retrieve
from engine.knowledge.schemas import BaseView, QuestionView
from tests.engine.knowledge.fakes import make_base, prepare

HELP = {
    "fridge": "## 冰箱\n\n青川冰箱整机保修三年。\n\n## 冰箱价格\n\n青川冰箱的价格是3699元。",
    "returns": "## 退货\n\n签收后7天内可以退货。\n\n## 退款\n\n退款在五个工作日内到账。",
    "shop": "## 营业时间\n\n门店每天早上九点开门。\n\n## 停车\n\n停车场前两小时免费。",
}
ANSWERABLE = {
    "青川冰箱保修多久？": "保修三年",
    "青川冰箱的价格是多少？": "3699元",
    "签收后几天内可以退货？": "7天内",
    "退款多久到账？": "五个工作日",
    "门店几点开门？": "九点",
    "停车场免费多久？": "两小时",
}
UNANSWERABLE = [
    "洗衣机怎么除垢？",
    "公司在哪年成立？",
    "有没有会员积分？",
    "如何办理分期？",
    "可以刷信用卡吗？",
]


@pytest.fixture
def base(db: str) -> BaseView:
    """A Chinese help centre, ready to be asked."""
    made = make_base("zh", **HELP)
    prepare(made)
    return made


def save(base: BaseView, text: str, chunk_id: str | None) -> QuestionView:
    with unit_of_work() as uow:
        return checks.save_question(uow, base_id=base.id, tenant_id="t1", text=text, chunk_id=chunk_id)


def save_all(base: BaseView) -> None:
    with unit_of_work() as uow:
        chunks = service.chunks(uow, base.id, "t1")
    for text, answer in ANSWERABLE.items():
        save(base, text, next(chunk.id for chunk in chunks if answer in chunk.text))
    for text in UNANSWERABLE:
        save(base, text, None)


def test_a_question_shows_both_searches_and_what_a_model_would_be_given(base: BaseView) -> None:
    found = checks.trace(base.id, "t1", "青川冰箱的价格是多少？")
    assert (
        found.words[0][0].text == found.near[0][0].text == found.fused[0].text == "青川冰箱的价格是3699元。"
    )
    assert found.words == sorted(found.words, key=lambda hit: -hit[1])
    assert found.near == sorted(found.near, key=lambda hit: -hit[1])
    given = [passage.chunk_id for passage in retrieve([base.id], "t1", "青川冰箱的价格是多少？")]
    assert found.used == given and found.evidence >= found.least == least_evidence("ngram")


def test_a_question_below_the_threshold_shows_what_was_turned_away(base: BaseView) -> None:
    found = checks.trace(base.id, "t1", "Who won the cup in 1966?")
    assert found.used == [] and found.evidence < found.least and found.near
    assert retrieve([base.id], "t1", "Who won the cup in 1966?") == []


def test_a_check_finds_what_the_questions_ask_for_and_is_kept(base: BaseView) -> None:
    save_all(base)
    first = checks.check(base.id, "t1")
    assert (first.answerable, first.unanswerable, first.embedder) == (6, 5, "ngram")
    assert first.recall_1 == first.recall_5 == first.mrr == 1.0
    assert first.refused_wrongly == 0.0 and first.refused_rightly is not None
    with unit_of_work() as uow:
        assert checks.history(uow, base.id, "t1") == [first]


def test_a_wrong_passage_does_not_count_as_found(base: BaseView) -> None:
    with unit_of_work() as uow:
        chunks = service.chunks(uow, base.id, "t1")
    save(base, "青川冰箱的价格是多少？", next(chunk.id for chunk in chunks if "停车场" in chunk.text))
    assert checks.check(base.id, "t1").recall_1 == 0.0


def test_calibrating_sets_the_threshold_that_answers_go_by(base: BaseView) -> None:
    save_all(base)
    made = checks.calibrate(base.id, "t1")
    assert made.refused_wrongly is not None and made.refused_rightly is not None
    with unit_of_work() as uow:
        assert service.get_base(uow, base.id, "t1").least_evidence == made.least_evidence
    again = checks.check(base.id, "t1")
    assert again.least_evidence == made.least_evidence and again.refused_wrongly == 0.0
    assert again.refused_rightly is not None and again.refused_rightly >= 0.8
    assert [bool(retrieve([base.id], "t1", text)) for text in ANSWERABLE] == [True] * 6
    refused = [not retrieve([base.id], "t1", text) for text in UNANSWERABLE]
    assert sum(refused) / len(refused) == again.refused_rightly


def test_the_same_question_again_gets_the_new_answer(base: BaseView) -> None:
    with unit_of_work() as uow:
        chunk = service.chunks(uow, base.id, "t1")[0]
    assert save(base, " 价格  多少？", None).document_id is None
    changed = save(base, "价格 多少？", chunk.id)
    assert (changed.document_name, changed.start, changed.end) == ("fridge.md", chunk.start, chunk.end)
    with unit_of_work() as uow:
        assert checks.questions(uow, base.id, "t1") == [changed]
        checks.delete_question(uow, base.id, "t1", changed.id)
        assert checks.questions(uow, base.id, "t1") == []
        with pytest.raises(NotFound):
            checks.delete_question(uow, base.id, "t1", changed.id)


def test_too_few_questions_say_how_many_are_wanted(base: BaseView) -> None:
    with pytest.raises(BadInput) as caught:
        checks.check(base.id, "t1")
    assert caught.value.key == "knowledge.no_questions"
    with unit_of_work() as uow:
        chunk = service.chunks(uow, base.id, "t1")[0]
    save(base, "冰箱？", chunk.id)
    with pytest.raises(BadInput) as caught:
        checks.calibrate(base.id, "t1")
    assert "1 and 0" in caught.value.message("en") and "1 个和 0 个" in caught.value.message("zh")


@pytest.mark.parametrize("text", ["", "  ", "x" * 1001])
def test_a_question_without_words_or_too_long_is_refused(base: BaseView, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        save(base, text, None)
    assert caught.value.field == "question"


def test_nobody_reaches_another_tenants_questions(base: BaseView) -> None:
    saved = save(base, "价格？", None)
    other = make_base("zh", tenant_id="t2", **HELP)
    prepare(other)
    with unit_of_work() as uow:
        foreign = service.chunks(uow, other.id, "t2")[0]
        for reach in (checks.questions, checks.history):
            with pytest.raises(NotFound):
                reach(uow, base.id, "t2")
        with pytest.raises(NotFound):
            checks.delete_question(uow, base.id, "t2", saved.id)
        with pytest.raises(NotFound):
            checks.save_question(uow, base_id=base.id, tenant_id="t2", text="?", chunk_id=None)
    for act in (checks.check, checks.calibrate):
        with pytest.raises(NotFound):
            act(base.id, "t2")
    with pytest.raises(NotFound):
        checks.trace(base.id, "t2", "价格？")
    # The other base holds the same texts, so its chunks have the same ids; the place is ours all the same.
    mine = save(base, "保修？", foreign.id)
    with unit_of_work() as uow:
        assert mine.document_id in [document.id for document in service.documents(uow, base.id, "t1")]


values = st.floats(0, 2, allow_nan=False).map(lambda value: round(value, 3))


@given(st.lists(values, min_size=1, max_size=40), st.lists(values, max_size=40), st.floats(0, 0.5))
def test_no_allowed_threshold_turns_away_more_than_the_chosen_one(
    answerable: list[float], unanswerable: list[float], most: float
) -> None:
    chosen = checks.threshold(answerable, unanswerable, most)

    def turned(values: list[float], least: float) -> int:
        return sum(value < least for value in values)

    assert turned(answerable, chosen) <= most * len(answerable)
    for other in {*answerable, *unanswerable, chosen}:
        if turned(answerable, other) <= most * len(answerable):
            assert turned(unanswerable, other) <= turned(unanswerable, chosen)
            if turned(unanswerable, other) == turned(unanswerable, chosen):
                assert turned(answerable, chosen) <= turned(answerable, other)
