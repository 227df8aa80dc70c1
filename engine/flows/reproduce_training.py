"""A training repeated from what was recorded of it, to see whether it gives the same weights again."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.datasets import service as datasets
from engine.datasets.schemas import DatasetView
from engine.flows import report_training
from engine.flows.ground_rows import write_rows
from engine.flows.speak import Speaker
from engine.inference.base_model import resolve
from engine.kit.blobs import blobs
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.kit.messages import t
from engine.training import registry, service
from engine.training.again import WEIGHTS, Seen, changed_surroundings, difference, train_again
from engine.training.checkpoints import base_digest, data_digest
from engine.training.registry import RunRecord


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """What a repeated training gave beside the recorded one.

    `largest` is the largest difference between the adapters' weights, None where the first adapter is not
    kept here; `same_file` tells whether the files are equal byte by byte, None where no hash was recorded.
    `data_known` and `base_known` say whether there was a digest to compare with: other rows, or another
    base, are refused before. `changed` are versions and parts of the machine as (what, then, now).
    """

    record: RunRecord
    data_known: bool
    base_known: bool
    changed: Sequence[tuple[str, str, str]]
    loss: float
    eval_loss: float | None
    largest: float | None
    same_file: bool | None

    @property
    def same(self) -> bool:
        """True when the weights are the same."""
        return self.largest == 0.0 if self.largest is not None else bool(self.same_file)

    def words(self, language: str) -> list[str]:
        """Return what was found, a line for each part."""
        then = self.record.results
        return [
            t("reproduce.data_same" if self.data_known else "reproduce.data_unknown", language),
            t("reproduce.base_same" if self.base_known else "reproduce.base_unknown", language),
            *self._versions(language),
            t(
                "reproduce.losses",
                language,
                loss=_loss(self.loss),
                eval_loss=_loss(self.eval_loss),
                loss_then=_loss(then.loss),
                eval_loss_then=_loss(then.eval_loss),
            ),
            self._weights(language),
        ]

    def _versions(self, language: str) -> list[str]:
        if not self.record.versions:
            return [t("reproduce.versions_unknown", language)]
        told = [
            t("reproduce.version_changed", language, what=what, then=then, now=now)
            for what, then, now in self.changed
        ]
        return told or [t("reproduce.versions_same", language)]

    def _weights(self, language: str) -> str:
        if self.largest is not None:
            key = "reproduce.weights_same" if self.same else "reproduce.weights_differ"
            return t(key, language, largest=float(f"{self.largest:.3g}"))
        if self.same_file is None:
            return t("reproduce.weights_unknown", language)
        return t("reproduce.weights_same_file" if self.same else "reproduce.weights_other_file", language)


def begins(record: RunRecord, language: str) -> str:
    """Return in a line what is about to be trained. Raises Conflict for a prompt."""
    _require_trained(record)
    return t(
        "reproduce.begins",
        language,
        name=record.title,
        base=record.base_model.name,
        dataset=record.dataset.name or record.dataset.id,
        epochs=record.recipe.get("epochs"),
    )


def find(person: Person, wish: str, model: str = "") -> RunRecord:
    """Return the record of a training: from an exported file, or by the id of a run or an expert, or a name.

    `model` picks an entry of a file with several. Raises NotFound, and BadInput for a file that is none.
    """
    require(person, "developer")
    path = Path(wish).expanduser()
    if path.suffix not in (".yaml", ".yml", ".json"):
        return report_training.record(person, wish)
    try:
        found = registry.parse(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("reproduce.no_file", field="wish", path=wish) from error
    chosen = [
        one for one in found if not model or model in (one.name, one.run_id, f"{one.name}:{one.version}")
    ]
    if len(chosen) != 1:
        names = ", ".join(f"{one.name}:{one.version}" for one in found) or "–"
        raise BadInput("reproduce.which_model", field="model", names=names)
    return chosen[0]


def reproduce(person: Person, record: RunRecord, folder: Path, seen: Seen) -> Reproduction:
    """Train again in `folder` with the recorded recipe, data and base; the market hears nothing of it.

    Raises NotFound when data or base are gone, Conflict when they are not what they were.
    """
    require(person, "developer")
    _require_trained(record)
    recipe = record.lora()
    base = _base(record)
    paths = _rows(person, record, folder / "rows")
    again = train_again(recipe, base, record.base_model.name, paths, folder / "again", seen)
    digest = record.adapter.files.get(WEIGHTS)
    return Reproduction(
        record=record,
        data_known=record.dataset.digest is not None,
        base_known=record.base_model.digest is not None,
        changed=changed_surroundings(record.versions, record.device, record.precision, record.threads),
        loss=again.loss,
        eval_loss=again.eval_loss,
        largest=_largest(person, record, again.adapter / WEIGHTS, folder / "first.safetensors"),
        same_file=_sha256(again.adapter / WEIGHTS) == digest if digest else None,
    )


def _require_trained(record: RunRecord) -> None:
    if record.method == "prompt":
        raise Conflict("reproduce.is_prompt", name=record.title)


def _base(record: RunRecord) -> Path:
    """Return the base model's folder. Raises NotFound when it is gone, Conflict when it is another."""
    name = record.base_model.name
    try:
        base = resolve(name)
    except (BadInput, NotFound) as error:
        raise NotFound("reproduce.base_gone", name=name) from error
    if record.base_model.digest not in (None, base_digest(base)):
        raise Conflict("reproduce.base_changed", name=name)
    return base


def _rows(person: Person, record: RunRecord, folder: Path) -> tuple[Path, Path]:
    """Write the rows as the model read them. Raises NotFound when they are gone, Conflict when changed."""
    data = record.dataset
    with unit_of_work() as uow:
        dataset = _dataset(uow, person.tenant_id, record)
    if data.fingerprint not in (None, dataset.fingerprint):
        raise Conflict("reproduce.data_changed", name=dataset.name)
    base_ids = tuple(base.id for base in record.knowledge_bases)
    speaker = Speaker(name=record.title, knowledge_base_ids=base_ids, knowledge_tenant_id=person.tenant_id)
    try:
        paths = write_rows(speaker, dataset.id, folder)
    except NotFound as error:
        raise NotFound("reproduce.rows_gone", name=dataset.name) from error
    if data.digest not in (None, data_digest(*paths)):
        key = "reproduce.knowledge_changed" if base_ids else "reproduce.data_changed"
        raise Conflict(key, name=dataset.name)
    return paths


def _dataset(uow: Session, tenant_id: str, record: RunRecord) -> DatasetView:
    """Return the dataset, or one that was imported again from the same rows and split alike."""
    data = record.dataset
    try:
        return datasets.get(uow, data.id, tenant_id)
    except NotFound:
        for other in datasets.listing(uow, tenant_id):
            split = (data.split_seed, data.validation_percent)
            alike = split in ((None, None), (other.seed, other.validation_percent))
            if alike and other.fingerprint == data.fingerprint:
                return other
        raise NotFound("reproduce.data_gone", name=data.name or data.id) from None


def _largest(person: Person, record: RunRecord, ours: Path, first: Path) -> float | None:
    """Return how far the weights are from the adapter of the tenant's own run, if it is kept here."""
    try:
        with unit_of_work() as uow:
            prefix = service.get_run(uow, record.run_id, person.tenant_id).adapter_prefix
        with blobs().open(f"{prefix}/{WEIGHTS}") as source, first.open("wb") as out:
            shutil.copyfileobj(source, out)
    except NotFound:
        return None
    return difference(first, ours)


def _loss(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
