"""Values that cross the door of inference."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.kit.messages import t

BASE = "base"  # the name under which the base model without an adapter is served

ServerState = Literal["stopped", "starting", "ready", "restarting", "failed"]
Backend = Literal["vllm", "transformers", "remote", "fake"]


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class TokenScore(_Value):
    """How likely a model finds a token: its log-probability in nats and rank, and the best one's."""

    logprob: float
    rank: int
    best: float


class Usage(_Value):
    """Tokens as the server counted them."""

    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(ge=0)

    @property
    def total_tokens(self) -> int:
        """Tokens read and made."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """A piece of an answer.

    `text` is new text, possibly empty. `finish_reason` ("stop", "length") is set once, near the end.
    `usage` is the count so far, where the server tells; the last one seen is the final count. `choices`
    are OpenAI's, as the server sent them.
    """

    text: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    choices: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole answer; `text` is that of all its `choices`. `usage` is None when the server did not count."""

    text: str
    finish_reason: str | None
    usage: Usage | None
    choices: Sequence[Mapping[str, Any]] = ()


class ServerStatus(_Value):
    """What the supervisor last wrote about the model server.

    `message` is a key of the message catalog, `facts` fill it; `progress` is 0 to 100 while the
    server starts; `since` is when this state began; `pid` is the supervisor's process.
    """

    state: ServerState
    backend: Backend
    message: str
    facts: dict[str, str | int] = Field(default_factory=dict)
    progress: int = Field(0, ge=0, le=100)
    since: datetime
    model: str
    pid: int | None = None

    def text(self, language: str) -> str:
        """Return the message in words."""
        return t(self.message, language, **self.facts)
