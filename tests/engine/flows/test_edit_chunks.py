"""Changed chunks find an indexing job: one that is to come, or one of their own."""

import threading

import pytest

from engine.accounts.schemas import Person
from engine.flows import edit_chunks
from engine.flows import prepare_knowledge as flow
from engine.jobs import service as jobs
from engine.jobs.schemas import JobView
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Forbidden, NotFound
from engine.knowledge import index, repository
from engine.knowledge import service as knowledge
from engine.knowledge.schemas import BaseView, ChunkView
from tests.support import make_person, run_queued_jobs

TEXT = "# 帮助\n\n## 退货\n\n签收后7天内可以退货。\n\n## 发票\n\n可以开具电子发票。"
NEW = "签收后30天内可以退货。"


@pytest.fixture
def base(dana: Person) -> BaseView:
    made = flow.create_base(dana, name="帮助", language="zh")
    flow.add_document(dana, made.id, "help.md", TEXT.encode())
    flow.start(dana, made.id)
    run_queued_jobs()
    return made


def first(person: Person, base: BaseView) -> ChunkView:
    return flow.chunks(person, base.id, limit=10, offset=0)[0]


def all_jobs(person: Person, base: BaseView) -> list[JobView]:
    with unit_of_work() as uow:
        return jobs.listing(uow, person.tenant_id, subject_id=base.index_id)


def unfinished(person: Person, base: BaseView) -> list[str]:
    return [job.kind for job in all_jobs(person, base) if job.state in flow.UNFINISHED]


def claim(job: JobView) -> int:
    """Let a worker take the job; returns its token."""
    with unit_of_work() as uow:
        taken = jobs.claim(uow, job.id)
    assert taken is not None
    return taken.token


def end(job: JobView, token: int) -> None:
    """Let the job succeed, as its process does."""
    with unit_of_work() as uow:
        after = edit_chunks.after_indexing if job.kind == flow.INDEX else flow.after_chunking
        after(uow, jobs.succeed(uow, job.id, token, {}), {})


def test_an_edit_submits_one_indexing_job_and_further_edits_none(dana: Person, base: BaseView) -> None:
    chunk = first(dana, base)
    for text in (NEW, NEW, "签收后60天内可以退货。"):
        edit_chunks.edit_chunk(dana, base.id, chunk.id, text)
    assert unfinished(dana, base) == [flow.INDEX]
    assert run_queued_jobs() == 1
    assert first(dana, base).indexed
    assert "60天" in flow.search(dana, base.id, "几天内可以退货？")[0].text
    edit_chunks.edit_chunk(dana, base.id, chunk.id, "签收后60天内可以退货。")
    assert unfinished(dana, base) == []


def test_taking_out_submits_nothing_and_putting_back_does(dana: Person, base: BaseView) -> None:
    chunk = first(dana, base)
    edit_chunks.set_enabled(dana, base.id, chunk.id, False)
    edit_chunks.edit_chunk(dana, base.id, chunk.id, NEW)
    assert unfinished(dana, base) == []
    edit_chunks.set_enabled(dana, base.id, chunk.id, True)
    assert unfinished(dana, base) == [flow.INDEX]
    run_queued_jobs()
    edit_chunks.restore_chunk(dana, base.id, chunk.id)
    assert unfinished(dana, base) == [flow.INDEX]
    run_queued_jobs()
    assert first(dana, base) == chunk and chunk.indexed


def test_a_refused_text_changes_and_submits_nothing(dana: Person, base: BaseView) -> None:
    with pytest.raises(BadInput):
        edit_chunks.edit_chunk(dana, base.id, first(dana, base).id, " ")
    assert unfinished(dana, base) == []


def test_an_edit_after_the_last_look_of_an_indexing_job_gets_another(dana: Person, base: BaseView) -> None:
    job = flow.start_indexing(dana, base.id)
    token = claim(job)  # it has embedded everything, but has not ended yet
    edit_chunks.edit_chunk(dana, base.id, first(dana, base).id, NEW)
    assert unfinished(dana, base) == [flow.INDEX]
    end(job, token)
    assert unfinished(dana, base) == [flow.INDEX]
    assert run_queued_jobs() == 1 and first(dana, base).indexed


