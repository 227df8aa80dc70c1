"""Uploads in parts: begin, receive, put together; each step can be repeated, none is half done."""

import hashlib
import shutil
from datetime import timedelta
from pathlib import Path

from sqlalchemy.orm import Session

from engine.kit.blobs import blobs
from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict, NotFound, TooLarge
from engine.kit.ids import new_id
from engine.kit.settings import settings
from engine.uploads import repository
from engine.uploads.models import Upload
from engine.uploads.schemas import UploadView

PART_SIZE = 5 * 2**20
SHOWN = 20  # missing parts that a message names
STILL_SECONDS = 60  # an upload that has not moved for so long is not under way
_HEX = frozenset("0123456789abcdef")


def begin(
    uow: Session,
    *,
    person_id: str,
    tenant_id: str,
    subject_id: str,
    name: str,
    size: int,
    sha256: str,
    stored: int,
    share: int | None,
) -> UploadView:
    """Begin an upload, or go on with the one of the same content to the same subject.

    `size` is the file's in bytes, `sha256` its hash in hex, `stored` the bytes that the tenant already
    keeps, `share` the most it may keep (None: no limit). The size is reserved from here on.

    Raises BadInput for an empty file or a hash that is none, TooLarge for a file over the limit or when
    the tenant's share or the disk would not hold it.
    """
    _check_hash(sha256)
    if size < 1:
        raise BadInput("uploads.empty", field="size", name=name)
    if size > settings().upload_limit:
        raise TooLarge(
            "uploads.too_large", field="size", name=name, limit=_size_text(settings().upload_limit)
        )
    repository.one_at_a_time(uow, tenant_id)
    found = repository.on_its_way(uow, tenant_id, subject_id, sha256)
    if found is None:
        _make_room(uow, tenant_id, name, size, stored, share)
        found = Upload(
            id=new_id("up"),
            tenant_id=tenant_id,
            owner_id=person_id,
            subject_id=subject_id,
            name=name,
            size=size,
            sha256=sha256,
        )
        uow.add(found)
    elif found.size != size:
        raise BadInput("uploads.other_size", field="size", name=name, size=found.size)
    found.touched_at = now()
    uow.flush()
    return _view(uow, found)


def get(uow: Session, upload_id: str, tenant_id: str) -> UploadView:
    """Return an upload of the tenant. Raises NotFound for an unknown or expired one."""
    return _view(uow, _upload(uow, upload_id, tenant_id))


def unfinished(uow: Session, subject_id: str, tenant_id: str) -> list[UploadView]:
    """Return the uploads to a subject that wait for more parts, oldest first."""
    return [_view(uow, upload) for upload in repository.unfinished(uow, subject_id, tenant_id)]


def under_way(uow: Session, tenant_id: str, but: str) -> int:
    """Count the tenant's uploads that moved within the last minute, except one of the content `but`."""
    return repository.moving(uow, tenant_id, but, now() - timedelta(seconds=STILL_SECONDS))


def store_part(upload: UploadView, number: int, data: bytes, sha256: str) -> None:
    """Store the bytes of a part, outside of any transaction; `note_part` makes it count.

    Raises BadInput, and stores nothing, for a number or a length that the upload does not have, and for
    bytes that do not have the hash `sha256`.
    """
    _check_hash(sha256)
    if not 0 <= number < upload.parts:
        raise BadInput("uploads.no_such_part", field="chunk_index", number=number, last=upload.parts - 1)
    wanted = min(upload.part_size, upload.size - number * upload.part_size)
    if len(data) != wanted:
        raise BadInput(
            "uploads.wrong_length", field="chunk_index", number=number, got=len(data), wanted=wanted
        )
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadInput("uploads.wrong_part", field="X-Chunk-SHA256", number=number)
    # The hash is part of the key: two senders of different bytes never mix them.
    blobs().put(_key(upload.upload_id, number, sha256), data)


def note_part(uow: Session, upload_id: str, tenant_id: str, number: int, sha256: str) -> UploadView:
    """Let a stored part count. Raises NotFound when the upload is gone, or Conflict when it is complete."""
    upload = _upload(uow, upload_id, tenant_id, lock=True)
    if upload.result_id is not None:
        raise Conflict("uploads.already_complete", name=upload.name)
    repository.put_part(uow, upload_id, number, sha256)
    upload.touched_at = now()
    return _view(uow, upload)


