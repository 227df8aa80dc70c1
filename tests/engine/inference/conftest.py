"""A tiny random model with two random adapters, made once per test process."""

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
CORPUS = [
    "Answer from the passages. If they do not hold the answer, say so.",
    "The shop opens at nine and closes at six. Returns are free within thirty days.",
    "请根据资料回答。资料里没有答案时，请直接说明。商店九点开门，六点关门。",
]


def make_tokenizer(folder: Path) -> int:
    """Write a byte-level BPE tokenizer with a chat template; return its size."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    specials = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=384,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>")
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(folder)
    return len(fast)


def make_base(folder: Path) -> None:
    """Write a random Llama whose greedy output is lively: wide initial weights, fixed seed."""
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    size = make_tokenizer(folder)
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        initializer_range=0.25,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=1,
        pad_token_id=0,
    )
    model = LlamaForCausalLM(config).eval()
    # The end token never wins, so a test decides by max_tokens how long an answer is.
    model.lm_head.weight.data[1].zero_()
    model.generation_config = GenerationConfig(eos_token_id=1, pad_token_id=0)
    model.save_pretrained(folder)


def make_adapter(base: Path, folder: Path, seed: int) -> None:
    """Write a PEFT LoRA adapter with random, audible weights in both halves."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj", "up_proj"], task_type="CAUSAL_LM"),
    )
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(str(folder))


@pytest.fixture(scope="session")
def tiny() -> Iterator[dict[str, Path]]:
    """Folders of a tiny base model and of two adapters on it: base, left, right."""
    with tempfile.TemporaryDirectory(prefix="mbe-tiny-") as name:
        folders = {part: Path(name) / part for part in ("base", "left", "right")}
        for folder in folders.values():
            folder.mkdir()
        make_base(folders["base"])
        make_adapter(folders["base"], folders["left"], seed=1)
        make_adapter(folders["base"], folders["right"], seed=2)
        yield folders


@pytest.fixture
def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
