"""A sentence-transformers model made quick for one short text: a question waits for it.

Of the time that such a model takes for a question, half goes into Python between its operations. Traced
and frozen it does the same arithmetic without it. The name of this technique in PyTorch is TorchScript;
what follows it there (`torch.export` with AOTInductor) needs a compiler where the product runs.
"""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.kit.logs import logger

TOLERANCE = 1e-5
# Lengths and scripts that differ from the traced one: a trace that kept a length would fail here.
_TRACED = "How long does it take?"
_TRIED = ("", "a", "退货需要多长时间？", "How many points did the defense give up in the final? " * 60)


class _Sentence(torch.nn.Module):
    """A whole model, pooling included, as a function of tensors alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the embeddings, shape (texts, dimension)."""
        found: Tensor = self.model({"input_ids": input_ids, "attention_mask": attention_mask})[
            "sentence_embedding"
        ]
        return found


def frozen(model: Any) -> Callable[[str], Any] | None:
    """Return a function from a text to its vector of length 1, float32, shape (dimension,).

    It says what `model.encode` says, which is tried here. None where it does not, or where the model
    cannot be traced, works elsewhere than on the processor, or has prompts of its own.
    """
    if model.device.type != "cpu" or any(model.prompts.values()):
        return None
    try:
        embed = _frozen(model)
        same = all(np.abs(embed(text) - _encoded(model, text)).max() < TOLERANCE for text in _TRIED)
    except Exception as error:  # A tracer fails in as many ways as there are models.
        logger(__name__).info("model cannot be frozen", reason=str(error)[:200])
        return None
    return embed if same else None


def _frozen(model: Any) -> Callable[[str], Any]:
    def tokens(text: str) -> tuple[Tensor, Tensor]:
        found = model.tokenizer([text], return_tensors="pt", truncation=True, max_length=model.max_seq_length)
        return found["input_ids"], found["attention_mask"]

    with torch.inference_mode(), _silence():
        traced = torch.jit.trace(_Sentence(model).eval(), tokens(_TRACED), check_trace=False)
        quick = torch.jit.optimize_for_inference(torch.jit.freeze(traced))

    def embed(text: str) -> Any:
        with torch.inference_mode():
            vector = quick(*tokens(text))[0]
            return torch.nn.functional.normalize(vector, dim=0).numpy()

    return embed


@contextmanager
def _silence() -> Iterator[None]:
    # The tracer looks at every attribute of a model, and the deprecated ones say so.
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _encoded(model: Any, text: str) -> Any:
    return model.encode([text], normalize_embeddings=True, show_progress_bar=False)[0]
