"""A cross-encoder that reads question and passage together, where one is configured (`MBE_RERANKER`).

Slower and better than either search: it puts the first passages of the fused list in order anew. What is
found, and whether there is an answer at all, is decided before it.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.kit.errors import NotReady
from engine.kit.settings import settings
from engine.knowledge.chunking import search_text
from engine.knowledge.schemas import Passage

DEPTH = 20  # passages it reads a question; each costs a pass of the model


def reranked(question: str, passages: Sequence[Passage]) -> list[Passage]:
    """Return `passages` with the first ones in the order of the configured model, or as they are.

    Raises NotReady when the model cannot be loaded.
    """
    first = list(passages[:DEPTH])
    if not settings().reranker or len(first) < 2:
        return list(passages)
    texts = [(question, search_text(passage.heading, passage.text)) for passage in first]
    scores = _model(settings().reranker).predict(texts, show_progress_bar=False).tolist()
    order = sorted(range(len(first)), key=lambda n: (-scores[n], n))
    return [*(first[n] for n in order), *passages[DEPTH:]]


@lru_cache(maxsize=1)
def _model(name: str) -> Any:
    from sentence_transformers import CrossEncoder
    from torch import cuda

    try:
        return CrossEncoder(
            name,
            device="cuda" if cuda.is_available() else "cpu",
            local_files_only=Path(name).exists(),
            model_kwargs={"use_safetensors": True},
        )
    except (OSError, ValueError) as error:
        reason = (str(error).splitlines() or ["?"])[0][:200]
        raise NotReady("knowledge.no_reranker", retry_after=60, name=name, reason=reason) from error
