"""OpenAI's requests: what is understood of them, and how it is told what is not."""

import asyncio
from collections.abc import Sequence
from typing import Any, Literal, TypeVar

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from apps.gateway.identity import words
from engine.flows.answer_request import ChatRequest
from engine.flows.complete_text import TextRequest
from engine.flows.route_call import ANYHOW, Routing
from engine.flows.speak import ANSWER_TOKENS, Sampling
from engine.kit.errors import BadInput
from engine.kit.prompts import Message
from engine.knowledge.retrieve import EVERYTHING
from engine.knowledge.schemas import Only

MOST_CHOICES = 8
BODY_SECONDS = 30.0

Body = TypeVar("Body", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Turn(_Strict):
    """One message; `content` is text, or OpenAI's list of text parts, or nothing beside calls of tools."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    refusal: None = None


class StreamOptions(_Strict):
    """What a stream holds beside words; usage always comes, as with OpenAI it comes when it is asked for."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Narrowed(_Strict):
    """An addition to OpenAI's request: the documents that an answer may come from."""

    labels: list[str] = Field([], max_length=20)
    kinds: list[str] = Field([], max_length=20)


class _Spoken(_Strict):
    """What both kinds of request have. As with OpenAI, a field that nobody knows is refused by name."""

    model: str
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: str | list[str] | None = Field(None)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, float] | None = None
    # Of no effect here; clients send them.
    user: str | None = None

    def sampling(self, max_tokens: int | None, more: dict[str, Any]) -> Sampling:
        """Return how words are to be chosen."""
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        if len(stop) > 4:
            raise BadInput("gateway.too_many_stops", field="stop")
        passed = {
            "n": self.n if self.n and self.n > 1 else None,
            "presence_penalty": self.presence_penalty,
            "frequency_penalty": self.frequency_penalty,
            "logit_bias": self.logit_bias,
            **more,
        }
        return Sampling(
            max_tokens=max_tokens or ANSWER_TOKENS,
            temperature=self.temperature or 0.0,
            top_p=1.0 if self.top_p is None else self.top_p,
            stop=stop,
            seed=self.seed,
            more={name: value for name, value in passed.items() if value is not None},
        )


class Chat(_Spoken):
    """OpenAI's chat completion request."""

    messages: list[Turn] = Field(min_length=1, max_length=200)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    tools: list[dict[str, Any]] | None = Field(None, max_length=128)
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    # Of no effect here; clients send them.
    metadata: dict[str, str] | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    knowledge: Narrowed | None = None

    def request(self) -> ChatRequest:
        """Return the request as the engine takes it. Raises BadInput naming the field at fault."""
        only = self.knowledge
        plain = self.response_format is None or self.response_format.get("type") == "text"
        more = {
            "logprobs": self.logprobs or None,
            "top_logprobs": self.top_logprobs if self.logprobs else None,
            "tools": self.tools or None,
            "tool_choice": self.tool_choice if self.tools else None,
            "parallel_tool_calls": self.parallel_tool_calls if self.tools else None,
            "response_format": None if plain else self.response_format,
        }
        return ChatRequest(
            model=self.model,
            messages=messages_of(self.messages),
            sampling=self.sampling(self.max_completion_tokens or self.max_tokens, more),
            only=Only(labels=tuple(only.labels), kinds=tuple(only.kinds)) if only else EVERYTHING,
        )


class Completion(_Spoken):
    """OpenAI's older request: a text that is to go on."""

    prompt: str | list[str]
    logprobs: int | None = Field(None, ge=0, le=5)
    echo: bool | None = None
    best_of: Literal[1] | None = None
    suffix: None = None

    def request(self) -> TextRequest:
        """Return the request as the engine takes it. Raises BadInput naming the field at fault."""
        prompts = [self.prompt] if isinstance(self.prompt, str) else self.prompt
        if len(prompts) != 1:
            raise BadInput("gateway.one_prompt", field="prompt")
        more = {"logprobs": self.logprobs, "echo": self.echo or None}
        return TextRequest(
            model=self.model, prompt=prompts[0], sampling=self.sampling(self.max_tokens or 16, more)
        )


ROUTING_PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "x-routing-strategy",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "enum": ["stable", "canary", "ab_test"]},
        "description": "Who answers while two versions share the calls; without it, by their shares.",
    },
    {
        "name": "X-Conversation-ID",
        "in": "header",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": 200},
        "description": "A conversation keeps its version; without it, it is known by its first message.",
    },
]


def routing_of(request: Request) -> Routing:
    """Return what a caller says about which version should answer. Raises BadInput naming the header."""
    strategy, conversation = words(request, "x-routing-strategy"), words(request, "x-conversation-id")
    if strategy is None and conversation is None:
        return ANYHOW
    return Routing(strategy=strategy, conversation=conversation)


async def body_of(request: Request, kind: type[Body]) -> Body:
    """Return the body of a request. Raises BadInput naming the field at fault, as OpenAI's errors do."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            raw = await request.body()
    except TimeoutError as error:
        raise BadInput("gateway.slow_body", most=round(BODY_SECONDS)) from error
    try:
        return kind.model_validate_json(raw)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("str", "list[dict[str,any]]"))
        if first["type"] == "extra_forbidden":
            raise BadInput("gateway.unknown_field", field=place, place=place) from invalid
        raise BadInput(
            "gateway.invalid", field=place or None, place=place or "body", why=first["msg"]
        ) from invalid


def text_of(turn: Turn, number: int) -> str:
    """Return the text of a message. Raises BadInput for parts that are not text."""
    if turn.content is None and (turn.role != "assistant" or not turn.tool_calls):
        raise BadInput("chat.bad_message", field=f"messages.{number - 1}.content", number=number)
    if turn.content is None or isinstance(turn.content, str):
        return turn.content or ""
    texts = [part.get("text") for part in turn.content if part.get("type") == "text"]
    if len(texts) != len(turn.content) or not all(isinstance(text, str) for text in texts):
        raise BadInput("chat.bad_message", field=f"messages.{number - 1}.content", number=number)
    return "".join(str(text) for text in texts)


def messages_of(turns: Sequence[Turn]) -> tuple[Message, ...]:
    """Return a conversation as the engine takes it. Raises BadInput for parts that are not text."""
    messages = []
    for number, turn in enumerate(turns, 1):
        role = "system" if turn.role == "developer" else turn.role
        message = Message(role=role, content=text_of(turn, number))
        if turn.name is not None:
            message["name"] = turn.name
        if turn.tool_calls:
            message["tool_calls"] = turn.tool_calls
        if turn.tool_call_id is not None:
            message["tool_call_id"] = turn.tool_call_id
        messages.append(message)
    return tuple(messages)
