"""What the trained model says, token by token, to hold what is served later against it."""

from typing import Any

import torch

from engine.kit.logs import logger
from engine.training.schemas import Probe

PROBES = 4
LONGEST_PROMPT = 512
LONGEST_ANSWER = 24


def probes(model: Any, tokenizer: Any, examples: list[dict[str, Any]]) -> list[Probe]:
    """Return the greedy answers of a trained model to the prompts of some examples, with their likelihood.

    Prompts of more than LONGEST_PROMPT tokens are left out. The model is in evaluation mode afterwards.
    None when the model cannot be asked: a finished training is not lost for want of a comparison.
    """
    try:
        return _probes(model, tokenizer, examples)
    except Exception as error:
        logger(__name__).warning("trained model was not asked", reason=str(error)[:300])
        return []


def _probes(model: Any, tokenizer: Any, examples: list[dict[str, Any]]) -> list[Probe]:
    model.eval()
    step = max(1, len(examples) // PROBES)
    found = []
    for example in examples[::step]:
        asked = tokenizer.apply_chat_template(
            example["prompt"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(model.device)
        if asked["input_ids"].shape[1] <= LONGEST_PROMPT:
            found.append(_probe(model, tokenizer, asked))
        if len(found) == PROBES:
            break
    return found


@torch.inference_mode()
def _probe(model: Any, tokenizer: Any, asked: Any) -> Probe:
    start = asked["input_ids"].shape[1]
    ids = model.generate(
        **asked, max_new_tokens=LONGEST_ANSWER, do_sample=False, pad_token_id=tokenizer.pad_token_id
    )
    # One pass over the whole, as the server will read it: not the likelihoods of the steps on the way.
    logits = model(input_ids=ids, use_cache=False).logits[0, start - 1 : -1].float()
    likely = torch.log_softmax(logits, dim=-1).gather(1, ids[0, start:, None])[:, 0]
    return Probe(ids=ids[0].tolist(), start=start, logprobs=likely.tolist())