def test_an_edit_and_the_end_of_an_indexing_job_wait_for_each_other(dana: Person, base: BaseView) -> None:
    job = flow.start_indexing(dana, base.id)
    token = claim(job)
    chunk = first(dana, base)
    with unit_of_work() as uow:
        ended = jobs.succeed(uow, job.id, token, {})
        edit = threading.Thread(target=edit_chunks.edit_chunk, args=(dana, base.id, chunk.id, NEW))
        edit_chunks.after_indexing(uow, ended, {})
        edit.start()
        edit.join(0.5)
        assert edit.is_alive()
    edit.join(30)
    assert unfinished(dana, base) == [flow.INDEX]
    run_queued_jobs()
    assert first(dana, base).indexed


@pytest.mark.parametrize("then_index", [True, False])
def test_an_edit_during_chunking_is_indexed_after_it(dana: Person, base: BaseView, then_index: bool) -> None:
    flow.add_document(dana, base.id, "more.md", "周末照常营业。".encode())
    (flow.start if then_index else flow.start_chunking)(dana, base.id)
    edit_chunks.edit_chunk(dana, base.id, first(dana, base).id, NEW)
    assert unfinished(dana, base) == ([flow.CHUNK] if then_index else [flow.INDEX, flow.CHUNK])
    assert run_queued_jobs() == 2
    assert first(dana, base).indexed and unfinished(dana, base) == []


@pytest.mark.parametrize(("change", "of_its_own"), [(jobs.pause, False), (jobs.cancel, True)])
def test_an_edit_waits_for_a_paused_job_but_not_for_a_cancelled_one(
    dana: Person, base: BaseView, change: object, of_its_own: bool
) -> None:
    job = flow.start_indexing(dana, base.id)
    claim(job)
    asked = flow.change_job(dana, job.id, change)  # type: ignore[arg-type]
    assert asked.state in ("pausing", "cancelling")
    edit_chunks.edit_chunk(dana, base.id, first(dana, base).id, NEW)
    assert len(unfinished(dana, base)) == 1 + of_its_own


def test_a_job_ends_also_when_its_base_is_gone(dana: Person, base: BaseView) -> None:
    job = flow.start_indexing(dana, base.id)
    token = claim(job)
    with unit_of_work() as uow:
        knowledge.delete_base(uow, base.id, dana.tenant_id)
    end(job, token)
    assert {one.state for one in all_jobs(dana, base)} == {"succeeded"}


def test_another_tenants_chunk_is_not_found_and_a_consumer_is_no_developer(
    dana: Person, base: BaseView
) -> None:
    chunk = first(dana, base)
    people = ((make_person("o@example.com", "developer"), NotFound), (make_person("c@x.com"), Forbidden))
    for person, refusal in people:
        for attempt in (
            lambda who: edit_chunks.edit_chunk(who, base.id, chunk.id, NEW),
            lambda who: edit_chunks.restore_chunk(who, base.id, chunk.id),
            lambda who: edit_chunks.set_enabled(who, base.id, chunk.id, False),
            lambda who: edit_chunks.document_view(who, base.id, chunk.id),
            lambda who: edit_chunks.chunk(who, base.id, chunk.id),
            lambda who: flow.count_chunks(who, base.id),
        ):
            with pytest.raises(refusal):
                attempt(person)
    assert first(dana, base) == chunk and unfinished(dana, base) == []


def test_an_index_that_lost_its_vectors_is_indexed_again_by_itself(dana: Person, base: BaseView) -> None:
    assert edit_chunks.index_what_lost_its_vectors() == 0
    with unit_of_work() as uow:
        repository.forget_vectors(uow, base.index_id, repository.chunk_ids(uow, base.index_id))
    index.drop(base.index_id)
    assert edit_chunks.index_what_lost_its_vectors() == 1
    assert edit_chunks.index_what_lost_its_vectors() == 0
    run_queued_jobs()
    now = flow.base(dana, base.id)
    assert now.indexed_chunks == now.chunks > 0 and flow.search(dana, base.id, "退货")


def test_what_was_only_cut_is_left_to_whoever_has_it_indexed(dana: Person, db: str) -> None:
    made = flow.create_base(dana, name="帮助", language="zh")
    flow.add_document(dana, made.id, "help.md", TEXT.encode())
    flow.start_chunking(dana, made.id)
    run_queued_jobs()
    assert edit_chunks.index_what_lost_its_vectors() == 0
