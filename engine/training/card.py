"""The model card of an expert: the `README.md` that goes with its adapter, in Hugging Face's format."""

import re
from dataclasses import replace

from engine.kit.messages import t
from engine.training.layout import as_markdown, markdown_of
from engine.training.registry import RunRecord
from engine.training.report import Told, sections

_TAGS = {"lora": ("lora", "trl"), "prompt": ()}
_HUB_NAME = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
_ADAPTER = """from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base = "path/of/the/base-model"
tokenizer = AutoTokenizer.from_pretrained(base)
model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), "path/of/the/adapter")"""
_MERGED = """from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "path/of/this/model"
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)"""


def model_card(told: Told, language: str, *, merged: bool = False) -> str:
    """Return a model card: metadata as YAML, then the report in Markdown with how it is used.

    It is that of the adapter, or of the model that the adapter was `merged` into.
    """
    # Imported here: the hub's client is slow to import and few requests need it.
    from huggingface_hub import ModelCard

    # A card is made to be shown: the questions that went wrong are rows of somebody's data.
    shown = replace(told.evaluation, failures=()) if told.evaluation else None
    first, *rest = sections(replace(told, evaluation=shown, charged_micro=0), language)
    parts = [
        f"---\n{_metadata(told.record, merged)}\n---\n",
        as_markdown(told.record.title, [first]),
        _usage(told.record, language, merged),
        markdown_of(rest),
    ]
    return str(ModelCard("\n".join(parts)))


def _metadata(record: RunRecord, merged: bool) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    spoken = record.statistics["train"].languages if "train" in record.statistics else {}
    measured = {"loss": record.results.eval_loss, "accuracy": record.metrics.get("accuracy")}
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type="held-out",
            dataset_name=record.dataset.name or record.dataset.id,
            metric_type=name,
            metric_value=value,
        )
        for name, value in measured.items()
        if value is not None
    ]
    # The hub makes a link of it; a folder of this machine is nobody's business.
    base = record.base_model.name if _HUB_NAME.match(record.base_model.name) else None
    relation = "finetune" if merged else "adapter"
    library = "transformers" if merged else "peft"
    data = ModelCardData(
        base_model=base,
        language=list(spoken) or None,
        base_model_relation=relation if base and record.method == "lora" else None,
        library_name=library if record.method == "lora" else None,
        pipeline_tag="text-generation",
        tags=[*_TAGS[record.method], record.recipe.get("method", "sft"), "mbe-studio"],
        model_name=record.name,
        eval_results=results or None,
    )
    return str(data.to_yaml(original_order=None)).strip()


def _usage(record: RunRecord, language: str, merged: bool) -> str:
    words = t("report.use_merged" if merged else "report.use_words", language)
    code = f"\n\n```python\n{_MERGED if merged else _ADAPTER}\n```"
    if record.method == "prompt":
        words, code = t("report.use_prompt", language), ""
    called = ""
    if record.access_point:
        called = "\n\n" + t("report.use_api", language, model=record.name, address=record.access_point)
    return f"## {t('report.use', language)}\n\n{words}{code}{called}\n"
