"""TRL's trainer, without the part of its work that a processor feels."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from trl import SFTTrainer

IGNORED = -100


class AnswerTrainer(SFTTrainer):
    """Supervised fine-tuning that scores only where answers stand.

    Without Triton TRL takes the output layer over every position, prompts and padding included, which for a
    small model is more than half of the work. Here a processor takes it only from the first answer of a batch
    on. The loss is the same: the mean over all answer tokens of a step.
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
        target = inputs["labels"][:, 1:]
        answer = target != IGNORED
        first = int(answer.any(0).nonzero()[0]) if answer.any() else target.shape[1] - 1
        shown = torch.arange(first, target.shape[1])
        logits = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            logits_to_keep=shown,
            use_cache=False,
        ).logits.float()
        losses = cross_entropy(
            logits.flatten(0, 1), target[:, first:].flatten(), ignore_index=IGNORED, reduction="sum"
        )
        if model.training:
            self._total_train_tokens += int(inputs["attention_mask"].sum())
            self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
        return losses / (answer.sum().clamp(min=1) if num_items_in_batch is None else num_items_in_batch)
