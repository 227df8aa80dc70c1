"""OpenAI's embeddings: real vectors, the same in both encodings, and clear refusals."""

import base64
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person

Gateway = Callable[[Person | None], TestClient]
TEXTS = ["云杉家电支持三十天内退货。", "签收后三十天之内可以退货。", "门店周一休息。"]


def ask(http: TestClient, **given: Any) -> Any:
    return http.post("/v1/embeddings", json={"model": "ngram", "input": TEXTS, **given})


def test_texts_alike_have_vectors_alike(gateway: Gateway, developer: Person) -> None:
    body = ask(gateway(developer)).json()
    rows = np.array([one["embedding"] for one in body["data"]])
    assert rows.shape == (3, 1024) and np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert rows[0] @ rows[1] > 2 * rows[0] @ rows[2]
    assert [one["index"] for one in body["data"]] == [0, 1, 2] and body["usage"]["prompt_tokens"] > 10


def test_base64_holds_the_same_numbers_and_one_text_no_list(gateway: Gateway, developer: Person) -> None:
    http = gateway(developer)
    (plain,) = ask(http, input=TEXTS[0]).json()["data"]
    (packed,) = ask(http, input=TEXTS[0], encoding_format="base64").json()["data"]
    assert np.allclose(np.frombuffer(base64.b64decode(packed["embedding"]), "<f4"), plain["embedding"])


@pytest.mark.parametrize(
    ("given", "status", "field"),
    [
        ({"model": "ada"}, 404, "model"),
        ({"input": []}, 400, "input"),
        ({"input": ["x"] * 257}, 400, "input"),
        ({"input": ["fine", "  "]}, 400, "input.1"),
        ({"input": "x" * 32_001}, 400, "input.0"),
        ({"encoding_format": "int8"}, 400, "encoding_format"),
        ({"dimensions": 8}, 400, "dimensions"),
    ],
)
def test_what_cannot_be_done_is_refused_at_its_field(
    gateway: Gateway, developer: Person, given: dict[str, Any], status: int, field: str
) -> None:
    answer = ask(gateway(developer), **given)
    assert answer.status_code == status and answer.json()["error"]["param"] == field, answer.text


def test_only_a_developer_makes_vectors(gateway: Gateway, consumer: Person) -> None:
    assert ask(gateway(consumer)).status_code == 403 and ask(gateway(None)).status_code == 401
