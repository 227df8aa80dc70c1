import multiprocessing
import os
import threading

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound, NotReady
from engine.kit.settings import settings
from engine.knowledge import index, service, tasks
from engine.knowledge.retrieve import retrieve
from engine.knowledge.schemas import BaseView, ChunkView
from tests.engine.knowledge import files
from tests.engine.knowledge.fakes import Crash, FakeContext, add, make_base, prepare, view

LONG = "\n\n".join(
    f"## 型号{n}\n\n型号{n}的价格为{n}99元。保修期为{n % 7 + 1}年，送货免费。" for n in range(450)
)
SHORT = "## 退货\n\n签收后7天内可以退货。"


def all_chunks(base: BaseView) -> list[ChunkView]:
    with unit_of_work() as uow:
        return service.chunks(uow, base.id, base.tenant_id, limit=10_000)


def vectors(base: BaseView) -> list[str]:
    """The ids of all rows of the base's table; a duplicate would show twice."""
    table = index._database().open_table(base.index_id)
    found: list[str] = table.search().limit(None).to_arrow()["id"].to_pylist()
    return sorted(found)


def test_chunks_point_into_the_text_and_come_in_reading_order(db: str) -> None:
    base = make_base(long=LONG, short=SHORT)
    context = FakeContext(base)
    assert tasks.chunk_job(context) == {"documents": 2, "chunks": 451, "failed": 0}
    chunks = all_chunks(base)
    with unit_of_work() as uow:
        documents = service.documents(uow, base.id, "t1")
        texts = {d.id: service.document_text(uow, d.id, "t1") for d in documents}
    assert all(texts[c.document_id][c.start : c.end] == c.text for c in chunks)
    assert [c.ordinal for c in chunks] == [*range(450), 0]
    assert [(d.state, d.chunks) for d in documents] == [("chunked", 450), ("chunked", 1)]
    written = [save["written"] for save in context.saved]
    assert written == [100, 200, 300, 400, 450, 0, 1, 0]
    done = [report["done"] for report in context.reports]
    assert done == sorted(done) and done[-1] == context.reports[-1]["total"] == len((LONG + SHORT).encode())
    assert tasks.chunk_job(FakeContext(base)) == {"documents": 0, "chunks": 0, "failed": 0}


