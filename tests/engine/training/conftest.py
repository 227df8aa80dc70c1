"""A tiny random model and a context that behaves like the jobs room's."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from sqlalchemy.orm import Session

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of about 50,000 random weights over bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: number for number, token in enumerate(["<|pad|>", "<|end|>", *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|pad|>", eos_token="<|end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(fast),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def row_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Twenty rows of mixed lengths to train on (five steps an epoch) and four to validate."""
    folder = tmp_path_factory.mktemp("rows")
    return write_rows(folder / "train.jsonl", 20), write_rows(folder / "validation.jsonl", 4)


def write_rows(path: Path, count: int) -> Path:
    rows = (
        {
            "messages": [
                {"role": "user", "content": f"Shelf {n}?" + " Please." * (n % 4) * 4},
                {"role": "assistant", "content": f"Row {n % 5}."},
            ]
        }
        for n in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Stopped(BaseException):
    """What the fake context raises where the real one raises StopJob."""


class FakeContext:
    """A job in memory that is asked `stop` at the end of step `stop_after`."""

    def __init__(self, params: dict[str, Any], workdir: Path) -> None:
        self.params, self.workdir = params, workdir
        workdir.mkdir(parents=True, exist_ok=True)
        self.done = 0
        self.reports: list[dict[str, Any]] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.stop: Literal["pause", "cancel"] | None = None
        self.stop_after = 10**9
        self.fenced = False

    def report(self, **values: Any) -> None:
        self.reports.append(values)
        self.done = values.get("done") or self.done

    def save_checkpoint(self, checkpoint: dict[str, Any], *, uow: Session | None = None) -> None:
        if self.fenced:
            raise Stopped("stopped")
        self.checkpoints.append(checkpoint)

    def stop_requested(self) -> Literal["pause", "cancel"] | None:
        return self.stop if self.done + 1 >= self.stop_after else None

    def check_stop(self) -> None:
        if self.stop_requested():
            raise Stopped("stopped")


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., FakeContext]:
    def make(params: dict[str, Any], machine: str = "here") -> FakeContext:
        return FakeContext(params, tmp_path / machine)

    return make
