"""A second index beside the one that answers: built, compared, switched to, removed."""

from typing import Any

import pytest

from engine.accounts.schemas import Person
from engine.flows import check_retrieval, edit_chunks, prepare_knowledge
from engine.flows import compare_indexes as flow
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from engine.knowledge import index, indexes
from engine.knowledge.schemas import BaseView, IndexView
from tests.engine.knowledge.fakes import prepare
from tests.support import make_person, run_queued_jobs

HELP = "\n\n".join(f"## 型号{n}\n\n型号{n}的价格为{n}99元。这一款的保修期为{n}个月。" for n in range(1, 6))
SECOND: dict[str, Any] = {"embedder": "ngram", "target_tokens": 20}


@pytest.fixture
def base(dana: Person) -> BaseView:
    """A base of Dana's that answers, with a saved question."""
    made = prepare_knowledge.create_base(dana, name="Shop", language="zh")
    prepare_knowledge.add_document(dana, made.id, "help.md", HELP.encode())
    prepare(made)
    found = prepare_knowledge.search(dana, made.id, "型号3的价格是多少？", limit=1)
    check_retrieval.save_question(dana, made.id, "型号3的价格是多少？", found[0].chunk_id)
    return prepare_knowledge.base(dana, made.id)


def other(person: Person, base: BaseView) -> IndexView:
    found = flow.comparison(person, base.id).other
    assert found
    return found


def built(person: Person, base: BaseView, **given: Any) -> IndexView:
    flow.build(person, base.id, **(SECOND | given))
    run_queued_jobs()
    return other(person, base)


def test_the_second_index_is_built_beside_the_first_which_goes_on_answering(
    dana: Person, base: BaseView
) -> None:
    made = built(dana, base)
    assert (made.live, made.target_tokens, made.documents) == (False, 20, 1)
    assert made.chunks == made.indexed_chunks > base.chunks
    assert prepare_knowledge.base(dana, base.id) == base
    assert set(index.ids(made.id)) != set(index.ids(base.index_id))


def test_both_answer_the_saved_questions_and_the_second_takes_over_only_when_told(
    dana: Person, base: BaseView
) -> None:
    made = built(dana, base)
    now, tried = flow.compare(dana, base.id)
    assert (now.index_id, tried.index_id, tried.target_tokens) == (base.index_id, made.id, 20)
    assert now.recall_1 == tried.recall_1 == 1.0
    assert [one.index_id for one in check_retrieval.history(dana, base.id)] == [base.index_id]
    assert flow.switch(dana, base.id).id == made.id
    after = prepare_knowledge.base(dana, base.id)
    assert (after.index_id, after.chunks, after.target_tokens) == (made.id, made.chunks, 20)
    [passage] = prepare_knowledge.search(dana, base.id, "型号3的价格是多少？", limit=1)
    assert "399元" in passage.text and "保修" not in passage.text
    # The former one stays, and can come back; removing it leaves no table.
    assert flow.switch(dana, base.id).id == base.index_id
    flow.switch(dana, base.id)
    flow.discard(dana, base.id)
    assert flow.comparison(dana, base.id).other is None and base.index_id not in index.tables()
    assert prepare_knowledge.search(dana, base.id, "型号3的价格是多少？", limit=1) == [passage]


def test_a_second_index_that_lacks_a_document_is_not_switched_to(dana: Person, base: BaseView) -> None:
    built(dana, base)
    prepare_knowledge.add_document(dana, base.id, "more.md", "## 发票\n\n可以开电子发票。".encode())
    prepare(base)
    assert flow.comparison(dana, base.id).lacking == 1
    with pytest.raises(Conflict):
        flow.switch(dana, base.id)
    assert prepare_knowledge.base(dana, base.id).index_id == base.index_id
    flow.update(dana, base.id)
    run_queued_jobs()
    assert flow.comparison(dana, base.id).lacking == 0
    assert flow.switch(dana, base.id).documents == 2


def test_what_people_changed_goes_along_where_the_passages_are_the_same(dana: Person, base: BaseView) -> None:
    first, second = prepare_knowledge.chunks(dana, base.id, limit=2, offset=0)
    edit_chunks.edit_chunk(dana, base.id, first.id, "型号1已停产。")
    run_queued_jobs()
    made = built(dana, base, embedder="minilm", target_tokens=80)
    assert (made.chunks, made.indexed_chunks) == (base.chunks, base.chunks)
    assert flow.comparison(dana, base.id).left_behind == 0
    edit_chunks.set_enabled(dana, base.id, second.id, False)
    edit_chunks.edit_chunk(dana, base.id, first.id, "型号1不再销售。")
    flow.switch(dana, base.id)
    texts = {chunk.id: chunk for chunk in prepare_knowledge.chunks(dana, base.id, limit=9, offset=0)}
    assert texts[first.id].text == "型号1不再销售。" and not texts[second.id].enabled
    run_queued_jobs()
    after = prepare_knowledge.base(dana, base.id)
    assert after.indexed_chunks == after.chunks == base.chunks - 1
    assert second.id not in index.ids(made.id)


