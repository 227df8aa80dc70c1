"""A citation opens for whoever may chat with the expert, and for nobody else; nothing else opens."""

import pytest

from engine.accounts.schemas import Person
from engine.flows import edit_chunks, open_citation
from engine.flows import prepare_knowledge as flow
from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound
from engine.knowledge import service as knowledge
from engine.knowledge.schemas import ChunkView
from engine.market import service as market
from engine.market.schemas import ExpertView
from tests.support import make_person, run_queued_jobs

TEXT = "# 帮助\n\n## 退货\n\n签收后7天内可以退货。\n\n## 发票\n\n可以开具电子发票。"


def make_base(person: Person, text: str = TEXT) -> str:
    """Return the id of a prepared base of the person's."""
    made = flow.create_base(person, name="帮助", language="zh")
    flow.add_document(person, made.id, "help.md", text.encode())
    flow.start(person, made.id)
    run_queued_jobs()
    return made.id


def first(person: Person, base_id: str) -> ChunkView:
    return flow.chunks(person, base_id, limit=1, offset=0)[0]


@pytest.fixture
def base_ids(developer: Person) -> list[str]:
    return [make_base(developer)]


@pytest.fixture
def chunk(developer: Person, base_ids: list[str]) -> ChunkView:
    return first(developer, base_ids[0])


def draft(person: Person, name: str, base_ids: list[str]) -> ExpertView:
    """Return a version that nobody has tested or published."""
    with unit_of_work() as uow:
        return market.register(
            uow,
            person_id=person.id,
            tenant_id=person.tenant_id,
            name=name,
            title="Draft",
            run_id="run_2",
            adapter_prefix="adapters/run_2",
            base_model="starter",
            knowledge_base_ids=base_ids,
        )


def refused(person: Person, chunk_id: str, name: str = "help-desk") -> None:
    """Assert that a passage is refused in words that tell nothing of why."""
    with pytest.raises(NotFound) as caught:
        open_citation.published(person, name, chunk_id)
    assert (caught.value.key, caught.value.field) == ("chat.unknown_passage", "chunk_id")
    assert caught.value.facts == {}


def test_everybody_opens_a_passage_of_a_published_expert(
    consumer: Person, developer: Person, reviewer: Person, published: ExpertView, chunk: ChunkView
) -> None:
    rival = make_person("rival@example.com", "developer")
    for person in (consumer, developer, reviewer, rival):
        for found in (
            open_citation.published(person, "help-desk", chunk.id),
            open_citation.of_version(person, published.id, chunk.id),
        ):
            assert found.expert.id == published.id and found.place.chunk == chunk
            assert found.place.before + found.place.passage + found.place.after == TEXT
            assert found.place.passage == chunk.text


def test_what_was_edited_away_is_shown_neither_here_nor_beside_another_passage(
    consumer: Person, developer: Person, published: ExpertView, chunk: ChunkView, base_ids: list[str]
) -> None:
    edit_chunks.edit_chunk(developer, base_ids[0], chunk.id, "签收后30天内可以退货。")
    found = open_citation.published(consumer, "help-desk", chunk.id).place
    assert found.chunk.edited and "30天" in found.passage and "7天" not in found.passage
    after = flow.chunks(developer, base_ids[0], limit=1, offset=1)[0]
    beside = open_citation.published(consumer, "help-desk", after.id).place
    assert "7天" not in beside.before and "[…]" in beside.before
    assert "7天" in edit_chunks.document_view(developer, base_ids[0], after.id).before


def test_a_passage_that_was_taken_out_is_not_found_until_it_is_put_back(
    consumer: Person, developer: Person, published: ExpertView, chunk: ChunkView, base_ids: list[str]
) -> None:
    edit_chunks.set_enabled(developer, base_ids[0], chunk.id, False)
    refused(consumer, chunk.id)
    refused(developer, chunk.id)
    edit_chunks.set_enabled(developer, base_ids[0], chunk.id, True)
    assert open_citation.published(consumer, "help-desk", chunk.id).place.chunk.id == chunk.id


def test_what_was_taken_out_is_not_shown_beside_a_passage_either(
    consumer: Person, developer: Person, published: ExpertView, chunk: ChunkView, base_ids: list[str]
) -> None:
    after = flow.chunks(developer, base_ids[0], limit=1, offset=1)[0]
    edit_chunks.set_enabled(developer, base_ids[0], after.id, False)
    seen = open_citation.published(consumer, "help-desk", chunk.id).place
    assert seen.passage == chunk.text and after.text not in seen.after and "[…]" in seen.after
    assert after.text in edit_chunks.document_view(developer, base_ids[0], chunk.id).after


