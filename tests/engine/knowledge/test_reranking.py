"""A real cross-encoder, small and made on the spot, so that its order is known beforehand."""

from pathlib import Path

import pytest

from engine.kit.errors import NotReady
from engine.kit.settings import settings
from engine.knowledge import reranking
from engine.knowledge.retrieve import retrieve
from engine.knowledge.schemas import Passage
from tests.engine.knowledge.fakes import make_base, prepare

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "plain", "golden", "kettle", "price", "."]


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cross-encoder that likes the word "golden": its vector alone reaches the score."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder = tmp_path_factory.mktemp("cross-encoder")
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=8, num_labels=1, max_position_embeddings=64,
    )  # fmt: skip
    torch.manual_seed(0)
    model = BertForSequenceClassification(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        bert = model.bert
        for norm in (
            bert.embeddings.LayerNorm,
            *(m for m in bert.modules() if isinstance(m, torch.nn.LayerNorm)),
        ):
            norm.weight.fill_(1.0)
        bert.embeddings.word_embeddings.weight[WORDS.index("golden"), 0] = 5.0
        attention = bert.encoder.layer[0].attention
        attention.self.value.weight.copy_(torch.eye(8))
        attention.output.dense.weight.copy_(torch.eye(8))
        bert.pooler.dense.weight.copy_(torch.eye(8))
        model.classifier.weight[0, 0] = 1.0
    model.save_pretrained(folder)
    return folder


def passage(text: str) -> Passage:
    return Passage(
        chunk_id=text, document_id="d", document_name="a.md", heading="", text=text, start=0, end=1,
        score=1.0, cosine=0.5, lexical=0.5,
    )  # fmt: skip


def choose(monkeypatch: pytest.MonkeyPatch, model: object) -> None:
    monkeypatch.setenv("MBE_RERANKER", str(model))
    settings.cache_clear()


def test_the_model_puts_the_first_passages_in_its_order_and_keeps_all(
    home: Path, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = (
        ["plain kettle .", "price .", "golden kettle ."] + [f"plain {n} ." for n in range(20)] + ["golden ."]
    )
    found = [passage(text) for text in texts]
    assert reranking.reranked("kettle price", found) == found
    choose(monkeypatch, golden)
    ordered = [each.text for each in reranking.reranked("kettle price", found)]
    assert ordered[0] == "golden kettle ." and ordered[-1] == "golden ." and sorted(ordered) == sorted(texts)


def test_answers_are_given_the_passages_in_that_order(
    db: str, golden: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = make_base("zh", plain="The kettle price is low. Plain kettle price.", gold="Golden kettle price.")
    prepare(base)
    before = [each.text for each in retrieve([base.id], "t1", "plain kettle price")]
    choose(monkeypatch, golden)
    after = [each.text for each in retrieve([base.id], "t1", "plain kettle price")]
    assert before[0].startswith("The kettle") and after == before[::-1]


def test_a_model_that_is_not_there_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, home / "nothing")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotReady) as caught:
        reranking.reranked("kettle", [passage("a"), passage("b")])
    assert "nothing" in caught.value.message("en") and "nothing" in caught.value.message("zh")