@hypothesis_settings(
    max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(report=st.integers(0, 9), save=st.integers(0, 9), keeps=st.booleans())
def test_a_crash_at_any_moment_changes_nothing_in_the_end(
    db: str, report: int, save: int, keeps: bool
) -> None:
    calm, shaken = make_base(long=LONG, short=SHORT), make_base(long=LONG, short=SHORT)
    prepare(calm)
    for job in (tasks.chunk_job, tasks.index_job):
        crashing = FakeContext(shaken, crash_at_report=report, crash_at_checkpoint=save)
        try:
            job(crashing)
        except Crash:
            again = FakeContext(shaken, checkpoint=crashing.checkpoint if keeps else None)
            job(again)
            if keeps and job is tasks.chunk_job and crashing.saved:
                assert len(again.saved) <= 8 - len(crashing.saved)
    expected = [(c.id, c.ordinal, c.text, c.heading) for c in all_chunks(calm)]
    assert [(c.id, c.ordinal, c.text, c.heading) for c in all_chunks(shaken)] == expected
    assert vectors(shaken) == sorted(chunk[0] for chunk in expected)
    assert view(shaken).indexed_chunks == 451


def test_a_resumed_indexing_embeds_only_what_is_left(db: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "EMBED_BATCH", 50)
    base = make_base(long=LONG)
    tasks.chunk_job(FakeContext(base))
    stopped = FakeContext(base)
    stopped.stop_after_reports = 4
    with pytest.raises(Crash):
        tasks.index_job(stopped)
    assert stopped.checkpoint == {"indexed": 150} and view(base).indexed_chunks == 150
    again = FakeContext(base, checkpoint=stopped.checkpoint)
    assert tasks.index_job(again)["indexed"] == 300
    assert again.reports[0]["done"] == 150 and again.reports[-1] == {
        "done": 450,
        "total": 450,
        "message": "450/450",
    }
    assert tasks.index_job(FakeContext(base))["indexed"] == 0


@pytest.mark.parametrize("step", ["set_unenforced_primary_key", "create_index"])
def test_a_table_whose_making_was_cut_short_is_completed(
    db: str, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    from lancedb.table import LanceTable

    base = make_base(short=SHORT)
    tasks.chunk_job(FakeContext(base))

    def die(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as broken, pytest.raises(Crash):
        broken.setattr(LanceTable, step, die)
        tasks.index_job(FakeContext(base))
    tasks.index_job(FakeContext(base))
    found = index.full_text(base.index_id, "t1", text="可以", limit=5)
    assert [hit.chunk_id for hit in found] == vectors(base)


def test_a_new_document_is_indexed_alone_and_a_deleted_one_leaves_no_vector(db: str) -> None:
    base = make_base(long=LONG)
    prepare(base)
    short = add(base, "short.md", SHORT)
    tasks.chunk_job(FakeContext(base))
    assert tasks.index_job(FakeContext(base))["indexed"] == 1
    assert len(vectors(base)) == 451
    with unit_of_work() as uow:
        service.delete_document(uow, short.id, "t1")
    assert vectors(base) == sorted(chunk.id for chunk in all_chunks(base))
    assert len(vectors(base)) == 450


def test_indexing_removes_what_a_failed_deletion_left_and_restores_what_was_lost(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base(short=SHORT, other="## 发票\n\n可以开电子发票。")
    prepare(base)
    with unit_of_work() as uow:
        documents = service.documents(uow, base.id, "t1")

    def fail(*_: object) -> None:
        raise OSError

    with monkeypatch.context() as broken, unit_of_work() as uow:
        broken.setattr(index, "remove", fail)
        service.delete_document(uow, documents[0].id, "t1")
        uow.commit()
    kept = [chunk.id for chunk in all_chunks(base)]
    assert len(vectors(base)) == 2 and len(kept) == 1
    assert tasks.index_job(FakeContext(base))["removed"] == 1
    assert vectors(base) == kept
    index.remove(base.index_id, kept)
    assert tasks.index_job(FakeContext(base))["indexed"] == 1
    assert vectors(base) == kept


def test_a_document_whose_bytes_are_lost_is_marked_and_the_others_go_on(db: str) -> None:
    base = make_base(short=SHORT)
    lost = add(base, "lost.md", "will be lost")
    blobs().delete(service.blob_key(base.id, lost.id))
    assert tasks.chunk_job(FakeContext(base)) == {"documents": 1, "chunks": 1, "failed": 1}
    with unit_of_work() as uow:
        states = {d.name: (d.state, d.error) for d in service.documents(uow, base.id, "t1")}
    assert states == {"short.md": ("chunked", None), "lost.md": ("failed", "knowledge.lost_text")}


def test_documents_are_read_by_their_parsers_and_chunks_know_their_page(db: str) -> None:
    base = make_base("mixed", short=SHORT)
    handbook, deck = add(base, "Handbook.PDF", files.pdf()), add(base, "deck.pptx", files.slides())
    prepare(base)
    with unit_of_work() as uow:
        texts = {d.id: service.document_text(uow, d.id, "t1") for d in service.documents(uow, base.id, "t1")}
    chunks = all_chunks(base)
    assert all(texts[c.document_id][c.start : c.end] == c.text for c in chunks)
    assert {c.page for c in chunks if c.document_id == handbook.id} == {1, 2, 3}
    assert {c.page for c in chunks if c.document_id == deck.id} == {1, 2}
    assert {c.page for c in chunks if c.document_name == "short.md"} == {None}
    found = retrieve([base.id], "t1", "压缩机保修几年？", limit=1)
    assert (found[0].page, found[0].heading) == (2, "保修政策")
    with unit_of_work() as uow:
        service.delete_document(uow, handbook.id, "t1")
    assert not [key for key in blobs().keys("knowledge") if handbook.id in key]


def test_a_document_that_cannot_be_read_says_why_and_the_others_go_on(db: str) -> None:
    base = make_base(short=SHORT)
    add(base, "scan.pdf", files.scan())
    assert tasks.chunk_job(FakeContext(base)) == {"documents": 1, "chunks": 1, "failed": 1}
    with unit_of_work() as uow:
        scan = service.documents(uow, base.id, "t1")[1]
    assert (scan.state, scan.error) == ("failed", "knowledge.scanned_pdf")


def test_a_silent_object_store_ends_the_job_and_marks_no_document(
    db: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_BLOB_URL", bucket)
    settings.cache_clear()
    blobs.cache_clear()
    base = make_base(short=SHORT)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "changed")
    blobs.cache_clear()
    with pytest.raises(NotReady):
        tasks.chunk_job(FakeContext(base))
    with unit_of_work() as uow:
        assert [d.state for d in service.documents(uow, base.id, "t1")] == ["stored"]


def test_an_index_keeps_its_embedder_when_another_is_configured(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base(short=SHORT)
    prepare(base)
    monkeypatch.setenv("MBE_EMBEDDER", "fake")
    settings.cache_clear()
    add(base, "more.md", "## 发票\n\n可以开电子发票。")
    prepare(base)
    assert view(base).embedder == "ngram" and view(base).indexed_chunks == len(vectors(base)) == 2
    assert make_base().embedder == "fake"


def test_a_snapshot_brings_back_the_index_of_then_and_knows_what_has_changed_since(db: str) -> None:
    base = make_base(short=SHORT, long=LONG)
    prepare(base)
    then = vectors(base)
    [kept] = index.snapshots(base.index_id)
    assert kept.chunks == 451
    with unit_of_work() as uow:
        documents = service.documents(uow, base.id, "t1")
        service.delete_document(uow, next(d.id for d in documents if d.name == "short.md"), "t1")
    add(base, "new.md", "## 发票\n\n可以开电子发票。")
    prepare(base)
    index.remove(base.index_id, [chunk.id for chunk in all_chunks(base)][:300])
    newest, oldest = index.snapshots(base.index_id)
    assert (newest.chunks, oldest) == (451, kept) and len(vectors(base)) == 151
    context = FakeContext(base)
    context.params["version"] = kept.version
    assert tasks.restore_job(context) == {"chunks": 450, "lacking": 1}
    # All but the deleted document's; the new one is lacking until it is indexed.
    assert len(vectors(base)) == 450 and set(vectors(base)) < set(then)
    assert tasks.index_job(FakeContext(base))["indexed"] == 1
    assert vectors(base) == sorted(chunk.id for chunk in all_chunks(base))


def test_only_a_few_snapshots_are_kept_and_no_other_version_is_restored(db: str) -> None:
    base = make_base(short=SHORT)
    for n in range(index.SNAPSHOTS + 2):
        add(base, f"{n}.md", f"第{n}条。")
        prepare(base)
    kept = index.snapshots(base.index_id)
    assert [each.chunks for each in kept] == [8, 7, 6, 5, 4]
    context = FakeContext(base)
    context.params["version"] = 1
    with pytest.raises(NotFound):
        tasks.restore_job(context)


def test_another_tenants_base_is_not_found(db: str) -> None:
    base = make_base(short=SHORT)
    for job in (tasks.chunk_job, tasks.index_job):
        with pytest.raises(NotFound):
            job(FakeContext(base, tenant_id="t2"))


def test_deleting_a_base_drops_its_tables(db: str) -> None:
    base, other = make_base(short=SHORT), make_base(short=SHORT)
    prepare(base)
    prepare(other)
    with unit_of_work() as uow:
        service.delete_base(uow, base.id, "t1")
    with pytest.raises(ValueError):
        vectors(base)
    assert len(vectors(other)) == 1


def test_threads_that_work_on_one_base_write_each_chunk_once(db: str) -> None:
    base = make_base(long=LONG, short=SHORT)
    errors: list[BaseException] = []

    def run() -> None:
        try:
            prepare(base)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert vectors(base) == sorted(chunk.id for chunk in all_chunks(base)) and len(vectors(base)) == 451


def _prepare_elsewhere(base: BaseView) -> None:
    prepare(base)


def test_processes_that_work_on_one_base_write_each_chunk_once(db: str) -> None:
    base = make_base(long=LONG)
    assert os.environ["MBE_DATABASE_URL"]
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_prepare_elsewhere, args=(base,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(180)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert vectors(base) == sorted(chunk.id for chunk in all_chunks(base)) and len(vectors(base)) == 450
