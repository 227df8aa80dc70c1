"""A document that arrives in parts: begin, send the parts in any order, complete."""

import tempfile
from pathlib import Path

from engine.accounts.schemas import Person
from engine.accounts.service import require
from engine.flows import plan_limits
from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, NotFound
from engine.kit.settings import settings
from engine.knowledge import adding
from engine.knowledge import service as knowledge
from engine.knowledge.schemas import DocumentView
from engine.uploads import service as uploads
from engine.uploads.schemas import UploadView


def begin(person: Person, base_id: str, *, name: str, size: int, sha256: str) -> UploadView:
    """Begin an upload into a base of the person's tenant, or go on with the one under way.

    A content that the base already holds is complete at once. Raises NotFound (base), BadInput, TooLarge,
    and TooMany while as many uploads are under way as the plan takes at once.
    """
    require(person, "developer")
    _sweep()
    with unit_of_work() as uow:
        tenant = person.tenant_id
        name, known = knowledge.expect_document(uow, base_id, tenant, name, sha256)
        stored = knowledge.stored_bytes(uow, tenant)
        if known is None:
            plan_limits.require_upload(uow, tenant, name, sha256)
        upload = uploads.begin(
            uow,
            person_id=person.id,
            tenant_id=tenant,
            subject_id=base_id,
            name=name,
            size=size,
            sha256=sha256,
            stored=stored,
            share=plan_limits.storage(uow, tenant),
        )
        return uploads.finish(uow, upload.upload_id, tenant, known.id) if known else upload


def status(person: Person, upload_id: str) -> UploadView:
    """Return which parts have arrived. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        return uploads.get(uow, upload_id, person.tenant_id)


def unfinished(person: Person, base_id: str) -> list[UploadView]:
    """Return the uploads into a base that wait for more parts, oldest first. Raises NotFound (base)."""
    require(person, "developer")
    with unit_of_work() as uow:
        knowledge.get_base(uow, base_id, person.tenant_id)
        return uploads.unfinished(uow, base_id, person.tenant_id)


def receive(person: Person, upload_id: str, number: int, data: bytes, sha256: str) -> UploadView:
    """Keep one part. Raises NotFound, BadInput (nothing is kept then), or Conflict."""
    upload = status(person, upload_id)
    if upload.state == "complete":
        return upload
    uploads.store_part(upload, number, data, sha256)
    try:
        with unit_of_work() as uow:
            return uploads.note_part(uow, upload_id, person.tenant_id, number, sha256)
    except (NotFound, Conflict):
        # Cancelled or completed while the part was on its way: nobody needs its bytes any more.
        uploads.clear(upload_id)
        raise


def complete(person: Person, upload_id: str) -> DocumentView:
    """Make the document of the parts; asked again, return the same document.

    Raises NotFound, Conflict while parts are missing, and BadInput when the whole is not what was
    promised or holds no text that can be read; the parts are kept then.
    """
    require(person, "developer")
    tenant = person.tenant_id
    with unit_of_work() as uow:
        upload = uploads.get(uow, upload_id, tenant)
        if upload.result_id is not None:
            return knowledge.get_document(uow, upload.result_id, tenant)
        hashes = uploads.part_hashes(uow, upload_id)
    try:
        document = _assembled(tenant, upload, hashes)
    except NotFound:
        # Somebody else may have completed it a moment ago; the parts are gone then.
        with unit_of_work() as uow:
            upload = uploads.get(uow, upload_id, tenant)
            if upload.result_id is None:
                raise
            return knowledge.get_document(uow, upload.result_id, tenant)
    uploads.clear(upload_id)
    return document


def _assembled(tenant: str, upload: UploadView, hashes: dict[int, str]) -> DocumentView:
    folder = settings().home / "tmp"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        whole = Path(scratch) / "whole"
        uploads.assemble(upload, hashes, whole)
        with whole.open("rb") as source:
            # The same content twice is one document: whoever comes second, or again, gets the same.
            made = adding.add_document(
                base_id=upload.subject_id, tenant_id=tenant, filename=upload.name, source=source
            )
        with unit_of_work() as uow:
            if uploads.lock(uow, upload.upload_id, tenant).result_id is None:
                uploads.finish(uow, upload.upload_id, tenant, made.id)
        return made


def cancel(person: Person, upload_id: str) -> None:
    """Forget an upload and its parts; a document that it has become stays. Raises NotFound."""
    require(person, "developer")
    with unit_of_work() as uow:
        uploads.cancel(uow, upload_id, person.tenant_id)
    uploads.clear(upload_id)


def _sweep() -> None:
    with unit_of_work() as uow:
        expired = uploads.expire(uow)
    for upload_id in expired:
        uploads.clear(upload_id)
