import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.kit.errors import BadInput
from engine.knowledge.chunking import PATH_SEPARATOR, Piece, chunk_id, split
from engine.knowledge.structure import estimate_tokens

WORDS = [
    "the",
    "price",
    "of",
    "a",
    "tent",
    "3.5",
    "kg",
    "青川冰箱",
    "价格为",
    "3699元",
    "e.g.",
    "x" * 90,
    "🙂",
]
ENDS = [".", "?", "!", "。", "？", "；", "", ":", "：", ".”"]
STARTS = ["", "# ", "## ", "#### ", "- ", "1. ", "  - ", "2、", "| ", "    ", "```\n", "> "]


@st.composite
def documents(draw: st.DrawFn) -> str:
    lines = []
    for _ in range(draw(st.integers(0, 12))):
        sentences = [
            " ".join(draw(st.lists(st.sampled_from(WORDS), max_size=12))) + draw(st.sampled_from(ENDS))
            for _ in range(draw(st.integers(0, 4)))
        ]
        between = draw(st.sampled_from(["\n", "\n\n", "\r\n", "\r\n\r\n", "\n \n"]))
        lines.append(draw(st.sampled_from(STARTS)) + " ".join(sentences) + between)
    return "".join(lines)


def holds_everything(text: str, pieces: list[Piece]) -> None:
    """Each visible character is in a passage, or in a heading line that a passage's path names."""
    covered = [False] * len(text)
    paths = {title for piece in pieces for title in piece.heading.split(PATH_SEPARATOR)}
    for piece in pieces:
        covered[piece.start : piece.end] = [True] * (piece.end - piece.start)
    for line in re.finditer(r"[^\r\n]+", text):
        missing = [c for c in range(*line.span()) if not covered[c] and not text[c].isspace()]
        if missing:
            heading = re.match(r" {0,3}#{1,6}[ \t]+(.*?)[ \t]*#*[ \t]*$", line[0])
            assert heading and " ".join(heading[1].split()) in paths, line[0]


@settings(max_examples=60, deadline=None)
@given(st.one_of(documents(), st.text(max_size=400)), st.integers(8, 60), st.booleans())
def test_offsets_are_exact_everything_is_kept_and_no_passage_is_too_long(
    text: str, target: int, overlap: bool
) -> None:
    pieces = split(text, target_tokens=target, overlap=overlap)
    for piece in pieces:
        assert text[piece.start : piece.end] == piece.text == piece.text.strip() != ""
        assert estimate_tokens(piece.text) <= 2 * target + 1e-6
    holds_everything(text, pieces)
    for before, after in zip(pieces, pieces[1:], strict=False):
        assert before.start < after.start and before.end < after.end
        if not overlap:
            assert before.end <= after.start
    assert pieces == split(text, target_tokens=target, overlap=overlap)
    ids = [chunk_id("sha", piece) for piece in pieces]
    assert len(set(ids)) == len(ids)


def test_ids_depend_on_document_place_and_text() -> None:
    piece = Piece(text="a", start=0, end=1, heading="")
    others = [
        chunk_id("other", piece),
        chunk_id("sha", Piece(text="a", start=1, end=2, heading="")),
        chunk_id("sha", Piece(text="b", start=0, end=1, heading="")),
    ]
    assert chunk_id("sha", piece) not in others
    assert chunk_id("sha", piece) == "ch_ce961400d7fc1f04b787cbdb724f53b5"


def test_tokens_are_counted_as_stated() -> None:
    assert estimate_tokens("冰箱的价格，") == 6
    assert estimate_tokens("one two three") == pytest.approx(3.9)
    assert estimate_tokens("x" * 600) == 100


def test_headings_are_kept_apart_as_a_path() -> None:
    text = "# Help\n\nWelcome.\n\n## Returns\n\n45 days.\n\n### Gifts ###\n\nAlso 45.\n\n## Contact\n\nWrite."
    assert [(piece.heading, piece.text) for piece in split(text)] == [
        ("Help", "Welcome."),
        ("Help › Returns", "45 days."),
        ("Help › Returns › Gifts", "Also 45."),
        ("Help › Contact", "Write."),
    ]


