"""One expert speaking: retrieval in front, its adapter on the base model, words as they come."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

import anyio.to_thread

from engine.flows import try_upstreams
from engine.flows.try_upstreams import Wanted
from engine.inference import state
from engine.inference.adapters import Adapter
from engine.inference.base_model import parameter_count
from engine.inference.client import Prompt as Asked
from engine.inference.schemas import Completion, Delta
from engine.kit.errors import BadInput
from engine.kit.prompts import Message, grounded, templated
from engine.kit.settings import settings
from engine.knowledge.quotes import quoted
from engine.knowledge.retrieve import EVERYTHING, retrieve, standalone
from engine.knowledge.schemas import Only, Passage
from engine.market.schemas import ExpertView

ANSWER_TOKENS = 256
SMALL = 100_000_000


@dataclass(frozen=True, kw_only=True)
class Speaker:
    """Who answers: an adapter (none is the plain base model), a developer's prompt (see `templated`; none is
    plain too), and the knowledge it may quote. For a `public` one any server of its name may speak."""

    name: str
    public: bool = False
    adapter: Adapter | None = None
    template: str = ""
    knowledge_base_ids: tuple[str, ...] = ()
    knowledge_tenant_id: str = ""

    @classmethod
    def of(cls, expert: ExpertView) -> "Speaker":
        """Return the speaker of an expert's version."""
        return cls(
            name=expert.name,
            public=expert.state == "published",
            adapter=expert.adapter_prefix or None,
            template=expert.template,
            knowledge_base_ids=tuple(expert.knowledge_base_ids),
            knowledge_tenant_id=expert.knowledge_tenant_id,
        )

    @property
    def wanted(self) -> Wanted:
        """Return what a model server is asked for."""
        return Wanted(name=self.name, adapter=self.adapter, public=self.public)


BASE = Speaker(name="base")


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How words are chosen; the fields are OpenAI's, and `more` are those that are only passed on."""

    max_tokens: int = ANSWER_TOKENS
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def choices(self) -> int:
        """How many answers are asked for."""
        return int(self.more.get("n") or 1)

    def limited(self, max_tokens: int) -> "Sampling":
        """Return the same with another limit of tokens."""
        return replace(self, max_tokens=max_tokens)

    def parameters(self) -> dict[str, Any]:
        """Return the request fields that are set."""
        fields: dict[str, Any] = {
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            **self.more,
        }
        if self.stop:
            fields["stop"] = list(self.stop)
        if self.seed is not None:
            fields["seed"] = self.seed
        return fields


GREEDY = Sampling()


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What the model will read, and the passages in it."""

    messages: list[Message]
    passages: list[Passage] = field(default_factory=list)


def prompt_for(speaker: Speaker, messages: Sequence[Message], only: Only = EVERYTHING) -> Prompt:
    """Return the conversation with the passages that answer its last question, if any do, in the speaker's
    prompt.

    Raises BadInput when `only` lets no document through, or there is no knowledge to keep to it.
    """
    passages = _passages(speaker, messages, only)
    texts = [passage.text for passage in passages]
    if speaker.template:
        return Prompt(messages=templated(speaker.template, messages, texts), passages=passages)
    return Prompt(messages=grounded(messages, texts), passages=passages)


def _passages(speaker: Speaker, messages: Sequence[Message], only: Only) -> list[Passage]:
    if not speaker.knowledge_base_ids:
        if only:
            raise BadInput("knowledge.no_knowledge", field="knowledge")
        return []
    asked = [m["content"] for m in messages if m["role"] == "user"]
    if not asked:
        return []
    passages = retrieve(
        speaker.knowledge_base_ids, speaker.knowledge_tenant_id, asked[-1], history=asked[:-1], only=only
    )
    if sentences := quotes_for(settings().base_model):
        passages = quoted(standalone(asked[-1], asked[:-1]), passages, limit=sentences)
    return passages


def quotes_for(base_model: str) -> int:
    """Return how many single sentences a model is given; 0 means whole passages.

    By default a model below a hundred million weights gets three: it cannot keep four passages apart.
    """
    if settings().quotes >= 0:
        return settings().quotes
    if settings().inference in ("remote", "fake"):
        return 0
    return 3 if _small(base_model) else 0


@lru_cache(maxsize=4)
def _small(base_model: str) -> bool:
    # Of the weights alone: settings may be others for the next who asks.
    return parameter_count(base_model) < SMALL


def words(speaker: Speaker, prompt: Asked, sampling: Sampling = GREEDY) -> AsyncGenerator[Delta, None]:
    """Yield the answer to a prepared prompt as it is spoken. Closing it stops the model at once."""
    return try_upstreams.open_stream(speaker.wanted, prompt, **sampling.parameters())


async def whole(speaker: Speaker, prompt: Asked, sampling: Sampling = GREEDY) -> Completion:
    """Return the answer to a prepared prompt in one piece. Cancelling it stops the model at once."""
    return await try_upstreams.complete(speaker.wanted, prompt, **sampling.parameters())


async def whole_answer(speaker: Speaker, messages: Sequence[Message], sampling: Sampling = GREEDY) -> str:
    """Return the full answer to a question, retrieval included."""
    prompt = await anyio.to_thread.run_sync(prompt_for, speaker, messages)
    return "".join([delta.text async for delta in words(speaker, prompt.messages, sampling)])


class Waiting(Protocol):
    """What waiting needs of a job."""

    def report(self, *, done: int, total: int, message: str) -> None:
        """Show how far it is."""

    def check_stop(self) -> None:
        """Raise when the person asked to pause or cancel."""


def wait_until_ready(job: Waiting, total: int) -> None:
    """Wait, inside a job, until the model server answers; the job can be stopped meanwhile."""
    while not state.answers():
        job.check_stop()
        job.report(done=0, total=total, message="waiting for the model server")
        time.sleep(1)
