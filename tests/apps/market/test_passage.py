"""The page of a citation: a passage marked in its document, or why it cannot be shown."""

import pytest

from apps import passage
from apps.market import chat, handlers
from apps.passage import Cited
from engine.accounts.schemas import Person
from engine.flows import edit_chunks
from engine.flows import prepare_knowledge as flow
from engine.kit.database import unit_of_work
from engine.kit.errors import NotFound
from engine.knowledge import service as knowledge
from engine.knowledge.schemas import ChunkView, Passage, PlaceView
from tests.apps.market.conftest import Publish
from tests.apps.market.test_chat import views_of
from tests.support import run_queued_jobs

TEXT = "# Care <b>\n\n## Tents\n\nDry a tent & air it. Pack it loosely.\n\n## Boots\n\nGrease boots well."


@pytest.fixture
def base_id(dana: Person) -> str:
    made = flow.create_base(dana, name="Care", language="zh")  # the embedder that needs no model
    flow.add_document(dana, made.id, "care <i>.md", TEXT.encode())
    flow.start(dana, made.id)
    run_queued_jobs()
    return made.id


@pytest.fixture
def tents(dana: Person, base_id: str) -> ChunkView:
    """The passage on tents."""
    return flow.chunks(dana, base_id, limit=1, offset=0, words="Dry")[0]


def shown(person: Person, language: str = "en", **query: str) -> str:
    return handlers.passage(person, Cited.read(query), language)


def test_a_click_under_an_answer_leads_to_the_marked_passage(
    chen: Person, publish: Publish, base_id: str, tents: ChunkView
) -> None:
    publish(title="Care <b> desk", bases=[base_id])
    turn = views_of(chen, "How to dry a tent?")[-1].turns[-1]
    cited = next(p for p in turn.passages if p.chunk_id == tents.id)
    address = passage.opener("en", expert="help-desk")(cited)
    assert address.replace("&", "&amp;") in chat.foot(turn, "help-desk", "en")
    asked = dict(pair.split("=") for pair in address.partition("?")[2].split("&"))
    html = shown(chen, **asked)
    assert "<mark>Dry a tent &amp; air it. Pack it loosely.</mark>" in html
    assert "# Care &lt;b&gt;" in html and "Grease boots" in html and "…" not in html
    assert "<h1>care &lt;i&gt;.md</h1>" in html and "<b>" not in html and "<i>" not in html
    assert '<a class="mbe-back" href="/en/market/expert?name=help-desk">← Care &lt;b&gt; desk</a>' in html
    assert "专家引用" in shown(chen, "zh", **asked)


def test_a_cited_sentence_is_marked_alone(
    chen: Person, publish: Publish, base_id: str, tents: ChunkView
) -> None:
    publish(bases=[base_id])
    start = TEXT.index("Pack")
    asked = {"expert": "help-desk", "chunk": tents.id, "from": str(start)}
    assert "it. <mark>Pack it loosely.</mark>" in shown(chen, **asked, to=str(start + 16))
    for end in ("", "0", "-1", "x", "²", str(start), str(tents.end + 1), "9" * 30):
        assert "<mark>Dry a tent" in shown(chen, **asked, to=end), end


def test_a_sentence_within_a_long_text_keeps_its_dots() -> None:
    chunk = ChunkView(
        id="c", document_id="d", document_name="a.md", ordinal=0, text="bcd", start=10, end=13, heading=""
    )
    place = PlaceView(chunk=chunk, before="a" * 9, passage="bcd", after="e", length=15)
    html = passage.in_document(place, 11, 12)
    assert f"…{'a' * 9}b<mark>c</mark>de…" in html
    edited = place.model_copy(update={"chunk": chunk.model_copy(update={"edited": True})})
    assert "a<mark>bcd</mark>e" in passage.in_document(edited, 11, 12)


def test_an_edited_passage_stands_in_place_of_the_documents_own(
    chen: Person, dana: Person, publish: Publish, base_id: str, tents: ChunkView
) -> None:
    publish(bases=[base_id])
    edit_chunks.edit_chunk(dana, base_id, tents.id, "Dry a tent for <b>two</b> days.")
    html = shown(chen, expert="help-desk", chunk=tents.id)
    assert "reworded" in html and "<mark>Dry a tent for &lt;b&gt;two&lt;/b&gt; days.</mark>" in html
    assert "air it" not in html


def test_a_document_that_is_gone_says_so_and_leads_to_asking_again(
    chen: Person, dana: Person, publish: Publish, base_id: str, tents: ChunkView
) -> None:
    publish(bases=[base_id])
    with unit_of_work() as uow:
        knowledge.delete_document(uow, tents.document_id, dana.tenant_id)
    html = shown(chen, expert="help-desk", chunk=tents.id)
    assert "mbe-empty" in html and "may have changed since the answer" in html
    assert 'href="/en/market/expert?name=help-desk">Ask the expert again' in html and "<mark>" not in html
    assert "重新提问" in shown(chen, "zh", expert="help-desk", chunk=tents.id)
    with pytest.raises(NotFound):
        shown(dana, version="expert_x", chunk=tents.id)


@pytest.mark.parametrize(
    "query", [{}, {"chunk": "x"}, {"expert": "nobody"}, {"version": "x"}, {"version": "\0", "chunk": "\0"}]
)
def test_an_address_that_names_no_expert_is_not_found(
    chen: Person, publish: Publish, query: dict[str, str]
) -> None:
    publish()
    with pytest.raises(NotFound):
        shown(chen, **query)


def test_a_made_up_passage_is_refused_without_echoing_it(chen: Person, publish: Publish) -> None:
    publish()
    html = shown(chen, expert="help-desk", chunk="<script>\0")
    assert "mbe-empty" in html and "script" not in html


def test_addresses_quote_what_they_name_and_come_back_whole() -> None:
    odd = Cited(expert="a&b", chunk_id="x=y#", start=3, end=9)
    assert odd.address("zh") == "/zh/market/passage?expert=a%26b&chunk=x%3Dy%23&from=3&to=9"
    cited = Passage(
        chunk_id="c", document_id="d", document_name="n", heading="", text="t", start=1, end=2,
        score=0, cosine=0, lexical=0,
    )  # fmt: skip
    address = passage.opener("en", version="expert_1")(cited)
    assert address == "/en/market/passage?version=expert_1&chunk=c&from=1&to=2"
