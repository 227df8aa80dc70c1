"""The retrieval page: what it shows and does, without a browser."""

import pytest

from engine.accounts.schemas import Person
from engine.flows import prepare_knowledge
from engine.kit.errors import BadInput, NotFound
from studio.handlers import knowledge, retrieval
from tests.engine.knowledge.fakes import prepare


def test_a_question_shows_its_way_and_offers_passages_as_its_answer(dana: Person, base_id: str) -> None:
    looked = retrieval.look(dana, base_id, "门店几点开门？", "zh")
    assert "提供给模型" in looked.html and "<mark>" in looked.html and "&lt;" in looked.html
    words = dict((chunk_id, text) for text, chunk_id in looked.choices)
    assert "九点" in words[looked.proposed] and retrieval.NONE in words


def test_a_search_is_kept_to_documents_with_a_label(dana: Person, base_id: str) -> None:
    assert retrieval.labels(dana, base_id) == []
    prepare_knowledge.add_document(dana, base_id, "more.md", "门店几点开门要看通知。".encode())
    prepare(prepare_knowledge.base(dana, base_id))
    more = prepare_knowledge.documents(dana, base_id)[1]
    knowledge.label(dana, more.id, "通知")
    assert retrieval.labels(dana, base_id) == ["通知"]
    found = retrieval.look(dana, base_id, "门店几点开门？", "zh", ["通知"])
    assert "more.md" in found.html and "help.md" not in found.html


def test_a_question_that_is_turned_away_is_proposed_as_one_without_an_answer(
    dana: Person, base_id: str
) -> None:
    looked = retrieval.look(dana, base_id, "Who won the cup in 1966?", "en")
    assert "no answer here" in looked.html and looked.proposed == retrieval.NONE


def test_saved_questions_lead_to_what_they_find_and_checks_draw_a_curve(dana: Person, base_id: str) -> None:
    empty = retrieval.overview(dana, base_id, "en")
    assert "mbe-empty" in empty.result and "mbe-empty" in empty.questions and empty.curve is None
    looked = retrieval.look(dana, base_id, "门店几点开门？", "zh")
    with pytest.raises(BadInput) as caught:
        retrieval.save(dana, base_id, "门店几点开门？", None)
    assert caught.value.field == "answer"
    retrieval.save(dana, base_id, "门店几点开门？", looked.proposed)
    retrieval.save(dana, base_id, "能刷卡吗？", retrieval.NONE)
    for _ in range(2):
        assert retrieval.check(dana, base_id).recall_1 == 1.0
    full = retrieval.overview(dana, base_id, "en")
    assert "100%" in full.result and "help.md" in full.questions and "nowhere" in full.questions
    assert f"retrieval?base={base_id}&amp;question=%E9%97%A8" in full.questions
    assert full.curve is not None and len(full.curve.data) == 2
    retrieval.delete(dana, base_id, full.choices[0][1])
    assert [text for text, _ in retrieval.overview(dana, base_id, "en").choices] == ["能刷卡吗？"]
    with pytest.raises(BadInput):
        retrieval.delete(dana, base_id, None)
    with pytest.raises(BadInput):
        retrieval.calibrate(dana, base_id)


def test_nobody_reaches_into_another_tenant(other: Person, base_id: str) -> None:
    for act in (
        lambda: retrieval.head(other, base_id, "en"),
        lambda: retrieval.look(other, base_id, "开门？", "en"),
        lambda: retrieval.save(other, base_id, "开门？", retrieval.NONE),
        lambda: retrieval.overview(other, base_id, "en"),
        lambda: retrieval.check(other, base_id),
    ):
        with pytest.raises(NotFound):
            act()
