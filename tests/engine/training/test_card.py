import re

import pytest
import yaml
from huggingface_hub import ModelCard

from engine.kit.messages import LANGUAGES
from engine.training.card import model_card
from engine.training.registry import BaseModelRecord, DatasetRecord
from engine.training.report import Told
from tests.engine.training.records import HOSTILE, old_record, record, told


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_card_has_metadata_that_the_hub_reads(language: str) -> None:
    base = BaseModelRecord(name="Qwen/Qwen3-0.6B")
    card = ModelCard(model_card(told(record(base_model=base)), language))
    assert card.data.library_name == "peft" and card.data.base_model == "Qwen/Qwen3-0.6B"
    assert card.data.to_dict()["base_model_relation"] == "adapter"
    assert card.data.language == ["zh", "en"] and "lora" in card.data.tags
    measured = {found.metric_type: found.metric_value for found in card.data.eval_results}
    assert measured == {"loss": 0.75, "accuracy": 0.5}
    assert "PeftModel.from_pretrained" in card.text and "shop-helper" in card.text
    assert "50%" in card.text and "Another place" not in card.text, "rows of the data are in the card"
    assert card.text.count("\n# ") + card.text.startswith("# ") == 1


def test_a_card_of_an_old_run_has_what_there_is() -> None:
    card = ModelCard(model_card(Told(record=old_record(), state="Done", finished=True), "en"))
    assert card.data.eval_results is None and card.data.language is None


def test_hostile_names_break_neither_metadata_nor_text() -> None:
    hostile = HOSTILE + "\n---\nlicense: mine"
    made = record(name="shop", title=hostile, dataset=DatasetRecord(id="d", name=hostile))
    text = model_card(told(made), "en")
    metadata, body = text.removeprefix("---\n").split("\n---\n", 1)
    assert "license" not in yaml.safe_load(metadata)
    assert ModelCard(text).data.model_name == "shop"
    assert "<script" not in body and not re.search(r"(?<!\\)\]\(java", body)


@pytest.mark.parametrize("name", ["/srv/models/secret-project", "starter"])
def test_what_is_on_no_hub_is_not_linked(name: str) -> None:
    data = ModelCard(model_card(told(record(base_model=BaseModelRecord(name=name))), "en")).data
    assert data.base_model is None and "base_model_relation" not in data.to_dict()


def test_a_merged_model_needs_transformers_alone() -> None:
    card = ModelCard(model_card(told(), "en", merged=True))
    assert card.data.library_name == "transformers"
    assert "peft" not in card.text.lower() and "AutoModelForCausalLM.from_pretrained(folder)" in card.text
