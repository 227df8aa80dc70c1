import subprocess
import sys

import numpy as np
import pytest

from engine.kit.errors import NotReady
from engine.kit.settings import settings
from engine.knowledge import embedding


@pytest.mark.parametrize("name", ["ngram", "fake", "minilm"])
def test_rows_are_float32_of_length_one_and_do_not_depend_on_the_batch(name: str) -> None:
    embedder = embedding.by_name(name)
    texts = ["The return period is 45 days.", "青川冰箱的价格为3699元。", "tent"]
    rows = embedder.embed_documents(texts)
    assert rows.shape == (3, embedder.dimension) and rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert np.abs(rows[2] - embedder.embed_documents(["tent"])[0]).max() < 1e-5
    assert embedder.embed_query("tent") == pytest.approx(rows[2], abs=1e-5)


def test_a_text_without_words_gives_zeros_not_nan() -> None:
    assert embedding.by_name("ngram").embed_documents(["", "！？"]).tolist() == [[0.0] * 1024] * 2


def test_similar_questions_are_closer_than_others() -> None:
    chinese, english = embedding.by_name("ngram"), embedding.by_name("minilm")
    near, far = chinese.embed_documents(["冰箱的价格为3699元", "发票可以用于报销"])
    asked = chinese.embed_query("这台冰箱的价格是多少？")
    assert asked @ near > 0.3 > 0.1 > asked @ far
    near, far = english.embed_documents(["You may send goods back within 45 days.", "The tent is green."])
    asked = english.embed_query("How long is the return period?")
    assert asked @ near > asked @ far + 0.2


def test_ngram_vectors_are_the_same_in_another_process() -> None:
    code = (
        "from engine.knowledge.embedding import by_name;"
        "v=by_name('ngram').embed_query('冰箱 price'); print(v.tobytes().hex())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == embedding.by_name("ngram").embed_query("冰箱 price").tobytes().hex()


def test_the_language_chooses_unless_the_operator_does(home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [embedding.name_for(language) for language in ("en", "zh", "mixed")] == [
        "minilm",
        "ngram",
        "ngram",
    ]
    monkeypatch.setenv("MBE_EMBEDDER", "fake")
    settings.cache_clear()
    assert embedding.by_name(embedding.name_for("zh")).name == "fake"


def test_a_model_that_cannot_be_loaded_is_named(home: object, tmp_path: object) -> None:
    with pytest.raises(NotReady) as caught:
        embedding.by_name(str(tmp_path))
    assert str(tmp_path) in caught.value.message("en") and str(tmp_path) in caught.value.message("zh")


def test_importing_the_room_loads_no_heavy_library() -> None:
    code = (
        "import sys, engine.knowledge.service, engine.knowledge.retrieve, engine.knowledge.tasks;"
        "print([m for m in ('torch','lancedb','sklearn','pyarrow','transformers') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
