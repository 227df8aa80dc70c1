"""The starter model's tokenizer: byte-level BPE in which the same word is always the same tokens.

Three choices serve quoting. Every Chinese character and every digit stands alone, so a name or a number
is cut the same way wherever it occurs. A space belongs to the word before it, so a sentence begins with
the same token at the start of an answer as in the middle of a passage; it joins last, so that a word is cut
the same way before a space and before a full stop. Nothing is ever unknown: what has no token of its own is
spelled in bytes.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from engine.training.starter.lexicon import COMMON, ENGLISH
from engine.training.starter.names import CHARACTERS
from engine.training.starter.text import case

VOCABULARY, WITHOUT_SPACES = 7680, 5975
BOS, SYSTEM, USER, ASSISTANT, END, PAD = (
    "<|bos|>",
    "<|system|>",
    "<|user|>",
    "<|assistant|>",
    "<|end|>",
    "<|pad|>",
)
SPECIAL = [PAD, BOS, SYSTEM, USER, ASSISTANT, END]
CHAT_TEMPLATE = (
    "{{- bos_token -}}"
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'assistant' -%}"
    "{{- '<|assistant|>' -}}"
    "{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
LETTERS = r"[^\s\p{Han}\p{N}\p{P}\p{S}]+"
WORDS = rf"\p{{Han}}|\p{{N}}|{LETTERS} ?|[\p{{P}}\p{{S}}]|\s"


def _corpus(seed: int, cases: int) -> Iterator[str]:
    """Everyday characters often enough that each gets a token; then generated text and everyday words."""
    for character in CHARACTERS:
        yield character * 1000
    for word in ENGLISH + COMMON:
        yield f"{word} {word.capitalize()} {word} " * 150
    rng = Random(seed)
    for _ in range(cases):
        yield " ".join(message["content"] for message in case(rng).messages())


def train_tokenizer(seed: int = 1, cases: int = 6_000, corpus: Iterable[str] | None = None) -> Tokenizer:
    """Train the tokenizer on the generated corpus of `seed` (or on `corpus`)."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = _cut(WORDS.replace(" ?", ""))
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=WITHOUT_SPACES,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus if corpus is not None else _corpus(seed, cases), trainer)
    return _with_spaces(tokenizer)


def _cut(words: str) -> pre_tokenizers.PreTokenizer:
    """Cut at `words`, then into bytes."""
    split = pre_tokenizers.Split(Regex(words), "isolated")
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([split, level])


def _with_spaces(tokenizer: Tokenizer) -> Tokenizer:
    """Let each piece of letters take the space behind it, after all other joining."""
    state = json.loads(tokenizer.to_str())
    vocabulary, merges = state["model"]["vocab"], state["model"]["merges"]
    pieces = [p for p in sorted(vocabulary, key=vocabulary.get) if re.fullmatch("[A-Za-z]+", p)]
    for piece in pieces[: VOCABULARY - len(vocabulary)]:
        vocabulary[f"{piece}Ġ"] = len(vocabulary)
        merges.append([piece, "Ġ"])
    made = Tokenizer.from_str(json.dumps(state))
    made.pre_tokenizer = _cut(WORDS)
    return made


def wrap(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    """Give `tokenizer` its special tokens and the chat template, as transformers and vLLM load them."""
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        model_max_length=2048,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write tokenizer.json, tokenizer_config.json and chat_template.jinja into `folder`."""
    wrap(tokenizer).save_pretrained(folder)
