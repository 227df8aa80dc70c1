"""What a model in training answers to the questions of the person who started it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from engine.training.schemas import Sample

MOST_SAMPLINGS = 10
NEW_TOKENS = 64

Conversation = Sequence[Mapping[str, str]]


class Sampler:
    """Asks the questions at ends of epochs, evenly spread over a run and always at its last.

    `questions` maps each question to the conversation that the model reads for it. Asking leaves no trace:
    the random state and the model's mode are as before, so a run ends with the same weights without it.
    """

    def __init__(self, questions: Mapping[str, Conversation], epochs: int) -> None:
        self.questions, self.epochs = questions, epochs
        count = min(MOST_SAMPLINGS, epochs)
        self._chosen = {math.ceil(epochs * n / count) for n in range(1, count + 1)}

    def due(self, step: int, steps: int) -> bool:
        """Return whether the questions are to be asked after `step` of `steps`."""
        epoch, rest = divmod(step, max(1, steps // self.epochs))
        return bool(self.questions) and rest == 0 and epoch in self._chosen

    def ask(self, model: Any, tokenizer: Any, step: int) -> list[Sample]:
        """Return the model's most likely answer to each question, cut after NEW_TOKENS."""
        devices = [model.device] if model.device.type == "cuda" else []
        trained = model.training
        model.eval()
        try:
            with torch.random.fork_rng(devices=devices), torch.no_grad():
                return [
                    Sample(step=step, number=n, question=question, answer=_answer(model, tokenizer, messages))
                    for n, (question, messages) in enumerate(self.questions.items())
                ]
        finally:
            model.train(trained)


def _answer(model: Any, tokenizer: Any, messages: Conversation) -> str:
    prompt = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest:
        # Of a prompt that is too long, the end is kept: the question stands there, or what follows it.
        prompt = prompt[:, -max(1, longest - NEW_TOKENS) :]
    prompt = prompt.to(model.device)
    said = model.generate(
        input_ids=prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=NEW_TOKENS,
        do_sample=False,
        num_beams=1,
        # Left in a base model's own settings, these would be warned about.
        temperature=None,
        top_p=None,
        top_k=None,
        use_cache=True,
        eos_token_id=_ends(model, tokenizer),
        pad_token_id=tokenizer.pad_token_id,
    )
    return str(tokenizer.decode(said[0, prompt.shape[1] :], skip_special_tokens=True)).strip()


def _ends(model: Any, tokenizer: Any) -> list[int]:
    """Return the tokens that end an answer: those the base model names, and the tokenizer's own."""
    named = model.generation_config.eos_token_id
    found = {tokenizer.eos_token_id, *(named if isinstance(named, list) else [named])}
    return sorted(token for token in found if token is not None)
