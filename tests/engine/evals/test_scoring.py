import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.evals import scoring

texts = st.text(alphabet="ab 1.，中文 AB", max_size=30)


def test_tokens_are_words_numbers_and_single_chinese_characters() -> None:
    assert scoring.tokens("Ｔｅｎｔ costs 1,299.50 — 帐篷，7天") == [
        "tent",
        "costs",
        "1,299.50",
        "帐",
        "篷",
        "7",
        "天",
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Within 14 days.", "within 14 days"),
        ("  7 天 内 ", "7天内。"),
        ("E-mail", "email"),
        ("ＡＢＣ", "abc"),
        ("Straße", "STRASSE"),
    ],
)
def test_white_space_punctuation_and_letter_case_do_not_matter(answer: str, expected: str) -> None:
    assert scoring.exact(answer, expected)


@pytest.mark.parametrize(("answer", "expected"), [("35", "3.5"), ("14 days", "15 days"), ("不可以", "可以")])
def test_other_numbers_and_words_are_not_exact(answer: str, expected: str) -> None:
    assert not scoring.exact(answer, expected)


def test_an_answer_contains_whole_tokens_in_one_run() -> None:
    assert scoring.contains("You can return it within 14 days, unused.", "14 days")
    assert scoring.contains("可以在七天内退货哦", "七天内")
    assert not scoring.contains("within 140 days", "14 days")
    assert not scoring.contains("14 full days", "14 days")
    assert not scoring.contains("anything", " . ")


def test_rouge_l_is_the_f1_of_the_longest_common_subsequence() -> None:
    # Lin 2004, section 3: "police killed the gunman" and "police kill the gunman" share three of four.
    assert scoring.rouge_l("police kill the gunman", "police killed the gunman") == 0.75
    assert scoring.rouge_l("the gunman kill police", "police killed the gunman") == 0.5
    assert scoring.rouge_l("七天内可退货", "七天内可以退货") == pytest.approx(12 / 13)
    assert scoring.rouge_l("", "something") == 0


@given(texts, texts)
def test_rouge_l_is_symmetric_bounded_and_one_for_the_same_tokens(one: str, other: str) -> None:
    score = scoring.rouge_l(one, other)
    assert 0 <= score <= 1 and score == scoring.rouge_l(other, one)
    assert (score == 1) == (scoring.tokens(one) == scoring.tokens(other))


@given(texts, texts, texts)
def test_a_text_contains_its_middle(before: str, middle: str, after: str) -> None:
    if scoring.tokens(middle):
        assert scoring.contains(f"{before} {middle} {after}", middle)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([3.0], 0.95, 3), ([4, 1, 3, 2], 0.5, 2), (list(range(1, 101)), 0.95, 95), ([1, 2, 3], 0.95, 3)],
)
def test_percentiles_are_nearest_rank(values: list[float], share: float, expected: float) -> None:
    assert scoring.percentile(values, share) == expected
