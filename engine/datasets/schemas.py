"""The values that cross the door of the datasets room."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from engine.kit.messages import t

OnBad = Literal["keep_good", "refuse"]
Split = Literal["train", "validation"]


class RowProblem(BaseModel):
    """Why one row cannot be used.

    `row` counts from 1 as a person would count in the file: the element of a JSON list, the line of a
    JSONL file, the line on which a CSV record starts, the row of a Parquet file. `reason` is a key of
    the message catalog below `datasets.`, `facts` fill it.
    """

    model_config = ConfigDict(frozen=True)

    row: int
    reason: str
    facts: dict[str, Any] = {}

    def message(self, language: str) -> str:
        """Return the problem in words, with its row number."""
        return t("datasets.row", language, row=self.row, reason=t(self.reason, language, **self.facts))


class Preview(BaseModel):
    """What an import of this file would do. `problems` holds the first ones; rows - good counts all."""

    model_config = ConfigDict(frozen=True)

    filename: str
    layout: str
    encoding: str
    rows: int
    good: int
    problems: list[RowProblem]
    sample: list[dict[str, Any]]

    def notes(self, language: str) -> list[str]:
        """Return what a person should look at before importing."""
        if self.encoding in ("utf-8", "binary"):
            return []
        return [t("datasets.other_encoding", language, encoding=self.encoding.upper())]

    def layout_name(self, language: str) -> str:
        """Return the name of the layout for a person."""
        return t(f"datasets.layout_{self.layout}", language)


class DatasetView(BaseModel):
    """A dataset as its owner sees it."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    id: str
    tenant_id: str
    owner_id: str
    name: str
    filename: str
    layout: str
    encoding: str
    rows: int
    train_rows: int
    validation_rows: int
    skipped_rows: int
    validation_percent: int
    seed: int
    fingerprint: str
    languages: list[str]
    problems: list[dict[str, Any]]
    created_at: datetime

    def row_problems(self) -> list[RowProblem]:
        """Return the kept problems as values that can speak."""
        return [RowProblem.model_validate(problem) for problem in self.problems]
