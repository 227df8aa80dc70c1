"""The indexes page: what it shows and does, without a browser."""

import pytest

from engine.accounts.schemas import Person
from engine.flows import prepare_knowledge
from engine.kit.errors import BadInput, Conflict, NotFound
from studio.handlers import indexes, retrieval
from tests.engine.knowledge.fakes import prepare
from tests.support import run_queued_jobs


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_base_with_one_index_offers_to_build_another(dana: Person, base_id: str, language: str) -> None:
    now = indexes.overview(dana, base_id, language)
    assert not now.second and not now.ready and now.bars is None and now.job is None
    assert "80" in now.table and len(now.kept) == 1
    assert "ngram" in dict((name, words) for words, name in indexes.embedders(language))
    assert 40 in [tokens for _, tokens in indexes.targets(language)]


@pytest.mark.parametrize(
    ("embedder", "tokens", "field"), [(None, 40, "embedder"), ("ngram", None, "target_tokens")]
)
def test_nothing_is_built_until_both_are_chosen(
    dana: Person, base_id: str, embedder: str | None, tokens: int | None, field: str
) -> None:
    with pytest.raises(BadInput) as caught:
        indexes.build(dana, base_id, embedder, tokens)
    assert caught.value.field == field


def test_a_second_index_is_compared_used_and_removed(dana: Person, base_id: str) -> None:
    indexes.build(dana, base_id, "ngram", 40)
    during = indexes.overview(dana, base_id, "en")
    assert during.second and not during.ready and during.job and during.job.state == "queued"
    assert "still lacks" in during.table and "Not compared" in during.table
    with pytest.raises(Conflict):
        indexes.discard(dana, base_id)
    run_queued_jobs()
    with pytest.raises(BadInput):
        indexes.compare(dana, base_id)
    looked = retrieval.look(dana, base_id, "门店几点开门？", "zh")
    retrieval.save(dana, base_id, "门店几点开门？", looked.proposed)
    indexes.compare(dana, base_id)
    after = indexes.overview(dana, base_id, "en")
    assert after.ready and "100.0%" in after.table and "Not compared" not in after.table
    assert after.bars is not None and [len(bar.y) for bar in after.bars.data] == [3, 3]
    assert "equally" in after.bars.layout.title.text
    indexes.switch(dana, base_id)
    assert "40" in indexes.overview(dana, base_id, "en").table.split("Beside it")[1].split("</tr>")[2]
    indexes.discard(dana, base_id)
    assert not indexes.overview(dana, base_id, "en").second


def test_the_index_in_use_goes_back_to_an_earlier_state(dana: Person, base_id: str) -> None:
    prepare_knowledge.add_document(dana, base_id, "more.md", "可以开发票。".encode())
    prepare(prepare_knowledge.base(dana, base_id))
    with pytest.raises(BadInput) as caught:
        indexes.restore(dana, base_id, None)
    assert caught.value.field == "version"
    newest, oldest = indexes.overview(dana, base_id, "en").kept
    assert "3 passages" in newest[0] and "2 passages" in oldest[0]
    indexes.restore(dana, base_id, oldest[1])
    run_queued_jobs()
    now = indexes.overview(dana, base_id, "en")
    assert "2 / 3" in now.table and now.restoring and now.restoring.state == "succeeded"


def test_nobody_reaches_into_another_tenant(other: Person, base_id: str) -> None:
    for act in (indexes.update, indexes.compare, indexes.switch, indexes.discard):
        with pytest.raises(NotFound):
            act(other, base_id)
    with pytest.raises(NotFound):
        indexes.overview(other, base_id, "en")
    with pytest.raises(NotFound):
        indexes.restore(other, base_id, 1)
