"""`mbe demo`: the whole main job, with figures that must agree with one another."""

from engine.kit.money import parse_credits, token_price
from tests.house.conftest import PRICE, House, Story

KEYS = {
    "upload",
    "chunks",
    "index",
    "dataset",
    "train",
    "quality",
    "published",
    "chat",
    "receipt",
    "ledger_sum",
    "battle",
    "seconds",
}


def test_the_story_is_whole(story: Story) -> None:
    assert set(story) == KEYS
    assert story["upload"]["documents"] >= 20
    assert story["index"]["chunks"] == story["chunks"] > 200
    assert story["dataset"]["rows"] >= 300
    assert story["train"]["charged_micro"] > 0
    assert story["train"]["final_loss"] < story["train"]["first_loss"] / 2
    assert story["quality"]["passed"] and story["published"]["state"] == "published"


def test_answers_cite_the_documents_that_were_uploaded(story: Story) -> None:
    for chat in story["chat"]:
        assert chat["answer"]
        assert chat["citations"], chat["question"]


def test_the_receipt_follows_from_tokens_and_price(story: Story) -> None:
    receipt, price = story["receipt"], parse_credits(PRICE)
    used = receipt["usage"]
    assert story["published"]["input_price_micro"] == price
    assert receipt["charged_micro"] == token_price(used["input_tokens"], used["output_tokens"], price, price)
    assert receipt["developer_micro"] == receipt["charged_micro"] * 80 // 100
    assert receipt["developer_micro"] + receipt["platform_micro"] == receipt["charged_micro"]
    assert receipt["charged_micro"] + receipt["returned_micro"] == receipt["held_micro"]
    assert story["ledger_sum"] == 0


def test_the_battle_was_blind_and_counted(story: Story) -> None:
    battle = story["battle"]
    assert battle["hidden_until_vote"]
    assert {battle["left"]["name"], battle["right"]["name"]} >= {"Base model"}
    assert sum(row["battles"] for row in battle["leaderboard"]) >= 2


def test_without_knowledge_the_citations_vanish(house: House, story: Story) -> None:
    """Emptying the expert's knowledge base takes the citations away, and nothing else."""
    developer, consumer = house.enter("developer"), house.enter("consumer")
    base = story["upload"]["knowledge_base"]
    for document in developer.get(f"/admin/knowledge/{base}/documents").json():
        assert developer.delete(f"/admin/knowledge/{base}/documents/{document['id']}").status_code == 200
    answer = consumer.post(
        "/v1/chat/completions",
        json={
            "model": story["published"]["model"],
            "messages": [{"role": "user", "content": story["chat"][0]["question"]}],
        },
    ).json()
    assert answer["citations"] == []
    assert answer["choices"][0]["message"]["content"]
