from hypothesis import given
from hypothesis import strategies as st

from engine.knowledge.quotes import quoted
from engine.knowledge.schemas import Passage
from engine.knowledge.structure import sentences


def passage(text: str, start: int = 0, heading: str = "") -> Passage:
    return Passage(
        chunk_id="c",
        document_id="d",
        document_name="help.md",
        heading=heading,
        text=text,
        start=start,
        end=start + len(text),
        score=1.0,
        cosine=0.5,
        lexical=0.5,
    )


def test_the_sentence_that_holds_the_question_comes_first() -> None:
    found = quoted(
        "How long is the return period?",
        [passage("Orders ship daily. The return period is 45 days. Refunds take five days.")],
    )
    assert found[0].text == "The return period is 45 days."


def test_chinese_sentences_are_told_apart() -> None:
    found = quoted("保修期多久？", [passage("退货期为三十天。整机保修期为两年。运费由我们承担。")], limit=1)
    assert [one.text for one in found] == ["整机保修期为两年。"]


def test_a_heading_decides_between_equal_sentences() -> None:
    found = quoted(
        "What does the tent weigh?",
        [
            passage("It weighs 2 kg in all.", heading="Stove"),
            passage("It weighs 3 kg in all.", heading="Tent"),
        ],
        limit=1,
    )
    assert found[0].text == "It weighs 3 kg in all."


def test_the_same_sentence_is_quoted_once() -> None:
    text = "The return period is 45 days."
    assert len(quoted("return period", [passage(text), passage(text)])) == 1


def test_list_marks_and_headings_are_no_part_of_a_sentence() -> None:
    text = "## Returns\n- Boots can be returned. 1.5 kg is the limit.\n2. 第一句。第二句。"
    assert [words for _, _, words in sentences(text)] == [
        "Boots can be returned.",
        "1.5 kg is the limit.",
        "第一句。",
        "第二句。",
    ]


@given(st.text(alphabet="ab .。!？\n-#1", max_size=80), st.integers(0, 50))
def test_places_point_at_the_very_words(text: str, start: int) -> None:
    for one in quoted("a b", [passage(text, start)], limit=10):
        assert text[one.start - start : one.end - start] == one.text
        assert len(one.text) >= 7
