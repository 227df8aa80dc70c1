"""The table of imported datasets. The rows themselves are blobs."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.database import Base


class Dataset(Base):
    """One import: what was found, what was kept, and where the two splits lie."""

    __tablename__ = "datasets"

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    owner_id: Mapped[str]
    name: Mapped[str]
    filename: Mapped[str]
    layout: Mapped[str]
    encoding: Mapped[str]
    rows: Mapped[int]
    train_rows: Mapped[int]
    validation_rows: Mapped[int]
    skipped_rows: Mapped[int]
    validation_percent: Mapped[int]
    seed: Mapped[int]
    fingerprint: Mapped[str]
    train_sha256: Mapped[str]
    validation_sha256: Mapped[str]
    languages: Mapped[list[str]]
    problems: Mapped[list[dict[str, Any]]]
    created_at: Mapped[datetime]
