"""The data page: a file looked at, imported, and what became of it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar

from engine.accounts.schemas import Person
from engine.datasets.schemas import DatasetView
from engine.flows import import_dataset as flow
from engine.kit.errors import BadInput
from studio.views import data as views

SAMPLE_ROWS = 5
Read = TypeVar("Read")


@dataclass(frozen=True)
class Look:
    """What an import would do, and the first conversations; `name` is a proposal for the dataset's."""

    html: str
    sample: str
    name: str
    importable: bool
    has_problems: bool


def listing(person: Person, language: str) -> str:
    """Return the table of the tenant's datasets, or what stands there before the first."""
    return views.datasets(flow.listing(person), language)


def preview(person: Person, file: Path | None, language: str) -> Look:
    """Return how a file would be read; nothing is kept. Raises BadInput for one that cannot be."""
    seen = _opened(file, lambda name, source: flow.preview(person, name, source))
    return Look(
        html=views.preview(seen, language),
        sample=views.conversations(seen.sample, language),
        name=Path(seen.filename).stem[:80],
        importable=seen.good > 0,
        has_problems=seen.good < seen.rows,
    )


def import_file(person: Person, file: Path | None, name: str, on_bad: str) -> str:
    """Import a file and return the dataset's id; the upload is deleted once it is stored.

    Raises BadInput, naming the field or the rows at fault, and keeps the upload for another try.
    """
    made = _opened(
        file,
        lambda filename, source: flow.import_file(
            person, name=name or "", filename=filename, source=source, on_bad=on_bad
        ),
    )
    if file is not None:
        file.unlink(missing_ok=True)
    return made.id


def _opened(file: Path | None, use: Callable[[str, BinaryIO], Read]) -> Read:
    if file is None or not file.is_file():
        raise BadInput("studio.drop_file_first", field="file")
    with file.open("rb") as source:
        return use(file.name, source)


def detail(person: Person, dataset_id: str, language: str) -> str:
    """Return a dataset with its counts, the rows left out and some of its conversations."""
    dataset: DatasetView = flow.get(person, dataset_id)
    sample = flow.rows(person, dataset_id, "train", limit=SAMPLE_ROWS)
    return views.detail(dataset, sample, language)


def delete(person: Person, dataset_id: str, confirmed: bool) -> None:
    """Delete a dataset. Raises BadInput unless confirmed."""
    if not confirmed:
        raise BadInput("studio.confirm_first", field="confirmed")
    flow.delete(person, dataset_id)
