"""Vectors for texts, from the embedders that knowledge bases use."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.inference import tokens
from engine.kit.errors import BadInput, NotFound
from engine.knowledge import embedding

MOST_TEXTS = 256
LONGEST = 32_000  # characters of a text


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """One vector of length 1 for each text, and how many tokens the base model sees in them."""

    vectors: embedding.Vectors
    tokens: int


def embed(person: Person, model: str, texts: Sequence[str]) -> Embedded:
    """Return the vectors of `texts`, shape (texts, dimension); it costs nothing.

    Raises Forbidden for who is not a developer, NotFound for an embedder that is not offered, BadInput for
    no texts, too many, an empty or an overlong one, NotReady when the embedder cannot be loaded.
    """
    require(person, "developer")
    offered = embedding.offered()
    if model not in offered:
        raise NotFound("knowledge.unknown_embedder", field="model", name=model[:80], names=", ".join(offered))
    if not 0 < len(texts) <= MOST_TEXTS:
        raise BadInput("knowledge.too_many_texts", field="input", count=len(texts), most=MOST_TEXTS)
    for number, text in enumerate(texts):
        if not text.strip() or len(text) > LONGEST:
            raise BadInput("knowledge.bad_text", field=f"input.{number}", number=number, most=LONGEST)
    return Embedded(
        vectors=embedding.by_name(model).embed_documents(texts), tokens=sum(map(tokens.of_text, texts))
    )
