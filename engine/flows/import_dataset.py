"""Dialogues from a person's file into a dataset."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.datasets import service as datasets
from engine.datasets.schemas import DatasetView, Preview
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput


@contextmanager
def _on_disk(source: BinaryIO) -> Iterator[Path]:
    """Give an uploaded stream a file of our own naming, deleted afterwards."""
    with tempfile.NamedTemporaryFile(prefix="mbe-import-") as file:
        shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        yield Path(file.name)


def preview(person: Person, filename: str, source: BinaryIO) -> Preview:
    """Return how a file would be read. Keeps nothing."""
    require(person, "developer")
    with _on_disk(source) as path:
        return datasets.preview(path, filename)


def import_file(
    person: Person, *, name: str, filename: str, source: BinaryIO, on_bad: str = "refuse"
) -> DatasetView:
    """Import a file for the person's tenant.

    `on_bad` is "keep_good" or "refuse". Raises BadInput naming the rows at fault.
    """
    require(person, "developer")
    if on_bad not in ("keep_good", "refuse"):
        raise BadInput("datasets.on_bad", field="on_bad")
    with _on_disk(source) as path, unit_of_work() as uow:
        return datasets.import_file(
            uow,
            person_id=person.id,
            tenant_id=person.tenant_id,
            name=name,
            path=path,
            filename=filename,
            on_bad=cast(Literal["keep_good", "refuse"], on_bad),
        )


def listing(person: Person) -> list[DatasetView]:
    """Return the tenant's datasets, newest first."""
    require(person, "developer")
    with unit_of_work() as uow:
        return datasets.listing(uow, person.tenant_id)


def get(person: Person, dataset_id: str) -> DatasetView:
    """Return one dataset of the tenant. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return datasets.get(uow, dataset_id, person.tenant_id)


def rows(
    person: Person, dataset_id: str, split: Literal["train", "validation"], limit: int = 20
) -> list[dict[str, Any]]:
    """Return the first rows of one split."""
    require(person, "developer")
    with unit_of_work() as uow:
        return datasets.rows(uow, dataset_id, person.tenant_id, split, limit=limit, offset=0)


def delete(person: Person, dataset_id: str) -> None:
    """Delete a dataset of the tenant."""
    require(person, "developer")
    with unit_of_work() as uow:
        datasets.delete(uow, dataset_id, person.tenant_id)
