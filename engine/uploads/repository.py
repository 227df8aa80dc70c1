"""The only place with the SQL of uploads."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from engine.uploads.models import Upload, UploadPart


def one_at_a_time(uow: Session, tenant_id: str) -> None:
    """Let the uploads of a tenant begin one after the other until the transaction ends."""
    uow.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": f"up/{tenant_id}"})


def upload(uow: Session, upload_id: str, tenant_id: str, *, lock: bool = False) -> Upload | None:
    """Return an upload of the tenant; with `lock` nobody else changes it until the transaction ends."""
    query = select(Upload).where(Upload.id == upload_id, Upload.tenant_id == tenant_id)
    return uow.scalars(query.with_for_update() if lock else query).one_or_none()


def on_its_way(uow: Session, tenant_id: str, subject_id: str, sha256: str) -> Upload | None:
    """Return the unfinished upload of a content to a subject."""
    query = select(Upload).where(
        Upload.tenant_id == tenant_id,
        Upload.subject_id == subject_id,
        Upload.sha256 == sha256,
        Upload.result_id.is_(None),
    )
    return uow.scalars(query).one_or_none()


def unfinished(uow: Session, subject_id: str, tenant_id: str) -> Sequence[Upload]:
    """Return the unfinished uploads to a subject, oldest first."""
    query = select(Upload).where(
        Upload.subject_id == subject_id, Upload.tenant_id == tenant_id, Upload.result_id.is_(None)
    )
    return uow.scalars(query.order_by(Upload.id)).all()


def moving(uow: Session, tenant_id: str, but: str, since: datetime) -> int:
    """Return how many unfinished uploads of a tenant, other than of a content, were touched since then."""
    query = select(func.count()).select_from(Upload)
    query = query.where(Upload.tenant_id == tenant_id, Upload.result_id.is_(None), Upload.sha256 != but)
    return uow.execute(query.where(Upload.touched_at >= since)).scalar_one()


def parts(uow: Session, upload_id: str) -> dict[int, str]:
    """Return the SHA-256 of each part that has arrived."""
    query = select(UploadPart.number, UploadPart.sha256).where(UploadPart.upload_id == upload_id)
    return {number: sha256 for number, sha256 in uow.execute(query.order_by(UploadPart.number))}


def put_part(uow: Session, upload_id: str, number: int, sha256: str) -> None:
    """Note a part; the one that came last counts."""
    new = insert(UploadPart).values(upload_id=upload_id, number=number, sha256=sha256)
    uow.execute(new.on_conflict_do_update(index_elements=["upload_id", "number"], set_={"sha256": sha256}))


def reserved(uow: Session, tenant_id: str | None = None) -> int:
    """Return the bytes that unfinished uploads of a tenant, or of all, will take."""
    query = select(func.coalesce(func.sum(Upload.size), 0)).where(Upload.result_id.is_(None))
    if tenant_id is not None:
        query = query.where(Upload.tenant_id == tenant_id)
    return int(uow.scalar(query) or 0)


def delete_older(uow: Session, before: datetime) -> Sequence[str]:
    """Delete the uploads that nobody touched since `before`; returns their ids."""
    return uow.scalars(delete(Upload).where(Upload.touched_at < before).returning(Upload.id)).all()
