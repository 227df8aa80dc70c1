"""Chunks that people changed: what is found of them, and what the jobs make of them."""

import pytest

from engine.kit.database import engine, unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.knowledge import editing, index, repository, service, tasks
from engine.knowledge.quotes import quoted
from engine.knowledge.retrieve import retrieve
from engine.knowledge.schemas import BaseView, ChunkView, PlaceView
from tests.engine.knowledge.fakes import Crash, FakeContext, make_base, prepare, view

HELP = "## 退货\n\n签收后7天内可以退货。\n\n## 发票\n\n可以开具电子发票。\n\n## 保修\n\n冰箱保修三年。"
NEW = "签收后30天内可以退货，运费由本店承担。"


@pytest.fixture
def base(db: str) -> BaseView:
    made = make_base("zh", help=HELP)
    prepare(made)
    return made


def chunks(base: BaseView, words: str = "") -> list[ChunkView]:
    with unit_of_work() as uow:
        return service.chunks(uow, base.id, base.tenant_id, limit=1_000, words=words)


def edit(base: BaseView, chunk: ChunkView, text: str) -> ChunkView:
    with unit_of_work() as uow:
        return editing.edit(uow, base.id, base.tenant_id, chunk.id, text)


def restore(base: BaseView, chunk: ChunkView) -> ChunkView:
    with unit_of_work() as uow:
        return editing.restore(uow, base.id, base.tenant_id, chunk.id)


def enable(base: BaseView, chunk: ChunkView, enabled: bool) -> ChunkView:
    with unit_of_work() as uow:
        return editing.set_enabled(uow, base.id, base.tenant_id, chunk.id, enabled)


def place(base: BaseView, chunk: ChunkView) -> PlaceView:
    with unit_of_work() as uow:
        return editing.place(uow, base.id, base.tenant_id, chunk.id)


def found(base: BaseView, question: str) -> list[str]:
    return [passage.text for passage in retrieve([base.id], base.tenant_id, question, limit=10)]


def test_an_edited_chunk_keeps_its_place_and_is_searched_by_its_new_text_once_indexed(base: BaseView) -> None:
    first = chunks(base)[0]
    changed = edit(base, first, f"  {NEW}\n")
    assert (changed.text, changed.edited, changed.indexed) == (NEW, True, False)
    assert (changed.id, changed.start, changed.end) == (first.id, first.start, first.end)
    assert (view(base).chunks, view(base).indexed_chunks) == (3, 2)
    assert tasks.index_job(FakeContext(base))["indexed"] == 1
    assert chunks(base)[0].indexed and view(base).indexed_chunks == 3
    assert found(base, "运费由谁承担？") == [NEW]


def test_the_same_text_changes_nothing_and_the_originals_makes_it_unedited(base: BaseView) -> None:
    first = chunks(base)[0]
    assert edit(base, first, f"\n{first.text} ") == first
    assert edit(base, first, NEW).edited
    assert edit(base, first, first.text) == first
    edit(base, first, NEW)
    tasks.index_job(FakeContext(base))
    restored = restore(base, first)
    assert (restored.text, restored.edited, restored.indexed) == (first.text, False, False)
    assert restore(base, first) == restored


