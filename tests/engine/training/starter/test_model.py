"""The shipped weights: they load without a network, have the right shape, and quote as well as is said."""

from pathlib import Path
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from engine.kit.prompts import Language
from engine.training.starter.evaluate import answers
from engine.training.starter.meanings import Meanings
from engine.training.starter.model import new_model
from engine.training.starter.text import Level, chat_case, grounded_case

FOLDER = Path(__file__).parents[4] / "data" / "starter"
RIGHT_AT_LEAST = 0.85
LEVEL = Level(passages=8, sentences=2, turns=1, refusals=0.3)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(FOLDER, local_files_only=True).eval()


def test_the_weights_are_of_the_shape_that_the_source_builds(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    built = new_model(tokenizer, Meanings(tokenizer).found())
    assert {n: p.shape for n, p in model.named_parameters()} == {
        n: p.shape for n, p in built.named_parameters()
    }
    assert sum(p.numel() for p in model.parameters()) == 6_098_176
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_the_model_stops_by_itself_and_pads_and_begins_with_tokens_of_its_tokenizer(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> None:
    for settings in (model.config, model.generation_config):
        assert settings.eos_token_id == tokenizer.eos_token_id
        assert settings.pad_token_id == tokenizer.pad_token_id
        assert settings.bos_token_id == tokenizer.bos_token_id


@pytest.mark.parametrize("language", ["en", "zh"])
def test_it_quotes_and_refuses_with_names_it_has_never_seen(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, language: Language
) -> None:
    rng = Random(77)
    cases = [grounded_case(rng, "held_out", LEVEL, language) for _ in range(30)]
    said = answers(model, tokenizer, [case.messages()[:-1] for case in cases])
    right = [text == case.turns[0][1] for text, case in zip(said, cases, strict=True)]
    assert {case.kinds[0] for case in cases} == {"quote", "refusal"}
    assert sum(right) / len(right) >= RIGHT_AT_LEAST


@pytest.mark.parametrize("language", ["en", "zh"])
def test_without_passages_it_says_so_or_greets(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, language: Language
) -> None:
    rng = Random(78)
    cases = [chat_case(rng, "held_out", language) for _ in range(40)]
    said = answers(model, tokenizer, [case.messages()[:-1] for case in cases])
    right = [text == case.turns[-1][1] for text, case in zip(said, cases, strict=True)]
    assert sum(right) / len(right) >= RIGHT_AT_LEAST
