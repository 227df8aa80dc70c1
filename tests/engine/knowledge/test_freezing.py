import numpy as np
import pytest

from engine.knowledge import embedding
from engine.knowledge.freezing import frozen

TEXTS = [
    "",
    "tent",
    "How long may I keep the blue tent before I must send it back?",
    "青川冰箱的价格是多少？",
    "a long question about the return of many things " * 80,
]


@pytest.fixture(scope="module")
def model() -> object:
    loaded = embedding.by_name("minilm")
    assert isinstance(loaded, embedding.SentenceEmbedder)
    return loaded._model


@pytest.mark.parametrize("text", TEXTS)
def test_a_frozen_model_says_what_the_model_says(model: object, text: str) -> None:
    embed = frozen(model)
    assert embed is not None
    said = model.encode([text], normalize_embeddings=True)[0]  # type: ignore[attr-defined]
    assert embed(text).dtype == np.float32
    assert np.abs(embed(text) - said).max() < 1e-5


def test_questions_are_embedded_by_the_frozen_model_as_documents_by_the_whole_one() -> None:
    loaded = embedding.by_name("minilm")
    assert getattr(loaded, "_quick", None) is not None
    for text in TEXTS[1:]:
        assert np.abs(loaded.embed_query(text) - loaded.embed_documents([text])[0]).max() < 1e-5


class Prompted:
    """A model that puts words of its own before questions."""

    prompts = {"query": "query: "}

    class device:  # noqa: N801
        type = "cpu"


class Elsewhere(Prompted):
    """A model on a graphics card."""

    prompts = {"query": ""}

    class device:  # noqa: N801
        type = "cuda"


class Odd(Prompted):
    """A model that no tracer understands."""

    prompts: dict[str, str] = {}
    max_seq_length = 8

    def tokenizer(self, *_: object, **__: object) -> dict[str, object]:
        raise ValueError("no tensors")


@pytest.mark.parametrize("model", [Prompted(), Elsewhere(), Odd()])
def test_what_cannot_be_frozen_is_left_as_it_is(model: object) -> None:
    assert frozen(model) is None