def assemble(upload: UploadView, hashes: dict[int, str], target: Path) -> None:
    """Write the file into `target`, outside of any transaction.

    Raises Conflict while parts are missing and BadInput when the whole does not have the promised hash;
    the parts stay, and one that was wrong can be sent again.
    """
    if upload.missing:
        shown = ", ".join(map(str, upload.missing[:SHOWN])) + (" …" if len(upload.missing) > SHOWN else "")
        raise Conflict("uploads.missing", name=upload.name, count=len(upload.missing), parts=shown)
    with target.open("wb") as out:
        for number in range(upload.parts):
            with blobs().open(_key(upload.upload_id, number, hashes[number])) as part:
                shutil.copyfileobj(part, out)
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != upload.sha256:
            raise BadInput("uploads.wrong_whole", field="sha256", name=upload.name)


def part_hashes(uow: Session, upload_id: str) -> dict[int, str]:
    """Return the hash of each part that counts."""
    return repository.parts(uow, upload_id)


def lock(uow: Session, upload_id: str, tenant_id: str) -> UploadView:
    """Return an upload that nobody else completes until the transaction ends. Raises NotFound."""
    return _view(uow, _upload(uow, upload_id, tenant_id, lock=True))


def finish(uow: Session, upload_id: str, tenant_id: str, result_id: str) -> UploadView:
    """Note what the file has become; its parts are no longer needed."""
    upload = _upload(uow, upload_id, tenant_id, lock=True)
    upload.result_id, upload.touched_at = result_id, now()
    uow.flush()
    return _view(uow, upload)


def cancel(uow: Session, upload_id: str, tenant_id: str) -> None:
    """Forget an upload. Raises NotFound."""
    uow.delete(_upload(uow, upload_id, tenant_id, lock=True))


def clear(upload_id: str) -> None:
    """Delete the bytes of an upload that is complete, cancelled or expired."""
    blobs().delete(f"uploads/{upload_id}")


def expire(uow: Session) -> list[str]:
    """Forget the uploads that nobody touched for `upload_days`; returns their ids, to `clear` them."""
    return list(repository.delete_older(uow, now() - timedelta(days=settings().upload_days)))


def _size_text(size: int) -> str:
    """Return a size for people."""
    for unit, name in ((2**30, "GB"), (2**20, "MB"), (2**10, "KB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size:,} B"


def _make_room(uow: Session, tenant_id: str, name: str, size: int, stored: int, share: int | None) -> None:
    most = share or 0
    left = most - stored - repository.reserved(uow, tenant_id)
    if share is not None and size > left:
        facts = {
            "name": name,
            "size": _size_text(size),
            "left": _size_text(max(left, 0)),
            "most": _size_text(most),
        }
        raise TooLarge("uploads.no_share", field="size", **facts)
    # The parts, unless they are stored elsewhere, and the file made of them lie side by side for a moment.
    copies = 1 if settings().blob_url else 2
    free = shutil.disk_usage(settings().home).free - copies * repository.reserved(uow)
    if copies * size > free:
        raise TooLarge("uploads.no_disk", field="size", name=name, size=_size_text(size))


def _check_hash(sha256: str) -> None:
    if len(sha256) != 64 or not _HEX.issuperset(sha256):
        raise BadInput("uploads.bad_hash", field="sha256")


def _key(upload_id: str, number: int, sha256: str) -> str:
    return f"uploads/{upload_id}/{number}-{sha256}"


def _upload(uow: Session, upload_id: str, tenant_id: str, *, lock: bool = False) -> Upload:
    found = repository.upload(uow, upload_id, tenant_id, lock=lock)
    if found is None:
        raise NotFound("uploads.unknown", field="upload_id")
    return found


def _view(uow: Session, upload: Upload) -> UploadView:
    return UploadView(
        upload_id=upload.id,
        subject_id=upload.subject_id,
        name=upload.name,
        size=upload.size,
        sha256=upload.sha256,
        part_size=PART_SIZE,
        parts=-(-upload.size // PART_SIZE),
        received=sorted(repository.parts(uow, upload.id)),
        result_id=upload.result_id,
        expires_at=upload.touched_at + timedelta(days=settings().upload_days),
    )
