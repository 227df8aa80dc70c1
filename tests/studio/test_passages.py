"""The passages page: what it shows and does, without a browser."""

from dataclasses import replace

import pytest

from engine.accounts.schemas import Person
from engine.flows import edit_chunks
from engine.flows import prepare_knowledge as flow
from engine.kit.errors import BadInput, Forbidden, NotFound
from studio.handlers import knowledge, passages, retrieval
from studio.views.passages import Where
from tests.support import run_queued_jobs

NUMBERS = range(1, 26)
TEXT = "\n\n".join(f"## Tent <b>{n}</b>\n\nTent {n} costs {n}99 pounds & weighs {n} kg." for n in NUMBERS)
NEW = "Tent 1 costs 5 pounds now."


@pytest.fixture
def base_id(dana: Person) -> str:
    made = knowledge.create(dana, "Tents <b>", "zh")  # the embedder that needs no model
    flow.add_document(dana, made, "tents.md", TEXT.encode())
    flow.start(dana, made)
    run_queued_jobs()
    return made


@pytest.fixture
def first(dana: Person, base_id: str) -> Where:
    """The address of the first passage."""
    chunk = flow.chunks(dana, base_id, limit=1, offset=0)[0]
    return Where(base_id=base_id, page=1, chunk_id=chunk.id)


def listed(person: Person, language: str = "en", **query: str) -> str:
    return passages.listing(person, passages.where(query), language)


def test_ten_passages_stand_on_a_page_and_each_opens(dana: Person, base_id: str) -> None:
    for page, first, many, onward in (("1", 1, 10, True), ("2", 11, 10, True), ("3", 21, 5, False)):
        html = listed(dana, base=base_id, page=page)
        assert html.count('class="mbe-card"') == html.count("&amp;chunk=ch_") == many
        assert f">{first} · tents.md" in html and f"Page {page} of 3 · 25 in all" in html
        assert ('rel="next"' in html, 'rel="prev"' in html) == (onward, page != "1")
    assert "Tent &lt;b&gt;25&lt;/b&gt;" in html and "<b>" not in html
    assert "第 3 / 3 页" in listed(dana, "zh", base=base_id, page="3")


@pytest.mark.parametrize(("page", "shown"), [("7", 3), ("0", 1), ("-1", 1), ("x", 1), ("9" * 30, 1)])
def test_a_page_outside_the_range_is_moved_into_it(dana: Person, base_id: str, page: str, shown: int) -> None:
    assert f"Page {shown} of 3" in listed(dana, base=base_id, page=page)


def test_words_narrow_the_list_and_stay_in_its_addresses(dana: Person, base_id: str) -> None:
    html = listed(dana, base=base_id, words=" tent  pounds ")
    assert "25 with “tent pounds”" in html and "words=tent+pounds&amp;chunk=" in html
    assert "words=tent+pounds" in html.split('rel="next"')[1]
    assert listed(dana, base=base_id, words="2599").count('class="mbe-card"') == 1
    nothing = listed(dana, base=base_id, words='<i>"&%')
    assert "mbe-empty" in nothing and "<i>" not in nothing


def test_an_empty_base_says_what_will_be_here(dana: Person) -> None:
    empty = knowledge.create(dana, "Nothing", "en")
    html = listed(dana, base=empty)
    assert "mbe-empty" in html and f"/en/studio/?base={empty}" in html


def test_a_passage_is_marked_in_its_document(dana: Person, first: Where) -> None:
    now = passages.detail(dana, first, "en")
    assert "<mark>Tent 1 costs 199 pounds &amp; weighs 1 kg.</mark>" in now.place
    assert "mbe-far" in now.place and "…" not in now.place
    assert now.text == "Tent 1 costs 199 pounds & weighs 1 kg."
    assert (now.edited, now.enabled, now.job, now.moving) == (False, True, "", False)
    assert "<h1>Passage 1</h1>" in now.head
    assert f'href="/en/studio/passages?base={first.base_id}&amp;page=1"' in now.head


def test_text_that_is_left_out_is_shown_by_dots(dana: Person, base_id: str) -> None:
    line = " ".join(f"Tent {n} has room for {n} people and a dog." for n in range(100))
    flow.add_document(dana, base_id, "line.txt", line.encode())
    flow.start(dana, base_id)
    run_queued_jobs()
    chunk = flow.chunks(dana, base_id, limit=1, offset=0, words="room for 50 people")[0]
    html = passages.detail(dana, Where(base_id=base_id, chunk_id=chunk.id), "en").place
    assert html.count("…") == 2 and "mbe-far" not in html


