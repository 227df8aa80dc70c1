import pytest

from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, NotFound
from engine.knowledge import service
from engine.knowledge.retrieve import retrieve, standalone
from engine.knowledge.schemas import BaseView, Only
from tests.engine.knowledge.fakes import add, make_base, prepare

CHINESE = {
    "冰箱": "# 冰箱\n\n青川冰箱的价格为3699元。冰箱送到后请静置2小时。\n\n## 清洁\n\n排水孔每半年疏通一次。",
    "配送": "# 配送\n\n满99元免运费。偏远地区的运费为每公斤6元。\n\n## 时间\n\n每天18点以前的订单当天发出。",
    "天气": "# 提示\n\n夏天炎热，空调安装要排队。",
}
ENGLISH = {
    "returns": "# Returns\n\nThe return period is 45 days from the day of delivery.",
    "tents": "# Tents\n\nThe Heron tent weighs 2.4 kg and costs £289. The Wren tent weighs 1.1 kg.",
    "delivery": "# Delivery\n\nStandard delivery costs £3.95. Saturday delivery costs £7.50 in Britain.",
}


def texts(base: BaseView, question: str, **options: object) -> list[str]:
    return [p.text for p in retrieve([base.id], base.tenant_id, question, **options)]  # type: ignore[arg-type]


@pytest.fixture
def chinese(db: str) -> BaseView:
    base = make_base("zh", **CHINESE)
    prepare(base)
    return base


@pytest.fixture
def english(db: str) -> BaseView:
    base = make_base("en", **ENGLISH)
    prepare(base)
    return base


def test_a_chinese_question_finds_its_passage_with_its_source(chinese: BaseView) -> None:
    first = retrieve([chinese.id], "t1", "请问青川冰箱卖多少钱？价格是？")[0]
    assert "3699元" in first.text and first.document_name == "冰箱.md" and first.heading == "冰箱"
    with unit_of_work() as uow:
        text = service.document_text(uow, first.document_id, "t1")
    assert text[first.start : first.end] == first.text
    assert -1 <= first.cosine <= 1 and 0 < first.lexical <= 1 and first.score > 0


@pytest.mark.parametrize(
    ("word", "found"),
    [("冰箱", "3699元"), ("运费", "免运费"), ("排水孔", "半年"), ("热", "炎热"), ("99元", "满99元")],
)
def test_a_single_chinese_word_or_character_hits(chinese: BaseView, word: str, found: str) -> None:
    assert found in texts(chinese, word)[0]


@pytest.mark.parametrize("question", ["你们的店长姓什么？", "推荐一部电影", "who won the race", "", " ？！ "])
def test_what_the_chinese_texts_do_not_hold_gives_nothing(chinese: BaseView, question: str) -> None:
    assert texts(chinese, question) == []


def test_an_english_question_finds_its_passage_in_other_words(english: BaseView) -> None:
    assert "45 days" in texts(english, "Within how many days may I give a purchase back?")[0]
    assert "£289" in texts(english, "What's the price of the Heron tent?")[0]


@pytest.mark.parametrize("question", ["Who won the fell race last weekend?", "asdf qwer", "¿?", "\x00"])
def test_what_the_english_texts_do_not_hold_gives_nothing(english: BaseView, question: str) -> None:
    assert texts(english, question) == []


@pytest.mark.parametrize(
    "question", ["tent' OR 1=1 --", 'price "of" (tent) + [x] ~2 ^3', "tent\nAND tent\\", "tent" * 900]
)
def test_a_question_is_text_never_a_query_language(english: BaseView, question: str) -> None:
    assert all(isinstance(text, str) for text in texts(english, question))


def test_a_follow_up_is_searched_with_the_turn_before_it(english: BaseView) -> None:
    history = ["Tell me about refunds.", "How heavy is the Wren tent?"]
    assert standalone("And the price of it?", history).startswith("How heavy is the Wren tent?\n")
    assert "Wren" in texts(english, "And the price of it?", history=history)[0]
    whole = "How much does Saturday delivery cost in Britain?"
    assert standalone(whole, history) == whole


def test_the_limit_holds_and_the_best_comes_first(chinese: BaseView) -> None:
    found = retrieve([chinese.id], "t1", "冰箱的运费", limit=2)
    assert len(found) == 2 and found[0].score >= found[1].score


