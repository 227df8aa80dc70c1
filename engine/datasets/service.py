"""The rules of importing conversations: detect, check every row, split, fingerprint, keep."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy.orm import Session

from engine.datasets import layouts, reading, repository
from engine.datasets.models import Dataset
from engine.datasets.schemas import DatasetView, OnBad, Preview, RowProblem, Split
from engine.kit.blobs import blobs
from engine.kit.clock import now
from engine.kit.database import after_commit
from engine.kit.errors import BadInput, NotFound
from engine.kit.ids import new_id
from engine.kit.prompts import detect_language

LOOKED_AT = 20
SHOWN_PROBLEMS = 200
SHOWN_ROWS = 5
NAME_LIMIT = 80
BUCKETS = 1 << 64


class UnusableRows(BadInput):
    """Rows of the file cannot be used; the first problem is told in the language of the reader."""

    def __init__(self, key: str, first: RowProblem, **facts: object) -> None:
        self.first = first
        super().__init__(key, field="file", **facts)

    def message(self, language: str) -> str:
        """Return the text with the first problem in it."""
        self.facts["first"] = self.first.message(language)
        return super().message(language)


@dataclass
class _Tally:
    """What has been read so far."""

    layout: str
    rows: int = 0
    good: int = 0
    problems: list[RowProblem] = field(default_factory=list)

    def require_usable(self) -> None:
        """Raise UnusableRows when no row was good."""
        if not self.good:
            raise UnusableRows("datasets.no_usable_row", self.problems[0], rows=self.rows)


def preview(path: Path, filename: str) -> Preview:
    """Read a whole file and say what an import would do; nothing is stored.

    Raises BadInput for a file of a wrong kind, encoding, shape or layout, TooLarge above the limit.
    """
    source = reading.inspect(path, filename)
    tally = _Tally(_detect(source))
    sample: list[dict[str, Any]] = []
    for row in _good_rows(source, tally):
        if len(sample) < SHOWN_ROWS:
            sample.append(row)
    return Preview(
        filename=source.name,
        layout=tally.layout,
        encoding=source.encoding,
        rows=tally.rows,
        good=tally.good,
        problems=tally.problems,
        sample=sample,
    )


def import_file(
    uow: Session,
    *,
    person_id: str,
    tenant_id: str,
    name: str,
    path: Path,
    filename: str,
    on_bad: OnBad,
    validation_percent: int = 10,
    seed: int = 17,
) -> DatasetView:
    """Check, split and store a file.

    A row goes to validation when the hash of (seed, content) falls into `validation_percent` of all
    hashes, so equal rows stay together and the same file splits the same way everywhere; with two
    rows or more each side gets at least one. The fingerprint is SHA-256 over the normalised rows in order.

    Raises BadInput for unusable input (`on_bad="refuse"`: also for a single bad row), TooLarge above
    the limit. Nothing is stored then.
    """
    name = name.strip()
    if not name or len(name) > NAME_LIMIT or not name.isprintable():
        raise BadInput("datasets.bad_name", field="name", most=NAME_LIMIT)
    if not 1 <= validation_percent <= 50:
        raise BadInput("datasets.bad_percent", field="validation_percent", value=validation_percent)
    source = reading.inspect(path, filename)
    tally = _Tally(_detect(source))
    with TemporaryDirectory(prefix="mbe-dataset-") as folder:
        kept = _write_rows(source, tally, Path(folder) / "rows.jsonl", seed)
        tally.require_usable()
        if on_bad == "refuse" and tally.good < tally.rows:
            bad = tally.rows - tally.good
            raise UnusableRows("datasets.bad_rows", tally.problems[0], bad=bad, rows=tally.rows)
        validation = choose_validation(kept.hashes, validation_percent)
        dataset = Dataset(
            id=new_id("ds"),
            tenant_id=tenant_id,
            owner_id=person_id,
            name=name,
            filename=source.name,
            layout=tally.layout,
            encoding=source.encoding,
            rows=tally.rows,
            train_rows=tally.good - len(validation),
            validation_rows=len(validation),
            skipped_rows=tally.rows - tally.good,
            validation_percent=validation_percent,
            seed=seed,
            fingerprint=kept.fingerprint,
            languages=kept.languages,
            problems=[problem.model_dump() for problem in tally.problems],
            created_at=now(),
        )
        _store(uow, dataset, Path(folder), validation)
    return DatasetView.model_validate(dataset)


def get(uow: Session, dataset_id: str, tenant_id: str) -> DatasetView:
    """Return a dataset. Raises NotFound, also for one of another tenant."""
    return DatasetView.model_validate(_dataset(uow, dataset_id, tenant_id))


def listing(uow: Session, tenant_id: str, limit: int = 200) -> list[DatasetView]:
    """Return the newest datasets of a tenant."""
    return [DatasetView.model_validate(found) for found in repository.listing(uow, tenant_id, limit)]


def delete(uow: Session, dataset_id: str, tenant_id: str) -> None:
    """Delete a dataset; its blobs go once the transaction is committed. Raises NotFound."""
    repository.delete(uow, _dataset(uow, dataset_id, tenant_id))
    prefix = _prefix(dataset_id)
    after_commit(uow, lambda: blobs().delete(prefix))


def rows(
    uow: Session, dataset_id: str, tenant_id: str, split: Split, limit: int = 50, offset: int = 0
) -> list[dict[str, Any]]:
    """Return `limit` normalised rows of a split from `offset` on. Raises NotFound."""
    _dataset(uow, dataset_id, tenant_id)
    with blobs().open(f"{_prefix(dataset_id)}/{split}.jsonl") as file:
        return [json.loads(line) for line in islice(file, offset, offset + limit)]


def materialise(uow: Session, dataset_id: str, tenant_id: str, folder: Path) -> tuple[Path, Path]:
    """Write train.jsonl and validation.jsonl into `folder` and return their paths.

    Raises NotFound, and BadInput when what is stored is not what was imported.
    """
    dataset = _dataset(uow, dataset_id, tenant_id)
    folder.mkdir(parents=True, exist_ok=True)
    train = _fetch(dataset.id, "train", dataset.train_sha256, folder)
    return train, _fetch(dataset.id, "validation", dataset.validation_sha256, folder)


def choose_validation(hashes: list[int], percent: int) -> set[int]:
    """Return the places of the rows that belong to validation; `hashes` are 64-bit row hashes.

    With two rows or more neither side stays empty: the row with the smallest hash, or all but the one
    with the largest, goes over.
    """
    limit = BUCKETS * percent // 100
    chosen = {place for place, value in enumerate(hashes) if value < limit}
    if len(hashes) < 2:
        return set()
    if not chosen:
        chosen.add(min(range(len(hashes)), key=lambda place: (hashes[place], place)))
    elif len(chosen) == len(hashes):
        chosen.discard(max(range(len(hashes)), key=lambda place: (hashes[place], place)))
    return chosen


@dataclass
class _Kept:
    """What must be known of the good rows to split them: one hash each."""

    hashes: list[int]
    fingerprint: str
    languages: list[str]


def _detect(source: reading.Source) -> str:
    """Return the layout of the first rows. Raises BadInput naming the columns when it is unknown."""
    first = list(islice(reading.records(source), LOOKED_AT))
    if not first:
        raise BadInput("datasets.empty_file", field="file", name=source.name)
    objects = [record.value for record in first if isinstance(record.value, dict)]
    if not objects:
        problem = first[0].problem or layouts.Unusable("not_object")
        row = RowProblem(row=first[0].number, reason=problem.reason, facts=problem.facts)
        raise UnusableRows("datasets.no_usable_row", row, rows=len(first))
    layout = layouts.detect(objects)
    if layout is None:
        columns = ", ".join(layouts.shown(name) for name in list(objects[0])[:12])
        raise BadInput("datasets.unknown_layout", field="file", columns=columns or "–")
    return layout


def _good_rows(source: reading.Source, tally: _Tally) -> Iterator[dict[str, Any]]:
    for record in reading.records(source):
        tally.rows += 1
        try:
            if record.problem:
                raise record.problem
            row = layouts.normalise(record.value, tally.layout)
        except layouts.Unusable as problem:
            if len(tally.problems) < SHOWN_PROBLEMS:
                shown = RowProblem(row=record.number, reason=problem.reason, facts=problem.facts)
                tally.problems.append(shown)
            continue
        tally.good += 1
        yield row


def _write_rows(source: reading.Source, tally: _Tally, target: Path, seed: int) -> _Kept:
    fingerprint, hashes, languages = hashlib.sha256(), [], Counter[str]()
    with target.open("wb") as out:
        for row in _good_rows(source, tally):
            line = json.dumps(row, ensure_ascii=False, sort_keys=True).encode() + b"\n"
            out.write(line)
            fingerprint.update(line)
            mixed = hashlib.sha256(f"{seed}\n".encode() + line).digest()
            hashes.append(int.from_bytes(mixed[:8], "big"))
            languages[detect_language(row["messages"][-1]["content"][:400])] += 1
    spoken = [name for name, count in languages.most_common() if count * 20 >= tally.good]
    return _Kept(hashes, fingerprint.hexdigest(), spoken)


def _store(uow: Session, dataset: Dataset, folder: Path, validation: set[int]) -> None:
    paths = {split: folder / f"{split}.jsonl" for split in ("train", "validation")}
    with (
        (folder / "rows.jsonl").open("rb") as lines,
        paths["train"].open("wb") as train,
        paths["validation"].open("wb") as held_out,
    ):
        for place, line in enumerate(lines):
            (held_out if place in validation else train).write(line)
    prefix = _prefix(dataset.id)
    try:
        dataset.train_sha256 = blobs().put(f"{prefix}/train.jsonl", paths["train"]).sha256
        dataset.validation_sha256 = blobs().put(f"{prefix}/validation.jsonl", paths["validation"]).sha256
        repository.add(uow, dataset)
    except BaseException:
        blobs().delete(prefix)
        raise


def _fetch(dataset_id: str, split: Split, sha256: str, folder: Path) -> Path:
    target, digest = folder / f"{split}.jsonl", hashlib.sha256()
    with blobs().open(f"{_prefix(dataset_id)}/{split}.jsonl") as file, target.open("wb") as out:
        while piece := file.read(reading.MEGABYTE):
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != sha256:
        target.unlink()
        raise BadInput("datasets.damaged", field="dataset_id")
    return target


def _prefix(dataset_id: str) -> str:
    return f"datasets/{dataset_id}"


def _dataset(uow: Session, dataset_id: str, tenant_id: str) -> Dataset:
    dataset = repository.get(uow, dataset_id, tenant_id)
    if dataset is None:
        raise NotFound("datasets.no_dataset")
    return dataset
