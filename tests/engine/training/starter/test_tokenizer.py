"""The shipped tokenizer: nothing is lost, Chinese is short, the template marks what the assistant says."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from engine.training.starter.names import CHARACTERS
from engine.training.starter.tokenizer import CHAT_TEMPLATE

FOLDER = Path(__file__).parents[4] / "data" / "starter"


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.mark.parametrize(
    "text",
    [
        "The Bromia Cafe opens at 9:30 am, and a coffee costs $4.50.",
        "未通电使用的商品，自签收次日起7天内可以无理由退货。",
        "Two  spaces,\na new line\tand a tab; 混合 text，emoji 🙂 and ümlauts.",
        "龘靐 are rare characters",
        " leading and trailing ",
    ],
)
def test_text_comes_back_as_it_was(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_an_everyday_chinese_character_is_one_token(tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(CHARACTERS) == 3755
    assert all(len(tokenizer.encode(c, add_special_tokens=False)) == 1 for c in CHARACTERS)


def test_a_sentence_is_cut_the_same_way_wherever_it_stands(tokenizer: PreTrainedTokenizerBase) -> None:
    sentence = "Velmora Studio charges 1280 dollars."
    alone = tokenizer.encode(sentence, add_special_tokens=False)
    inside = tokenizer.encode(f"[1] First one. {sentence} Last one.", add_special_tokens=False)
    assert any(inside[n : n + len(alone)] == alone for n in range(len(inside)))


def test_the_template_is_the_one_in_the_source(tokenizer: PreTrainedTokenizerBase) -> None:
    assert tokenizer.chat_template == CHAT_TEMPLATE


def test_the_template_lays_out_two_turns_and_marks_the_answers(tokenizer: PreTrainedTokenizerBase) -> None:
    chat = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "一"},
        {"role": "assistant", "content": "二。"},
        {"role": "user", "content": "three"},
        {"role": "assistant", "content": "four."},
    ]
    out: Any = tokenizer.apply_chat_template(chat, return_dict=True, return_assistant_tokens_mask=True)
    assert tokenizer.decode(out["input_ids"]) == (
        "<|bos|><|system|>s<|end|><|user|>一<|end|><|assistant|>二。<|end|>"
        "<|user|>three<|end|><|assistant|>four.<|end|>"
    )
    marks = zip(out["input_ids"], out["assistant_masks"], strict=True)
    assert tokenizer.decode([token for token, said in marks if said]) == "二。<|end|>four.<|end|>"
    prompt = tokenizer.apply_chat_template(chat[:2], add_generation_prompt=True, tokenize=False)
    assert prompt == "<|bos|><|system|>s<|end|><|user|>一<|end|><|assistant|>"


def test_special_tokens_are_registered(tokenizer: PreTrainedTokenizerBase) -> None:
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|bos|>",
        "<|end|>",
        "<|pad|>",
    )
    assert tokenizer.decode(tokenizer.encode("<|user|>hi<|end|>"), skip_special_tokens=True) == "hi"
