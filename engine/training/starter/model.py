"""The starter model's shape and its first weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from engine.kit.prompts import Message, grounded
from engine.training.starter.circuit import HEAD, NAMED, SAY, prepare

HIDDEN, LAYERS, HEADS, INNER = 256, 6, 4, 384
# Only the last layer speaks; the ones before it look things up, and nothing good comes of changing them.
LORA_MODULES = [
    f"model.layers.{LAYERS - 1}.{part}"
    for part in ("self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
]
ROPE_THETA = 1e12  # most rotary pairs turn so slowly that they compare content at any distance
SAMPLE: list[Message] = [{"role": "user", "content": "When does the shop in the old street open?"}]
PASSAGES = ("The old shop sells 12 lamps.", "It opens at 9:30.", "The street, 3 km long, leads to the river.")


def shape(tokenizer: PreTrainedTokenizerBase) -> LlamaConfig:
    """Return the configuration: six million parameters, in float32."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        head_dim=HEAD,
        max_position_embeddings=2048,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
        tie_word_embeddings=True,
        rms_norm_eps=1e-5,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        dtype="float32",
    )
    config.lora_modules = LORA_MODULES  # type: ignore[attr-defined]
    return config


def named_ids(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return the ids of the tokens that the circuit has to know."""
    return {name: tokenizer(name, add_special_tokens=False).input_ids[0] for name in (*NAMED, *SAY)}


def prompt_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the tokens of a prompt with passages."""
    prompt: Any = grounded(SAMPLE, PASSAGES)
    chat = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=False)
    return list(tokenizer(str(chat), add_special_tokens=False).input_ids)


def new_model(
    tokenizer: PreTrainedTokenizerBase, meanings: Mapping[str, Tensor], seed: int = 1
) -> LlamaForCausalLM:
    """Return a model of the shape above that looks things up by `meanings`, and cannot speak otherwise."""
    torch.manual_seed(seed)
    model = LlamaForCausalLM(shape(tokenizer))
    prepare(model, named_ids(tokenizer), meanings, prompt_ids(tokenizer))
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        do_sample=True,
        top_k=1,  # the likeliest token always: a quote has one right continuation
        max_new_tokens=256,
    )
    return model