def test_changes_without_a_counterpart_are_counted_before_anybody_switches(
    dana: Person, base: BaseView
) -> None:
    built(dana, base)
    first = prepare_knowledge.chunks(dana, base.id, limit=1, offset=0)[0]
    edit_chunks.set_enabled(dana, base.id, first.id, False)
    assert flow.comparison(dana, base.id).left_behind == 1


def test_a_document_that_is_deleted_leaves_both_indexes(dana: Person, base: BaseView) -> None:
    made = built(dana, base)
    [document] = prepare_knowledge.documents(dana, base.id)
    prepare_knowledge.delete_document(dana, document.id)
    assert index.ids(made.id) == index.ids(base.index_id) == set()
    assert other(dana, base).chunks == 0


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"embedder": "gpt"}, "knowledge.unknown_embedder"),
        ({"target_tokens": 19}, "knowledge.bad_target"),
        ({"target_tokens": 201}, "knowledge.bad_target"),
        ({"target_tokens": 80}, "knowledge.same_index"),
    ],
)
def test_what_cannot_be_built_is_named_and_nothing_is_made(
    dana: Person, base: BaseView, given: dict[str, Any], key: str
) -> None:
    with pytest.raises(BadInput) as caught:
        flow.build(dana, base.id, **(SECOND | given))
    assert caught.value.key == key and caught.value.field in (SECOND | given)
    assert flow.comparison(dana, base.id).other is None


def test_there_is_at_most_one_second_index_and_none_goes_while_a_job_is_at_it(
    dana: Person, base: BaseView
) -> None:
    for act in (flow.update, flow.compare, flow.switch, flow.discard):
        with pytest.raises(NotFound):
            act(dana, base.id)
    flow.build(dana, base.id, **SECOND)
    with pytest.raises(Conflict):
        flow.build(dana, base.id, embedder="minilm", target_tokens=40)
    for busy in (flow.update, flow.switch, flow.discard):
        with pytest.raises(Conflict):
            busy(dana, base.id)
    # The index that answers can be prepared meanwhile.
    assert prepare_knowledge.start(dana, base.id).state == "queued"


def test_nobody_switches_away_from_an_index_that_is_being_prepared(dana: Person, base: BaseView) -> None:
    """What the job still adds would be missing from the answers."""
    built(dana, base)
    prepare_knowledge.add_document(dana, base.id, "more.md", "## 发票\n\n可以开电子发票。".encode())
    prepare_knowledge.start(dana, base.id)
    with pytest.raises(Conflict):
        flow.switch(dana, base.id)
    run_queued_jobs()
    assert flow.comparison(dana, base.id).lacking == 1


def test_the_history_is_that_of_the_index_that_answered(dana: Person, base: BaseView) -> None:
    def past() -> list[str]:
        return [one.id for one in check_retrieval.history(dana, base.id)]

    first = check_retrieval.check(dana, base.id)
    built(dana, base)
    now, _ = flow.compare(dana, base.id)
    flow.discard(dana, base.id)
    assert past() == [first.id, now.id]
    built(dana, base)
    again, tried = flow.compare(dana, base.id)
    flow.switch(dana, base.id)
    assert past() == [first.id, now.id, again.id, tried.id]


def test_only_checks_of_the_same_questions_are_compared(dana: Person, base: BaseView) -> None:
    built(dana, base)
    check_retrieval.check(dana, base.id)
    assert flow.comparison(dana, base.id).live_check is None
    now, tried = flow.compare(dana, base.id)
    check_retrieval.save_question(dana, base.id, "有停车场吗？", None)
    check_retrieval.check(dana, base.id)
    found = flow.comparison(dana, base.id)
    assert (found.live_check, found.other_check) == (now, tried)


def test_a_table_without_an_index_is_swept_and_no_other(dana: Person, base: BaseView) -> None:
    index.create("ki_gone", 4, "zh")
    assert indexes.sweep() == 1 and "ki_gone" not in index.tables()
    assert base.index_id in index.tables() and indexes.sweep() == 0


def test_nobody_else_sees_or_changes_indexes(base: BaseView, eva: Person) -> None:
    otto = make_person("otto@example.com", "developer")
    with pytest.raises(NotFound):
        flow.build(otto, base.id, **SECOND)
    for act in (flow.comparison, flow.update, flow.compare, flow.switch, flow.discard):
        with pytest.raises(NotFound):
            act(otto, base.id)
        with pytest.raises(Forbidden):
            act(eva, base.id)
    with unit_of_work() as uow, pytest.raises(NotFound):
        indexes.get_index(uow, base.index_id, otto.tenant_id)
