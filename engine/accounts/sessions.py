"""The signed session cookie that every face shares."""

import os
import secrets
from functools import lru_cache

from itsdangerous import BadSignature, URLSafeTimedSerializer

from engine.kit.settings import settings

COOKIE = "mbe_session"
LIFETIME = 7 * 24 * 3600


def _kept_secret() -> str:
    """Return the key kept in the home folder, made on first use and readable by its owner only."""
    path = settings().home / "secret"
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(48))
    return path.read_text().strip()


@lru_cache(maxsize=4)
def _serializer(secret: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret, salt="mbe-session")


def _signer() -> URLSafeTimedSerializer:
    return _serializer(settings().secret or _kept_secret())


def issue(person_id: str) -> str:
    """Return a cookie value that says who this is, valid for a week."""
    return str(_signer().dumps(person_id))


def read(cookie: str | None) -> str | None:
    """Return the person id of a cookie that we signed within the last week, else None."""
    if not cookie:
        return None
    try:
        return str(_signer().loads(cookie, max_age=LIFETIME))
    except BadSignature:
        return None


def unguessable() -> str:
    """Return a password that nobody knows, for accounts that are entered in another way."""
    return secrets.token_urlsafe(32)