def test_another_tenant_finds_nothing_and_learns_nothing(chinese: BaseView) -> None:
    theirs = make_base("zh", tenant_id="t2", 别的="另一家的冰箱价格为1元。")
    prepare(theirs)
    assert [p.text for p in retrieve([theirs.id], "t2", "冰箱价格")] == ["另一家的冰箱价格为1元。"]
    assert not any("另一家" in text for text in texts(chinese, "冰箱价格", limit=10))
    for base_ids in ([chinese.id], [theirs.id, chinese.id], ["kb_none"]):
        with pytest.raises(NotFound):
            retrieve(base_ids, "t2", "冰箱价格")


def test_several_bases_are_searched_together_and_the_same_document_shows_once(chinese: BaseView) -> None:
    second = make_base("zh", 洗衣机="松涧洗衣机的价格为2499元。", 冰箱=CHINESE["冰箱"])
    prepare(second)
    found = retrieve([chinese.id, second.id], "t1", "冰箱和洗衣机的价格", limit=10)
    assert {p.document_name for p in found[:2]} == {"冰箱.md", "洗衣机.md"}
    assert len({p.chunk_id for p in found}) == len(found)


def test_without_documents_or_index_nothing_is_found(db: str) -> None:
    base = make_base("zh")
    assert texts(base, "冰箱") == []
    add(base, "a.md", "冰箱")
    assert texts(base, "冰箱") == []
    assert retrieve([], "t1", "冰箱") == []


def test_a_deleted_document_is_no_longer_found_and_an_emptied_base_finds_nothing(chinese: BaseView) -> None:
    with unit_of_work() as uow:
        documents = {d.name: d for d in service.documents(uow, chinese.id, "t1")}
        service.delete_document(uow, documents["冰箱.md"].id, "t1")
    assert not any("3699" in text for text in texts(chinese, "青川冰箱的价格", limit=10))
    with unit_of_work() as uow:
        for name in ("配送.md", "天气.md"):
            service.delete_document(uow, documents[name].id, "t1")
    assert texts(chinese, "运费") == []


def label(base: BaseView, **labels: list[str]) -> None:
    """Give documents, named without suffix, their labels."""
    with unit_of_work() as uow:
        for document in service.documents(uow, base.id, "t1"):
            service.set_labels(uow, document.id, "t1", labels.get(document.name.split(".")[0], []))


def test_a_search_can_be_kept_to_documents_by_label_and_kind(chinese: BaseView) -> None:
    add(chinese, "洗衣机.txt", "松涧洗衣机的价格为2499元。")
    prepare(chinese)
    label(chinese, 冰箱=["厨房", "大件"], 洗衣机=["大件"])

    def names(**only: tuple[str, ...]) -> set[str]:
        found = retrieve([chinese.id], "t1", "冰箱和洗衣机的价格", limit=10, only=Only(**only))
        return {passage.document_name for passage in found}

    assert names(labels=("厨房",)) == {"冰箱.md"}
    assert names(labels=("厨房", "大件")) == {"冰箱.md", "洗衣机.txt"}
    assert names(labels=("大件",), kinds=("TXT",)) == {"洗衣机.txt"}
    assert names() >= {"冰箱.md", "洗衣机.txt"}


@pytest.mark.parametrize(
    ("only", "field"),
    [
        (Only(labels=("没有",)), "labels"),
        (Only(kinds=("pdf",)), "kinds"),
        (Only(kinds=("%",)), "kinds"),
        (Only(labels=("x' or 1=1",), kinds=("md",)), "labels"),
    ],
)
def test_a_filter_that_lets_nothing_through_is_named(chinese: BaseView, only: Only, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        retrieve([chinese.id], "t1", "冰箱", only=only)
    assert caught.value.field == field


def test_a_label_of_another_tenant_opens_nothing(chinese: BaseView) -> None:
    label(chinese, 冰箱=["厨房"])
    theirs = make_base("zh", tenant_id="t2", 别的="另一家的冰箱价格为1元。")
    prepare(theirs)
    with pytest.raises(BadInput):
        retrieve([theirs.id], "t2", "冰箱价格", only=Only(labels=("厨房",)))
