"""The starter model's shape and its first weights."""

import torch
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from engine.training.starter.circuit import NAMED, Gains, prepare

HIDDEN, LAYERS, HEADS, HEAD_SIZE, INNER = 192, 5, 8, 32, 336
ROPE_THETA = 100_000.0


def shape(tokenizer: PreTrainedTokenizerBase) -> LlamaConfig:
    """Return the configuration: about three million parameters, 12 MB in float32."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD_SIZE,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )


def named_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return the ids of the tokens that the circuit has to know."""
    return {name: tokenizer(name, add_special_tokens=False).input_ids[0] for name in NAMED}


def new_model(
    tokenizer: PreTrainedTokenizerBase, seed: int = 1, gains: Gains | None = None
) -> LlamaForCausalLM:
    """Return an untrained model of the shape above; `seed` fixes its weights, `gains` its circuit."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(shape(tokenizer))
    prepare(model, named_ids(tokenizer), gains)
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        top_k=1,  # the likeliest token always: a quote has one right continuation
        max_new_tokens=128,
    )
    return model