@pytest.mark.parametrize("text", ["", " \n\t", "x" * 4_001, "\0\0", "\ud800"])
def test_a_text_must_be_there_and_not_too_long(base: BaseView, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        edit(base, chunks(base)[0], text)
    assert caught.value.field == "text" and not chunks(base)[0].edited
    assert len(edit(base, chunks(base)[0], "字" * 4_000).text) == 4_000


def test_what_the_database_refuses_is_left_out_of_a_text(base: BaseView) -> None:
    assert edit(base, chunks(base)[0], "a\0b\ud800c").text == "abc"
    assert chunks(base, words="\0b\ud800c")[0].text == "abc"


def test_a_chunk_that_is_taken_out_is_not_found_from_that_moment_on(base: BaseView) -> None:
    first = chunks(base)[0]
    assert first.text in found(base, "几天内可以退货？")
    gone = enable(base, first, False)
    assert (gone.enabled, gone.indexed) == (False, False)
    assert first.text not in found(base, "几天内可以退货？")
    assert first.id not in index.ids(base.index_id)
    assert enable(base, first, False) == gone
    assert len(chunks(base)) == 3
    assert enable(base, first, True).indexed is False
    tasks.index_job(FakeContext(base))
    assert first.text in found(base, "几天内可以退货？")


def test_a_taken_out_chunk_is_not_found_while_its_vector_is_still_there(
    base: BaseView, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = chunks(base)[0]

    def fail(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as broken:
        broken.setattr(index, "remove", fail)
        enable(base, first, False)
    assert first.id in index.ids(base.index_id)
    assert first.text not in found(base, "几天内可以退货？")
    assert tasks.index_job(FakeContext(base)) == {
        "indexed": 0,
        "removed": 1,
        "chunks": 2,
        "embedder": view(base).embedder,
    }
    assert first.id not in index.ids(base.index_id)


def test_a_base_whose_only_unindexed_chunks_are_taken_out_is_wholly_indexed(base: BaseView) -> None:
    enable(base, chunks(base)[0], False)
    now = view(base)
    assert (now.chunks, now.indexed_chunks, now.disabled) == (2, 2, 1)
    with unit_of_work() as uow:
        assert repository.count_lacking(uow, base.index_id) == 0
        assert service.documents(uow, base.id, base.tenant_id)[0].chunks == 2
    context = FakeContext(base)
    assert tasks.index_job(context)["indexed"] == 0
    assert context.reports == [{"done": 2, "total": 2, "message": "2/2"}]


def test_an_edit_during_indexing_is_picked_up_by_it(base: BaseView, monkeypatch: pytest.MonkeyPatch) -> None:
    first = chunks(base)[0]
    edit(base, first, NEW)
    upsert = index.upsert

    def edited_meanwhile(*given: object) -> None:
        upsert(*given)  # type: ignore[arg-type]
        monkeypatch.setattr(index, "upsert", upsert)
        edit(base, first, "退货须在30天内联系门店。")

    monkeypatch.setattr(index, "upsert", edited_meanwhile)
    assert tasks.index_job(FakeContext(base))["indexed"] == 2
    assert chunks(base)[0].indexed
    assert found(base, "联系门店") == ["退货须在30天内联系门店。"]


def test_a_chunk_taken_out_during_indexing_leaves_no_vector(
    base: BaseView, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = chunks(base)[0]
    edit(base, first, NEW)
    upsert = index.upsert

    def taken_out_meanwhile(*given: object) -> None:
        enable(base, first, False)
        upsert(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(index, "upsert", taken_out_meanwhile)
    assert tasks.index_job(FakeContext(base))["removed"] == 1
    assert first.id not in index.ids(base.index_id)
    assert not enable(base, first, True).indexed


def test_a_vector_is_left_to_the_job_that_is_writing(base: BaseView) -> None:
    """Deleting it there and then could make the job's compaction fail."""
    first = chunks(base)[0]
    with engine().connect().execution_options(isolation_level="AUTOCOMMIT") as job:
        assert repository.try_lock(job, base.index_id)
        enable(base, first, False)
        assert first.id in index.ids(base.index_id)
        assert first.text not in found(base, "几天内可以退货？")
        repository.unlock(job, base.index_id)
    assert tasks.index_job(FakeContext(base))["removed"] == 1
    assert first.id not in index.ids(base.index_id)


def test_a_chunk_edited_to_the_text_of_another_is_not_taken_for_indexed(base: BaseView) -> None:
    """Both lie in one batch, and their hashes are the same."""
    with unit_of_work() as uow:
        repository.forget_vectors(uow, base.index_id, [chunk.id for chunk in chunks(base)])
        rows = repository.lacking(uow, base.index_id, 10)
        hashes = {row.id: row.content_hash for row in rows}
        repository.change_chunk(uow, base.index_id, rows[0].id, {"content_hash": rows[1].content_hash})
        repository.mark_indexed(uow, base.index_id, hashes)
        assert [row.id for row in repository.lacking(uow, base.index_id, 10)] == [rows[0].id]


def test_changes_survive_running_the_jobs_again(db: str) -> None:
    long = "\n\n".join(f"## 型号{n}\n\n型号{n}的价格为{n}99元。" for n in range(150))
    base = make_base("zh", long=long)
    with pytest.raises(Crash):
        tasks.chunk_job(FakeContext(base, crash_at_checkpoint=1))
    first, second = chunks(base)[:2]
    edit(base, first, NEW)
    enable(base, second, False)
    prepare(base)  # from the start, without a checkpoint
    tasks.index_job(FakeContext(base))
    now = chunks(base)
    assert len(now) == 150 and [chunk.ordinal for chunk in now] == list(range(150))
    assert (now[0].text, now[0].edited, now[1].enabled) == (NEW, True, False)
    assert (view(base).chunks, view(base).indexed_chunks) == (149, 149)
    assert restore(base, first).text == first.text


def test_a_chunk_shows_where_it_stands_in_its_document(db: str) -> None:
    text = "\n\n".join(f"## 型号{n}\n\n型号{n}的价格为{n}99元。保修期一年。" for n in range(200))
    base = make_base("zh", long=text)
    tasks.chunk_job(FakeContext(base))
    for chunk in (chunks(base)[0], chunks(base)[100], chunks(base)[-1]):
        edit(base, chunk, NEW)
        seen = place(base, chunk)
        assert (seen.chunk.text, seen.passage, seen.length) == (NEW, chunk.text, len(text))
        assert len(seen.before) == min(1_500, chunk.start)
        assert len(seen.after) == min(1_500, len(text) - chunk.end)
        assert seen.before + seen.passage + seen.after in text


def test_a_quote_from_an_edited_chunk_names_the_place_of_the_whole_passage(base: BaseView) -> None:
    first = chunks(base)[0]
    edit(base, first, NEW)
    tasks.index_job(FakeContext(base))
    passages = retrieve([base.id], base.tenant_id, "运费由谁承担？")
    for quote in quoted("运费由谁承担？", passages):
        assert (quote.start, quote.end) == (first.start, first.end)


@pytest.mark.parametrize(
    ("words", "many"),
    [("", 3), ("退货", 1), ("可以  发票", 1), ("可以", 2), ("%", 0), ("_", 0), ("\\", 0), ("'; drop", 0)],
)
def test_chunks_are_narrowed_by_the_words_they_hold(base: BaseView, words: str, many: int) -> None:
    other = make_base("zh", tenant_id="t2", help=HELP)
    prepare(other)
    assert len(chunks(base, words)) == many
    with unit_of_work() as uow:
        assert service.count_chunks(uow, base.id, base.tenant_id, words) == many


def test_capital_letters_do_not_matter_to_the_words(db: str) -> None:
    base = make_base("en", care="The Heron TENT is 50% lighter.")
    tasks.chunk_job(FakeContext(base))
    assert len(chunks(base, "heron tent 50%")) == 1


def test_another_tenant_neither_sees_nor_changes_a_chunk(base: BaseView) -> None:
    theirs = make_base("zh", tenant_id="t2", help=HELP)  # the same content: the same ids of chunks
    prepare(theirs)
    first = chunks(base)[0]
    assert first.id == chunks(theirs)[0].id
    with unit_of_work() as uow:
        for base_id, tenant_id, chunk_id in (
            (base.id, "t2", first.id),
            (theirs.id, "t1", first.id),
            (base.id, "t1", "ch_none"),
            ("kb_none", "t1", first.id),
        ):
            for attempt in (
                lambda *of: editing.get_chunk(uow, *of),
                lambda *of: editing.place(uow, *of),
                lambda *of: editing.edit(uow, *of, NEW),
                lambda *of: editing.restore(uow, *of),
                lambda *of: editing.set_enabled(uow, *of, False),
            ):
                with pytest.raises(NotFound):
                    attempt(base_id, tenant_id, chunk_id)
        with pytest.raises(NotFound):
            service.count_chunks(uow, base.id, "t2")
    edit(base, first, NEW)
    enable(base, first, False)
    assert chunks(theirs)[0] == first.model_copy(update={"document_id": chunks(theirs)[0].document_id})
    assert first.text in found(theirs, "几天内可以退货？")
