"""Several bases asked at once: what only one of them can answer comes from that one, first."""

import pytest

from engine.knowledge.retrieve import retrieve
from engine.knowledge.schemas import BaseView
from tests.engine.knowledge.fakes import make_base, prepare

ENGLISH = {
    "returns": "# Returns\n\nThe return period is 45 days from the day of delivery.",
    "refunds": "# Refunds\n\nA refund is paid within 5 working days of the parcel reaching our warehouse.",
    "tents": "# Tents\n\nThe Heron tent weighs 2.4 kg and costs £289. The Wren tent weighs 1.1 kg.",
    "delivery": "# Delivery\n\nStandard delivery costs £3.95. Saturday delivery costs £7.50 in Britain.",
}
# Latin letters in a base that is searched by characters and their pairs: every English question hits them.
CHINESE = {
    "冰箱": "# 冰箱\n\n青川冰箱的价格为3699元。冰箱送到后请静置2小时。\n\n## 清洁\n\n排水孔每半年疏通一次。",
    "配送": "# 配送\n\n满99元免运费。偏远地区的运费为每公斤6元。",
    "联系": "# 联系\n\n订单与配送：dingdan.yu.peisong@yunshan.example\n\n退货与换货：tuihuo.he.huanhuo"
    "@yunshan.example\n\n安装与维修：anzhuang.weixiu@yunshan.example\n\n网站：www.yunshan-jiadian.example/bangzhu/index",
    **{f"店{n}": f"# 门店{n}\n\n第{n}家门店在城北路{n}号，每天9点开门。" for n in range(1, 31)},
}
# Of another matter, but with the words of the questions here and there: rare words of a large base.
JOURNEYS = {
    f"ferry {n}": f"# Ferry {n}\n\nThe ferry of island {n} leaves at nine and carries {n + 20} bicycles."
    for n in range(1, 61)
} | {
    "period": "# Period\n\nThe Georgian period of the harbour gave it the lighthouse and its long walls.",
    "return": "# Return\n\nThe return journey begins at the lighthouse, whatever the weather of the day.",
    "parcel": "# Parcel\n\nA parcel of land behind the harbour once belonged to the lighthouse keeper.",
}


def prepared(language: str, texts: dict[str, str]) -> BaseView:
    base = make_base(language, **texts)
    prepare(base)
    return base


def first(question: str, *bases: BaseView) -> str:
    """Return the text of the best passage, the same whichever base is named first."""
    ids = [base.id for base in bases]
    both = [retrieve(order, "t1", question)[0].text for order in (ids, ids[::-1])]
    assert both[0] == both[1]
    return both[0]


def test_an_english_and_a_chinese_base_each_answer_their_own_questions(db: str) -> None:
    bases = [prepared("en", ENGLISH), prepared("zh", CHINESE)]
    for question, answer in {
        "How many days does it take until a refund is paid?": "5 working days",
        "What is the price of Saturday delivery in Britain?": "£7.50",
        "From which day does the return period count?": "45 days",
        "青川冰箱的价格是多少？": "3699元",
        "排水孔多久疏通一次？": "每半年",
        "偏远地区运费怎么算？": "每公斤6元",
    }.items():
        assert answer in first(question, *bases), question


def test_a_small_and_a_large_base_each_answer_their_own_questions(db: str) -> None:
    bases = [prepared("en", ENGLISH), prepared("en", JOURNEYS)]
    for question, answer in {
        "What is the return period?": "45 days",
        "When is the refund for my parcel paid?": "5 working days",
        "How heavy is the Wren tent?": "1.1 kg",
        "How many bicycles does the ferry of island 7 carry?": "27 bicycles",
        "Where does the return journey begin?": "lighthouse, whatever",
    }.items():
        assert answer in first(question, *bases), question


@pytest.mark.parametrize("question", ["Who won the fell race last weekend?", "你们的店长姓什么？"])
def test_what_no_base_holds_gives_nothing_from_several(db: str, question: str) -> None:
    bases = [prepared("en", ENGLISH), prepared("zh", CHINESE)]
    assert retrieve([base.id for base in bases], "t1", question) == []


def test_each_of_several_bases_adds_what_it_knows(db: str) -> None:
    bases = [prepared("en", ENGLISH), prepared("en", {"stoves": "# Stoves\n\nThe Ember stove costs £95."})]
    found = retrieve([base.id for base in bases], "t1", "What do the Heron tent and the Ember stove cost?")
    assert {passage.document_name for passage in found[:2]} == {"tents.md", "stoves.md"}
