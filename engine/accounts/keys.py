"""Callers by their API keys, many at once."""

import hashlib
from collections.abc import Collection
from datetime import timedelta

from sqlalchemy.orm import Session

from engine.accounts import repository
from engine.accounts.schemas import ApiKeyView, Caller, Person
from engine.kit.clock import now
from engine.kit.errors import EngineError, NotSignedIn


def callers(uow: Session, secrets: Collection[str]) -> dict[str, Caller | EngineError]:
    """Return who calls with each secret; a refusal stands in the place of one who does not get in."""
    by_hash = {hashlib.sha256(secret.encode()).hexdigest(): secret for secret in secrets}
    found: dict[str, Caller | EngineError] = dict.fromkeys(secrets, NotSignedIn("accounts.bad_key"))
    for key, person, plan in repository.live_keys(uow, by_hash):
        found[by_hash[key.secret_hash]] = Caller(
            person=Person.model_validate(person), key=ApiKeyView.model_validate(key), plan=plan
        )
        if key.last_used_at is None or key.last_used_at < now() - timedelta(minutes=1):
            repository.touch_key(uow, key.id, now(), now() - timedelta(minutes=1))
    return found
