import pytest

from engine.knowledge import lexical


def test_terms_are_the_telling_words() -> None:
    assert lexical.terms("How much are the tents' prices?") == ["tent", "pric"]
    assert lexical.terms("请问冰箱的价格是多少？") == ["冰箱", "价格"]
    assert lexical.terms("ＢＣＤ-452 多少钱") == ["bcd", "452"]
    assert lexical.terms("吗？ what is it") == []


def test_inflected_words_meet() -> None:
    for one, other in (
        ("return", "returned"),
        ("deliveries", "delivery"),
        ("price", "pricing"),
        ("box", "boxes"),
    ):
        assert lexical.stem(one) == lexical.stem(other)
    assert lexical.stem("glass") == "glass"


def test_shares_weigh_rare_terms_more_and_stay_between_0_and_1() -> None:
    passages = ["The tent weighs 2 kg.", "The tent is green.", "The tent costs 90 pounds.", ""]
    shares = lexical.shares("weight or weighs of the tent", passages)
    assert 0 < shares[1] == shares[2] < shares[0] < 1 and shares[3] == 0
    assert lexical.shares("the", passages) == [0.0] * 4
    assert lexical.shares("冰箱价格", ["青川冰箱的价格为3699元", "洗衣机"])[1] == 0


@pytest.mark.parametrize(
    ("question", "follows"),
    [
        ("How much is it?", True),
        ("And in Ireland?", True),
        ("What about Saturday delivery?", True),
        ("多少钱？", True),
        ("那洗衣机呢？", True),
        ("它有保修吗", True),
        ("How long is the return period for boots?", False),
        ("青川冰箱的价格是多少？", False),
    ],
)
def test_follow_ups_are_known_by_how_little_they_say(question: str, follows: bool) -> None:
    assert lexical.is_follow_up(question) is follows
