"""Tables of the uploads room. The parts' bytes are blobs below `uploads/<upload_id>/`."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.orm import Mapped, mapped_column

from engine.kit.clock import now
from engine.kit.database import Base


class Upload(Base):
    """A file on its way to `subject_id` (a knowledge base); `result_id` is what it became.

    One content has one upload on its way to a subject, so that whoever drops the file again goes on with it.
    """

    __tablename__ = "uploads"
    __table_args__ = (
        Index(
            "uq_uploads_on_its_way",
            "tenant_id",
            "subject_id",
            "sha256",
            unique=True,
            postgresql_where=text("result_id IS NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant_id: Mapped[str] = mapped_column(index=True)
    owner_id: Mapped[str]
    subject_id: Mapped[str]
    name: Mapped[str]
    size: Mapped[int]
    sha256: Mapped[str]
    result_id: Mapped[str | None] = mapped_column(default=None)
    created_at: Mapped[datetime] = mapped_column(default=now)
    touched_at: Mapped[datetime] = mapped_column(default=now, index=True)


class UploadPart(Base):
    """A part that has arrived; its bytes were stored before this row was."""

    __tablename__ = "upload_parts"

    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str]