def test_passages_of_other_bases_are_not_found(
    consumer: Person, developer: Person, published: ExpertView, chunk: ChunkView
) -> None:
    rival = make_person("rival@example.com", "developer")
    for owner, text in ((developer, "另外的资料：周末照常营业。"), (rival, "别家的资料：周末不营业。")):
        other = first(owner, make_base(owner, text))
        for person in (consumer, developer, rival):
            refused(person, other.id)


def test_naming_somebody_elses_base_opens_none_of_it(
    developer: Person, published: ExpertView, chunk: ChunkView, base_ids: list[str]
) -> None:
    rival = make_person("rival@example.com", "developer")
    thief = draft(rival, "thief", base_ids)
    with pytest.raises(NotFound) as caught:
        open_citation.of_version(rival, thief.id, chunk.id)
    assert caught.value.key == "chat.unknown_passage"


@pytest.mark.parametrize(
    "made_up", ["", "x", "ch_", "%", "\0", "ch_\0", "\ud800", "é" * 5_000, "' or 1=1 --"]
)
def test_what_is_no_passage_is_not_found(
    consumer: Person, published: ExpertView, chunk: ChunkView, made_up: str
) -> None:
    refused(consumer, made_up)
    for name in (made_up, "nobody"):
        with pytest.raises(NotFound):
            open_citation.published(consumer, name, chunk.id)
        with pytest.raises(NotFound):
            open_citation.of_version(consumer, name, chunk.id)


def test_a_passage_whose_document_is_gone_is_not_found(
    consumer: Person, developer: Person, published: ExpertView, chunk: ChunkView, base_ids: list[str]
) -> None:
    blobs().delete(knowledge.blob_key(base_ids[0], chunk.document_id))
    refused(consumer, chunk.id)
    with unit_of_work() as uow:
        knowledge.delete_document(uow, chunk.document_id, developer.tenant_id)
    refused(consumer, chunk.id)


def test_an_expert_whose_base_was_deleted_has_no_passages(
    consumer: Person, developer: Person, published: ExpertView, chunk: ChunkView, base_ids: list[str]
) -> None:
    with unit_of_work() as uow:
        knowledge.delete_base(uow, base_ids[0], developer.tenant_id)
    refused(consumer, chunk.id)


def test_every_base_of_an_expert_is_looked_through(developer: Person, base_ids: list[str]) -> None:
    second = make_base(developer, "另外的资料：周末照常营业。")
    with unit_of_work() as uow:
        third = knowledge.create_base(
            uow, person_id=developer.id, tenant_id=developer.tenant_id, name="x", language="zh"
        )
        knowledge.delete_base(uow, third.id, developer.tenant_id)
    expert = draft(developer, "two-bases", [third.id, *base_ids, second])
    for base_id in (*base_ids, second):
        chunk = first(developer, base_id)
        assert open_citation.of_version(developer, expert.id, chunk.id).place.chunk == chunk


def test_a_content_taken_out_of_one_base_is_still_cited_from_another(
    developer: Person, chunk: ChunkView, base_ids: list[str]
) -> None:
    twin = make_base(developer)
    assert first(developer, twin).id == chunk.id
    expert = draft(developer, "twins", [*base_ids, twin])
    edit_chunks.set_enabled(developer, base_ids[0], chunk.id, False)
    found = open_citation.of_version(developer, expert.id, chunk.id).place.chunk
    assert found.enabled and found.document_id != chunk.document_id


def test_a_version_before_its_publication_opens_for_its_tenant_and_reviewers_only(
    consumer: Person, developer: Person, reviewer: Person, chunk: ChunkView, base_ids: list[str]
) -> None:
    expert = draft(developer, "draft", base_ids)
    for person in (developer, reviewer):
        assert open_citation.of_version(person, expert.id, chunk.id).place.chunk.id == chunk.id
    for person in (consumer, make_person("rival@example.com", "developer")):
        with pytest.raises(NotFound) as caught:
            open_citation.of_version(person, expert.id, chunk.id)
        assert caught.value.key == "market.unknown_expert"
    with pytest.raises(NotFound):
        open_citation.published(developer, "draft", chunk.id)


def test_a_suspended_expert_cites_nothing_to_its_consumers(
    consumer: Person, developer: Person, reviewer: Person, published: ExpertView, chunk: ChunkView
) -> None:
    with unit_of_work() as uow:
        market.change_state(uow, published.id, "suspended", by=reviewer, reason="a look at it")
    for opened in (
        lambda: open_citation.published(consumer, "help-desk", chunk.id),
        lambda: open_citation.of_version(consumer, published.id, chunk.id),
    ):
        with pytest.raises(NotFound) as caught:
            opened()
        assert caught.value.key.startswith("market.unknown")
    assert open_citation.of_version(developer, published.id, chunk.id).place.chunk.id == chunk.id
