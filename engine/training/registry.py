"""The model registry: how each expert was made, as YAML or JSON that a training can be repeated from."""

import json
from collections.abc import Sequence
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from engine.kit.errors import BadInput
from engine.training.prompting import PromptRecipe
from engine.training.recipe import LoraRecipe
from engine.training.schemas import RowStatistics

FORMAT = "mbe-studio/registry/1"
FORMATS = ("yaml", "json")


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class BaseModelRecord(_Value):
    """A base model; `digest` is `checkpoints.base_digest` at the time, `parameters` its weights."""

    name: str
    digest: str | None = None
    parameters: int | None = None


class DatasetRecord(_Value):
    """The rows of a training.

    `fingerprint` is SHA-256 over the imported rows, `digest` over both splits as the model read them, with
    the passages of its knowledge bases. `split_seed` and `validation_percent` decide which row is held out.
    """

    id: str
    name: str | None = None
    fingerprint: str | None = None
    digest: str | None = None
    train_rows: int | None = None
    validation_rows: int | None = None
    split_seed: int | None = None
    validation_percent: int | None = None


class KnowledgeRecord(_Value):
    """A knowledge base that the expert may quote."""

    id: str
    name: str | None = None


class AdapterRecord(_Value):
    """The trained weights: where they lie in the object store, and the SHA-256 of each file."""

    prefix: str | None = None
    files: dict[str, str] = {}


class ResultRecord(_Value):
    """What came out: losses in nats per answer token, seconds and tokens over all attempts."""

    steps: int | None = None
    loss: float | None = None
    eval_loss: float | None = None
    seconds: float | None = None
    tokens: int | None = None


class RunRecord(_Value):
    """One training and the expert it became, with everything that is known to repeat it.

    `name` is the expert's public model id, or the run's id while it has none; `access_point` is where it is
    called, None until it is published. What an old run did not write down is None or empty.
    """

    name: str
    title: str
    version: str | None = None
    state: str
    access_point: str | None = None
    method: Literal["lora", "prompt"] = "lora"
    description: str = ""
    run_id: str
    created_at: str
    base_model: BaseModelRecord
    dataset: DatasetRecord
    knowledge_bases: tuple[KnowledgeRecord, ...] = ()
    preset: str | None = None
    recipe: dict[str, Any]
    seeds: dict[str, int] = {}
    versions: dict[str, str] = {}
    device: str | None = None
    precision: str | None = None
    threads: int | None = None
    adapter: AdapterRecord = AdapterRecord()
    results: ResultRecord = ResultRecord()
    metrics: dict[str, Any] = {}
    statistics: dict[str, RowStatistics] = {}

    def lora(self) -> LoraRecipe:
        """Return the recipe. Raises BadInput naming a value that is none of a recipe."""
        return LoraRecipe.from_dict(self.recipe)


def to_yaml(records: Sequence[RunRecord]) -> str:
    """Return a registry as YAML; every text comes back as the same text."""
    return yaml.safe_dump(_plain(records), allow_unicode=True, sort_keys=False, width=100)


def to_json(records: Sequence[RunRecord]) -> str:
    """Return a registry as JSON."""
    return json.dumps(_plain(records), ensure_ascii=False, indent=2) + "\n"


def export(records: Sequence[RunRecord], form: str) -> str:
    """Return a registry as `form`, "yaml" or "json". Raises BadInput for another one."""
    check_form(form, FORMATS)
    return to_yaml(records) if form == "yaml" else to_json(records)


def check_form(form: str, allowed: Sequence[str]) -> None:
    """Raise BadInput when `form` is not one of `allowed`."""
    if form not in allowed:
        raise BadInput("report.unknown_format", field="format", value=form[:40], allowed=", ".join(allowed))


def parse(text: str) -> list[RunRecord]:
    """Return the records of an exported registry. Raises BadInput, also for one of another format."""
    try:
        # Every JSON is YAML, but YAML 1.1 reads the number 1e-05 as a word.
        value = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError):
        value = None
    models = value.get("models") if isinstance(value, dict) and value.get("format") == FORMAT else None
    if not isinstance(models, list):
        raise BadInput("report.no_registry", field="file", format=FORMAT)
    try:
        records = [RunRecord.model_validate(entry) for entry in models]
    except ValidationError as error:
        place = ".".join(map(str, error.errors()[0]["loc"]))
        raise BadInput("report.bad_registry", field="file", place=place[:80]) from error
    for record in records:
        if record.method == "lora":
            record.lora()
        else:
            PromptRecipe.from_dict(record.recipe)
    return records


def _plain(records: Sequence[RunRecord]) -> dict[str, Any]:
    return {"format": FORMAT, "models": [record.model_dump(mode="json") for record in records]}
