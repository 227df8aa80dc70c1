"""TRL's trainer, without the part of its work that a processor feels."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

IGNORED = -100
PASS = 64
"""What another pass through the model costs beside its tokens, in tokens."""


class AnswerTrainer(SFTTrainer):
    """Supervised fine-tuning that computes only what a loss over answers needs.

    A batch is as wide as its longest row, and TRL takes every row through the model at that width, which for
    rows of mixed lengths is half of the work or more. Here a processor takes a batch in pieces of like
    length, each as wide as its own longest row, and the output layer only from where its first answer begins.
    The loss is the same: the mean over all answer tokens of a step. A graphics card gets the batch whole.
    """

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the loss of a batch; `num_items_in_batch` counts the answer tokens of the whole step."""
        if inputs["input_ids"].device.type != "cpu" or return_outputs:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        tokens, mask, labels = (inputs[name] for name in ("input_ids", "attention_mask", "labels"))
        widths = mask.shape[1] - mask.flip(1).argmax(1)
        total = torch.stack(
            [
                _answer_loss(
                    model, *(whole[piece, : int(widths[piece].max())] for whole in (tokens, mask, labels))
                )
                for piece in pieces(widths.tolist())
            ]
        ).sum()
        if model.training:
            self._total_train_tokens += int(mask.sum())
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        if num_items_in_batch is None:
            return total / (labels[:, 1:] != IGNORED).sum().clamp(min=1)
        return total / num_items_in_batch


def pieces(widths: Sequence[int]) -> Iterator[list[int]]:
    """Divide rows of these widths so that padding and passes together cost least; yield places of rows."""
    order = sorted(range(len(widths)), key=lambda place: widths[place])
    # Of the `end` shortest rows: the least cost, and where the last piece begins.
    best = [(0, 0)]
    for end in range(1, len(order) + 1):
        width = widths[order[end - 1]]
        best.append(min((best[begin][0] + PASS + (end - begin) * width, begin) for begin in range(end)))
    end = len(order)
    while end:
        begin = best[end][1]
        yield order[begin:end]
        end = begin


def _answer_loss(model: Any, tokens: Tensor, mask: Tensor, labels: Tensor) -> Tensor:
    """Return the summed cross-entropy of the answer tokens."""
    target = labels[:, 1:]
    answer = (target != IGNORED).any(0)
    first = int(answer.nonzero()[0]) if answer.any() else max(0, target.shape[1] - 1)
    shown = torch.arange(first, target.shape[1])
    logits = model(
        input_ids=tokens, attention_mask=mask, logits_to_keep=shown, use_cache=False
    ).logits.float()
    return cross_entropy(
        logits.flatten(0, 1), target[:, first:].flatten(), ignore_index=IGNORED, reduction="sum"
    )
