"""Values that cross the uploads room's door."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field


class UploadView(BaseModel):
    """An upload and how far it is: sizes in bytes, parts counted from 0.

    Every part has `part_size` bytes but the last, which has the rest.
    """

    model_config = ConfigDict(frozen=True)

    upload_id: str
    subject_id: str
    name: str
    size: int
    sha256: str
    part_size: int
    parts: int
    received: list[int]
    result_id: str | None
    expires_at: datetime

    @computed_field  # type: ignore[prop-decorator]
    @property
    def missing(self) -> list[int]:
        """The parts that have not arrived."""
        return sorted(set(range(self.parts)) - set(self.received)) if self.result_id is None else []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def state(self) -> Literal["uploading", "complete"]:
        """ "complete" once the file has become what it was sent for."""
        return "uploading" if self.result_id is None else "complete"
