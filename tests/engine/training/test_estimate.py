import json
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from engine.inference.base_model import parameter_count, resolve
from engine.training import estimate
from engine.training.estimate import Shape
from engine.training.recipe import LoraRecipe

GB = 2**30
LLAMA_7B = Shape(parameters=6_738_415_616, layers=32, hidden=4096, vocabulary=32_000, adapted=2_498_560)
RECIPE = LoraRecipe(rank=16, batch_size=4, max_length=1024)


def test_the_shape_is_read_from_the_config(tmp_path: Path) -> None:
    config = {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32000,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Shape.of(tmp_path, LLAMA_7B.parameters) == LLAMA_7B
    # The rank-16 adapter of this model on all linear layers has 39,976,960 weights, as PEFT counts them.
    assert 16 * LLAMA_7B.adapted == 39_976_960
    (tmp_path / "config.json").write_text(
        json.dumps({**config, "lora_modules": ["a.0.o_proj", "a.0.up_proj"]})
    )
    assert Shape.of(tmp_path, 1).adapted == (4096 + 4096) + (4096 + 11008)


def test_a_known_size_comes_out_right() -> None:
    needed = estimate.memory(LLAMA_7B, RECIPE, device=True)
    assert 15 * GB < needed < 20 * GB
    assert estimate.memory(LLAMA_7B, RECIPE, device=False) > 2 * 12.5 * GB


def test_the_starter_fits_a_small_machine() -> None:
    base = resolve("starter")
    shape = Shape.of(base, parameter_count("starter"))
    needed = estimate.memory(shape, LoraRecipe.preset("thorough", 500), device=False)
    assert GB < needed < 4 * GB
    assert estimate.processor_speed(shape) > 10


@given(st.integers(1, 256), st.sampled_from([128, 1024, 8192]), st.integers(1, 512), st.booleans())
def test_more_of_anything_needs_more(batch: int, length: int, rank: int, device: bool) -> None:
    recipe = LoraRecipe(rank=rank, batch_size=batch, max_length=length)
    needed = estimate.memory(LLAMA_7B, recipe, device=device)
    longer = recipe.changed({"max_length": length * 2})
    assert needed < estimate.memory(LLAMA_7B, longer, device=device)
    assert needed < estimate.memory(replace(LLAMA_7B, layers=40), recipe, device=device)


@given(st.integers(1, 256), st.sampled_from([128, 1024, 8192]), st.integers(14, 200))
def test_what_is_said_to_fit_fits_and_steps_stay_as_large(batch: int, length: int, limit: int) -> None:
    recipe = LoraRecipe(batch_size=batch, max_length=length)
    found = estimate.fitting(LLAMA_7B, recipe, limit * GB, device=True)
    if found is None:
        assert limit < 16
        return
    assert estimate.memory(LLAMA_7B, found, device=True) <= limit * GB
    if found.max_length == length and batch & (batch - 1) == 0 and found.accumulation < 128:
        assert found.batch_size * found.accumulation == batch


@pytest.mark.parametrize("limit", [0, 5 * GB])
def test_nothing_fits_into_less_than_the_weights(limit: int) -> None:
    assert estimate.fitting(LLAMA_7B, RECIPE, limit, device=True) is None


@pytest.mark.parametrize("batch_size", [2, 3, 6, 7, 12])
def test_what_fits_for_single_verdicts_is_never_one_at_a_time(batch_size: int) -> None:
    recipe = LoraRecipe(method="kto", batch_size=batch_size)
    least = estimate.memory(LLAMA_7B, recipe.changed({"batch_size": 2}), device=False)
    found = estimate.fitting(LLAMA_7B, recipe, least, device=False)
    assert found and found.batch_size == 2
