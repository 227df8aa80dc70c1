import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kit.errors import BadInput
from engine.kit.messages import LANGUAGES
from engine.training.recipe import RANGES, LoraRecipe


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rank", 0),
        ("rank", 513),
        ("rank", 1.5),
        ("rank", True),
        ("rank", "8"),
        ("rank", None),
        ("alpha", 0),
        ("dropout", -0.1),
        ("dropout", float("nan")),
        ("learning_rate", 0.0),
        ("learning_rate", 1.0),
        ("epochs", 0),
        ("batch_size", 0),
        ("max_length", 8),
        ("warmup", 0.9),
        ("seed", -1),
        ("save_seconds", 0.0),
    ],
)
def test_a_bad_value_fails_at_once_with_name_and_range(field: str, value: Any) -> None:
    with pytest.raises(BadInput) as caught:
        LoraRecipe(**{field: value})
    assert caught.value.field == field
    low, high = RANGES[field]
    for language in LANGUAGES:
        text = caught.value.message(language)
        assert field in text and f"{low:.15g}" in text and f"{high:.15g}" in text


def test_every_field_has_a_range() -> None:
    assert {field.name for field in dataclasses.fields(LoraRecipe)} == set(RANGES)


def test_a_recipe_survives_json_and_whole_floats() -> None:
    recipe = LoraRecipe(rank=8, dropout=0.1)
    assert LoraRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert LoraRecipe(rank=8.0) == LoraRecipe(rank=8)  # type: ignore[arg-type]
    assert recipe.changed({"epochs": 2}).epochs == 2
    with pytest.raises(BadInput) as caught:
        recipe.changed({"epocs": 2})
    assert caught.value.field == "epocs"


def test_only_what_changes_the_result_is_in_the_digest() -> None:
    recipe = LoraRecipe()
    assert recipe.digest() == recipe.changed({"save_steps": 7, "save_seconds": 3}).digest()
    assert recipe.digest() != recipe.changed({"seed": 18}).digest()


@given(st.integers(1, 10**7), st.integers(10**5, 10**12))
def test_presets_hold_for_every_size_and_grow_with_the_effort(rows: int, parameters: int) -> None:
    quick, balanced, thorough = (
        LoraRecipe.preset(name, rows, parameters) for name in ("quick", "balanced", "thorough")
    )
    assert quick.epochs <= balanced.epochs <= thorough.epochs
    if parameters >= 50_000_000:
        assert thorough.epochs <= 4 and quick.learning_rate <= 2e-4


def test_unknown_preset() -> None:
    with pytest.raises(BadInput):
        LoraRecipe.preset("slow", 10)  # type: ignore[arg-type]
