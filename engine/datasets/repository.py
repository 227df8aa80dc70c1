"""The SQL of the datasets room."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from engine.datasets.models import Dataset


def add(uow: Session, dataset: Dataset) -> None:
    """Insert a dataset."""
    uow.add(dataset)
    uow.flush()


def get(uow: Session, dataset_id: str, tenant_id: str) -> Dataset | None:
    """Return a dataset of this tenant."""
    return uow.scalar(select(Dataset).where(Dataset.id == dataset_id, Dataset.tenant_id == tenant_id))


def listing(uow: Session, tenant_id: str, limit: int) -> Sequence[Dataset]:
    """Return the newest datasets of this tenant."""
    query = select(Dataset).where(Dataset.tenant_id == tenant_id)
    return uow.scalars(query.order_by(Dataset.created_at.desc(), Dataset.id.desc()).limit(limit)).all()


def delete(uow: Session, dataset: Dataset) -> None:
    """Delete a dataset's row."""
    uow.delete(dataset)
    uow.flush()