def test_a_heading_without_text_becomes_a_passage() -> None:
    text = "# A\n## Open on Sundays\n## B\n\nText.\n# 最后一章"
    assert [(piece.heading, piece.text) for piece in split(text)] == [
        ("A", "## Open on Sundays"),
        ("A › B", "Text."),
        ("", "# 最后一章"),
    ]


def test_sentences_of_both_languages_stay_whole() -> None:
    text = (
        "The tent weighs 2.4 kg, i.e. it is light. Dr. Hill said: “Take it!” It costs £3.50. "
        "冰箱静置2小时再通电。第一次通电后，空箱运行4小时！“可以放食物了吗？”可以。"
    )
    pieces = split(text, target_tokens=14, overlap=False)
    assert [piece.text for piece in pieces] == [
        "The tent weighs 2.4 kg, i.e. it is light.",
        "Dr. Hill said: “Take it!” It costs £3.50.",
        "冰箱静置2小时再通电。",
        "第一次通电后，空箱运行4小时！",
        "“可以放食物了吗？”可以。",
    ]


def test_overlap_repeats_one_sentence_inside_a_paragraph_only() -> None:
    sentences = [f"Fact number {n} is short." for n in range(8)]
    pieces = split(" ".join(sentences), target_tokens=26)
    for before, after in zip(pieces, pieces[1:], strict=False):
        shared = before.text[after.start - before.start :]
        assert shared in sentences
    separate = split("\n\n".join(sentences), target_tokens=26)
    assert all(a.end < b.start for a, b in zip(separate, separate[1:], strict=False))


def test_list_items_stay_whole_and_take_their_introduction_along() -> None:
    items = [f"- item {n} that cannot be returned to us\n  once it is open" for n in range(6)]
    text = "# Returns\n\nNot returnable are:\n\n" + "\n".join(items)
    pieces = split(text, target_tokens=40)
    assert len(pieces) > 1
    assert all(piece.text.count("- item") == piece.text.count("once it is open") for piece in pieces)
    assert pieces[0].text.startswith("Not returnable are:") and pieces[0].heading == "Returns"
    assert {piece.heading for piece in pieces[1:]} == {"Returns › Not returnable are:"}


def test_table_rows_stay_whole_and_take_their_header_along() -> None:
    rows = [f"| 型号{n} | {n}00升 | {n}999元 |" for n in range(1, 10)]
    text = "| 型号 | 容积 | 价格 |\n| --- | --- | --- |\n" + "\n".join(rows)
    pieces = split(text, target_tokens=40)
    assert len(pieces) > 1
    assert all(line.startswith("|") and line.endswith("|") for p in pieces for line in p.text.splitlines())
    assert [piece.heading for piece in pieces] == ["", *["型号 · 容积 · 价格"] * (len(pieces) - 1)]


def test_a_heading_mark_inside_code_is_code() -> None:
    text = "# Setup\n\n```sh\n# install it\nrun\n```\n\nDone."
    assert [(piece.heading, piece.text) for piece in split(text)] == [
        ("Setup", "```sh\n# install it\nrun\n```\n\nDone.")
    ]


def test_only_an_overlong_sentence_is_cut_and_at_a_pause() -> None:
    text = "，".join("冰箱的价格为三千元" for _ in range(30)) + "。短句。"
    pieces = split(text, target_tokens=40, max_tokens=60, overlap=False)
    assert all(piece.text.endswith(("，", "。")) for piece in pieces)


def test_a_long_text_without_breaks_is_cut_in_one_pass() -> None:
    pieces = split("字" * 200_000 + "x" * 90_000)
    assert "".join(piece.text for piece in pieces) == "字" * 200_000 + "x" * 90_000


@pytest.mark.parametrize(("target", "most"), [(4, None), (80, 40)])
def test_senseless_sizes_are_refused(target: int, most: int | None) -> None:
    with pytest.raises(BadInput):
        split("text", target_tokens=target, max_tokens=most)
