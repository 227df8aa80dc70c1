import json

import pytest
import yaml

from engine.kit.errors import BadInput
from engine.training.recipe import LoraRecipe
from engine.training.registry import RunRecord, export, parse
from tests.engine.training.records import HOSTILE, old_record, record


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_what_is_exported_comes_back_the_same(form: str) -> None:
    records = [record(), record(title=HOSTILE, description="中文\n\ttab: yes\u2028"), old_record()]
    assert parse(export(records, form)) == records
    assert parse(export([], form)) == []


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_the_recipe_comes_back_as_it_was_trained(form: str) -> None:
    recipe = LoraRecipe(rank=4, learning_rate=1e-05, warmup=0.1, dropout=0.25, seed=3)
    (back,) = parse(export([record(recipe=recipe.to_dict())], form))
    assert back.lora() == recipe and back.lora().digest() == recipe.digest()


def test_an_entry_has_what_a_repetition_needs() -> None:
    (entry,) = yaml.safe_load(export([record()], "yaml"))["models"]
    assert entry["method"] == "lora" and entry["access_point"] and entry["description"]
    assert entry["base_model"]["digest"] and entry["dataset"]["fingerprint"]
    assert entry["adapter"]["files"]["adapter_model.safetensors"] and entry["versions"]["torch"]
    assert entry["seeds"] == {"training": 17, "split": 17} and entry["results"]["loss"] == 0.5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "models: []",
        "format: other\nmodels: []",
        "format: mbe-studio/registry/1\nmodels: 3",
        "{{{",
        "!!python/object/apply:os.system ['true']",
        "[" * 5000,
    ],
)
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text)
    assert caught.value.field == "file"


def test_a_damaged_entry_is_refused_with_its_place() -> None:
    value = json.loads(export([record()], "json"))
    value["models"][0]["dataset"]["train_rows"] = "many"
    with pytest.raises(BadInput, match="dataset.train_rows"):
        parse(json.dumps(value))
    value["models"][0]["dataset"]["train_rows"] = 1
    value["models"][0]["recipe"]["rank"] = -1
    with pytest.raises(BadInput, match="rank"):
        parse(json.dumps(value))


def test_an_unknown_format_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="yaml, json"):
        export([record()], "xml")


def test_a_field_of_a_later_product_does_no_harm() -> None:
    value = json.loads(export([record()], "json"))
    value["models"][0]["new"] = 1
    assert parse(json.dumps(value)) == [record()]
    assert isinstance(parse(json.dumps(value))[0], RunRecord)
