"""The knowledge page: what it shows and does, without a browser."""

import pytest

from engine.accounts.schemas import Person
from engine.flows import prepare_knowledge as flow
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from studio.handlers import jobs, knowledge


def put(person: Person, base_id: str) -> None:
    flow.add_document(person, base_id, "care.md", b"Dry the tent.")


def test_the_list_begins_empty_and_then_links_each_base(dana: Person) -> None:
    assert "mbe-empty" in knowledge.listing(dana, "zh")
    base_id = knowledge.create(dana, "Tents <b>", "en")
    html = knowledge.listing(dana, "en")
    assert f"/en/studio/?base={base_id}" in html and "Tents &lt;b&gt;" in html


def test_a_base_without_a_name_is_refused_at_the_field(dana: Person) -> None:
    with pytest.raises(BadInput) as caught:
        knowledge.create(dana, " ", "en")
    assert caught.value.field == "name"


def test_preparing_starts_a_job_that_can_be_paused_and_only_one(dana: Person) -> None:
    base_id = knowledge.create(dana, "Tents", "en")
    assert not knowledge.detail(dana, base_id, "en").ready
    put(dana, base_id)
    assert knowledge.detail(dana, base_id, "en").ready
    job = knowledge.prepare(dana, base_id)
    assert not knowledge.detail(dana, base_id, "en").ready
    with pytest.raises(Conflict):
        knowledge.prepare(dana, base_id)
    assert jobs.change(dana, job.id, "pause").state == "paused"
    assert jobs.change(dana, job.id, "resume").state == "queued"
    assert jobs.change(dana, job.id, "cancel").state == "cancelled"
    assert knowledge.detail(dana, base_id, "en").ready


def test_a_document_is_deleted_only_when_chosen_and_confirmed(dana: Person) -> None:
    base_id = knowledge.create(dana, "Tents", "en")
    put(dana, base_id)
    document_id = knowledge.detail(dana, base_id, "en").choices[0][1]
    for chosen, confirmed, field in (("", True, "document"), (document_id, False, "confirmed")):
        with pytest.raises(BadInput) as caught:
            knowledge.delete(dana, chosen, confirmed)
        assert caught.value.field == field
    knowledge.delete(dana, document_id, True)
    assert knowledge.detail(dana, base_id, "en").choices == []


def test_labels_are_saved_shown_and_offered_again(dana: Person) -> None:
    base_id = knowledge.create(dana, "Tents", "en")
    put(dana, base_id)
    document_id = knowledge.detail(dana, base_id, "en").choices[0][1]
    for chosen, labels, field in ((None, "x", "labelled"), (document_id, "x" * 41, "labels")):
        with pytest.raises(BadInput) as caught:
            knowledge.label(dana, chosen, labels)
        assert caught.value.field == field
    knowledge.label(dana, document_id, "big <tents>, , 2026，夏季")
    assert knowledge.labels_of(dana, base_id, document_id) == "big <tents>, 2026, 夏季"
    assert "big &lt;tents&gt; · 2026 · 夏季" in knowledge.detail(dana, base_id, "en").documents
    knowledge.label(dana, document_id, "")
    assert knowledge.labels_of(dana, base_id, document_id) == knowledge.labels_of(dana, base_id, None) == ""


def test_nobody_reaches_into_another_tenant(dana: Person, other: Person, rui: Person) -> None:
    base_id = knowledge.create(dana, "Tents", "en")
    put(dana, base_id)
    document_id = knowledge.detail(dana, base_id, "en").choices[0][1]
    job = knowledge.prepare(dana, base_id)
    with pytest.raises(NotFound):
        knowledge.detail(other, base_id, "en")
    with pytest.raises(NotFound):
        put(other, base_id)
    with pytest.raises(NotFound):
        knowledge.delete(other, document_id, True)
    with pytest.raises(NotFound):
        knowledge.label(other, document_id, "mine")
    with pytest.raises(NotFound):
        jobs.change(other, job.id, "cancel")
    with pytest.raises(Forbidden):
        knowledge.listing(rui, "en")
    assert flow.latest_job(dana, base_id).state == "queued"  # type: ignore[union-attr]
