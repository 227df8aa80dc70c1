"""Answers that are kept for a retry: one call for each idempotency key of a tenant, for 24 hours.

`take` a key before a call; after it `keep` the answer, or `free` the key. Whoever finds a key whose call has
been silent for too long has to find out what became of it, and calls one of the two.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from engine.kit.clock import now
from engine.kit.errors import BadInput, Conflict
from engine.kit.ids import new_id
from engine.serving import repository
from engine.serving.schemas import Reply, StillRunning

LIFE = timedelta(hours=24)
LARGEST = 4 * 2**20
AGAIN_SECONDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of taking a key: the call may run, or `silent`, or the answer that was given before.

    A silent call has not ended within its time; its process may have died.
    """

    id: str
    silent: bool = False
    reply: Reply | None = None


def check_key(key: str) -> None:
    """Raise BadInput for a key that is empty, too long or not printable."""
    if not (0 < len(key) <= 200 and key.isprintable()):
        raise BadInput("serving.bad_reply_key", field="Idempotency-Key")


def running() -> StillRunning:
    """Return the refusal of a key whose call is still running."""
    return StillRunning("serving.reply_running", retry_after=AGAIN_SECONDS)


def take(uow: Session, *, tenant_id: str, key: str, digest: str, expires_at: datetime) -> Taken | None:
    """Take a key for a call that should have ended by `expires_at`; None when it was freed just now.

    Of those who take a key at once, one may run. Raises BadInput for what is no key; Conflict for one that
    was used for another request, or whose answer was not kept; StillRunning, with a time to come back.
    """
    check_key(key)
    at = now()
    row = {
        "id": new_id("rpl"),
        "tenant_id": tenant_id,
        "key": key,
        "digest": digest,
        "state": "running",
        "status": None,
        "media_type": None,
        "body": None,
        "created_at": at,
        "expires_at": expires_at,
    }
    if repository.take(uow, row):
        return Taken(id=str(row["id"]))
    found = repository.find(uow, tenant_id, key)
    if found is None:
        return None
    if found.digest != digest:
        raise Conflict("serving.reply_key_reused", field="Idempotency-Key")
    if found.state == "running":
        if found.expires_at > at:
            raise running()
        return Taken(id=found.id, silent=True)
    if found.status is None:
        raise Conflict("serving.reply_lost", field="Idempotency-Key")
    if found.body is None:
        raise Conflict("serving.reply_too_large", field="Idempotency-Key", most=f"{LARGEST >> 20} MB")
    reply = Reply(status=found.status, media_type=found.media_type or "", body=found.body)
    return Taken(id=found.id, reply=reply)


def keep(uow: Session, reply_id: str, reply: Reply | None) -> None:
    """Keep the answer of a call; None says that there was one, and that it is lost.

    Of one above 4 MB it is noted only that it was given. Nothing happens when another has the key by now.
    """
    values: dict[str, object] = {"expires_at": now() + LIFE}
    if reply is not None:
        body = reply.body if len(reply.body) <= LARGEST else None
        values |= {"status": reply.status, "media_type": reply.media_type, "body": body}
    repository.end(uow, reply_id, values)


def free(uow: Session, reply_id: str) -> None:
    """Free the key of a call that came to nothing; nothing happens when somebody else has it by now."""
    repository.free(uow, reply_id)


def sweep(uow: Session, at: datetime) -> int:
    """Forget the answers that are older than 24 hours at `at`; return how many."""
    return repository.sweep(uow, at - LIFE, at)
