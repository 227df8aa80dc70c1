import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kit.errors import BadInput
from engine.kit.messages import LANGUAGES
from engine.training.recipe import METHODS, RANGES, LoraRecipe


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


def test_every_number_has_a_range() -> None:
    assert {field.name for field in dataclasses.fields(LoraRecipe)} == {*RANGES, "method"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("parameters", [6_000_000, 3 * 10**9, 70 * 10**9])
def test_every_method_has_presets_and_preferences_go_slower(method: str, parameters: int) -> None:
    recipe = LoraRecipe.preset("balanced", 300, parameters, method)
    plain = LoraRecipe.preset("balanced", 300, parameters)
    assert recipe.method == method and LoraRecipe.from_dict(recipe.to_dict()) == recipe
    assert (recipe.learning_rate < plain.learning_rate) == (method != "sft")
    assert (recipe.digest() == plain.digest()) == (method == "sft")


def test_an_unknown_method_is_refused_by_name() -> None:
    for make in (lambda: LoraRecipe(method="ppo"), lambda: LoraRecipe.preset("quick", 9, method="ppo")):
        with pytest.raises(BadInput, match="sft, dpo, kto") as caught:
            make()
        assert caught.value.field == "method"


def test_single_verdicts_are_learnt_two_at_a_time_or_more() -> None:
    with pytest.raises(BadInput) as caught:
        LoraRecipe(method="kto", batch_size=1)
    assert caught.value.field == "batch_size"


def test_a_recipe_from_before_there_were_methods_is_the_same_recipe() -> None:
    kept = {name: value for name, value in LoraRecipe().to_dict().items() if name not in ("method", "beta")}
    assert LoraRecipe.from_dict(kept).digest() == LoraRecipe(beta=3.0).digest() == LoraRecipe().digest()
    assert LoraRecipe(method="dpo", beta=3.0).digest() != LoraRecipe(method="dpo").digest()


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