def test_the_ends_of_a_document_have_no_dots(dana: Person, base_id: str) -> None:
    flow.add_document(dana, base_id, "short.md", b"One line only.")
    flow.start(dana, base_id)
    run_queued_jobs()
    chunk = flow.chunks(dana, base_id, limit=1, offset=0, words="One line only")[0]
    html = passages.detail(dana, Where(base_id=base_id, chunk_id=chunk.id), "en").place
    assert "<mark>One line only.</mark>" in html and "…" not in html and "mbe-far" not in html


def test_an_edit_is_saved_and_says_what_happens_next(dana: Person, first: Where) -> None:
    assert "once indexing has run" in passages.save(dana, first, f" {NEW} ", "en")
    now = passages.detail(dana, first, "en")
    assert (
        now.text == NEW
        and now.edited
        and now.moving
        and "edited" in now.head
        and "not indexed yet" in now.head
    )
    assert "Indexing “Tents &lt;b&gt;”" in now.job and "199 pounds" in now.place
    assert NEW in listed(dana, base=first.base_id)
    run_queued_jobs()
    now = passages.detail(dana, first, "en")
    assert "not indexed yet" not in now.head and now.job == "" and not now.moving
    assert "nothing was changed" in passages.save(dana, first, NEW, "en")
    assert "恢复" in passages.restore(dana, first, "zh")
    now = passages.detail(dana, first, "en")
    assert "199 pounds" in now.text and not now.edited


@pytest.mark.parametrize("text", ["", "  ", "x" * 4_001, None])
def test_an_unusable_text_is_refused_at_its_field(dana: Person, first: Where, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        passages.save(dana, first, text, "en")
    assert caught.value.field == "text" and "4,000" in caught.value.message("zh")


def test_a_passage_is_taken_out_and_put_back(dana: Person, first: Where) -> None:
    assert "no expert" in passages.put(dana, first, False, "en")
    now = passages.detail(dana, first, "en")
    assert not now.enabled and "taken out" in now.head and not now.moving
    html = listed(dana, base=first.base_id)
    assert "taken out</span>" in html and "25 in all · 1 taken out" in html
    assert "stays taken out" in passages.save(dana, first, NEW, "en")
    assert "stays taken out" in passages.restore(dana, first, "en")
    assert "24 / 24" in knowledge.listing(dana, "en")
    assert "found again" in passages.put(dana, first, True, "en")
    assert passages.detail(dana, first, "en").moving


def test_a_base_with_everything_taken_out_is_not_called_unprepared(dana: Person) -> None:
    base_id = knowledge.create(dana, "One", "zh")
    flow.add_document(dana, base_id, "one.md", "只有一段。".encode())
    flow.start(dana, base_id)
    run_queued_jobs()
    chunk = flow.chunks(dana, base_id, limit=1, offset=0)[0]
    edit_chunks.set_enabled(dana, base_id, chunk.id, False)
    assert "0 / 0" in knowledge.listing(dana, "en")
    assert "mbe-empty" not in retrieval.head(dana, base_id, "en")


@pytest.mark.parametrize("query", [{}, {"base": ""}, {"page": "2"}])
def test_an_address_without_a_base_names_nothing(query: dict[str, str]) -> None:
    with pytest.raises(NotFound):
        passages.where(query)


def test_nobody_reaches_into_another_tenant(dana: Person, other: Person, rui: Person, first: Where) -> None:
    for person, refusal, asked in (
        (other, NotFound, first),
        (rui, Forbidden, first),
        (dana, NotFound, replace(first, chunk_id="ch_none")),
        (dana, NotFound, replace(first, base_id="kb_none")),
    ):
        for attempt in (
            lambda who, what: passages.detail(who, what, "en"),
            lambda who, what: passages.save(who, what, NEW, "en"),
            lambda who, what: passages.restore(who, what, "en"),
            lambda who, what: passages.put(who, what, False, "en"),
        ):
            with pytest.raises(refusal):
                attempt(person, asked)
    for person, refusal in ((other, NotFound), (rui, Forbidden)):
        for look in (passages.listing, passages.title):
            with pytest.raises(refusal):
                look(person, first, "en")
    now = passages.detail(dana, first, "en")
    assert now.enabled and not now.edited
