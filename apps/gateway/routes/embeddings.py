"""OpenAI's embeddings."""

import base64
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict

from apps.gateway.identity import Caller
from engine.flows import embed_texts

router = APIRouter(prefix="/v1", tags=["OpenAI"])


class Texts(BaseModel):
    """OpenAI's embedding request; token numbers are refused, for embedders cut texts their own way."""

    model_config = ConfigDict(extra="ignore")

    model: str
    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: None = None


@router.post("/embeddings")
def embeddings(given: Texts, caller: Caller) -> dict[str, object]:
    """Turn texts into vectors of length 1; `base64` holds little-endian 32-bit floats."""
    texts = [given.input] if isinstance(given.input, str) else given.input
    made = embed_texts.embed(caller, given.model, texts)
    rows = (
        [row.tolist() for row in made.vectors]
        if given.encoding_format == "float"
        else [base64.b64encode(row.astype("<f4").tobytes()).decode() for row in made.vectors]
    )
    data = [{"object": "embedding", "index": n, "embedding": row} for n, row in enumerate(rows)]
    usage = {"prompt_tokens": made.tokens, "total_tokens": made.tokens}
    return {"object": "list", "model": given.model, "data": data, "usage": usage}
