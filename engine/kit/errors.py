"""One tree of errors. Each names the fact, carries an HTTP status and speaks both languages.

Raise with a key of the message catalog and the facts it needs:
`raise NotFound("market.unknown_model", name=name, near=near)`.
"""

from engine.kit.messages import t


class EngineError(Exception):
    """A thing that went wrong and that a person should be told about.

    `key` names the message, `field` the input at fault if there is one, `facts` fill the message.
    """

    status = 500

    def __init__(self, key: str, /, *, field: str | None = None, **facts: object) -> None:
        self.key = key
        self.field = field
        self.facts = facts
        super().__init__(self.message("en"))

    def message(self, language: str) -> str:
        """Return the text for a person: what happened, what was kept, what to do."""
        return t(self.key, language, **self.facts)


class BadInput(EngineError):
    """The request cannot be understood or is not allowed as given."""

    status = 400


class NotSignedIn(EngineError):
    """Nobody is signed in, or the key is unknown or revoked."""

    status = 401


class InsufficientCredit(EngineError):
    """The wallet does not cover the call."""

    status = 402


class Forbidden(EngineError):
    """The person is known but may not do this."""

    status = 403


class NotFound(EngineError):
    """No such thing, or not visible to this person: both look the same from outside."""

    status = 404


class Conflict(EngineError):
    """The thing is in a state that does not allow this."""

    status = 409


class TooLarge(EngineError):
    """More bytes than are accepted."""

    status = 413


class UpstreamFailed(EngineError):
    """The model server answered with an error or broke off."""

    status = 502


class NotReady(EngineError):
    """Not available yet; `retry_after` says in how many seconds to try again."""

    status = 503

    def __init__(
        self, key: str, /, *, field: str | None = None, retry_after: int = 5, **facts: object
    ) -> None:
        self.retry_after = retry_after
        super().__init__(key, field=field, retry_after=retry_after, **facts)


class TooMany(NotReady):
    """As many as are allowed at once are under way; `retry_after` says in how many seconds to try again."""

    status = 429
