"""Client of an OpenAI-compatible server, with streaming that stops the server when we stop reading."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx

from engine.inference.errors import ModelMissing, PromptTooLong
from engine.inference.schemas import Completion, Delta, TokenScore, Usage
from engine.inference.sse import events
from engine.kit.errors import EngineError, NotReady, UpstreamFailed
from engine.kit.logs import logger
from engine.kit.prompts import Message
from engine.kit.settings import settings

log = logger(__name__)

CONNECT_SECONDS = 5.0
LOAD_SECONDS = 60.0
# How vLLM and our fallback say that prompt and answer do not fit.
TOO_LONG = ("maximum context length", "maximum model length", "max_model_len")
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


class ChatModel(Protocol):
    """What flows need of a model server; the real client and the fake both fit."""

    def stream(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]: ...

    async def complete(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> Completion: ...

    async def load_adapter(self, name: str, folder: Path) -> None: ...

    async def unload_adapter(self, name: str) -> None: ...

    async def models(self) -> list[str]: ...

    async def score(self, model: str, ids: Sequence[int]) -> list[TokenScore]: ...

    async def probe(self, model: str) -> bool: ...


class ModelClient:
    """A model server at `base_url` (without `/v1`); `key` is sent as a bearer token.

    With `running_usage` every piece carries the count so far (vLLM and our fallback can; other
    servers may refuse the option), so that an answer cut short can be billed exactly.
    All methods raise NotReady while nothing answers, ModelMissing for an unknown model,
    PromptTooLong, and UpstreamFailed for everything else that goes wrong over there.
    """

    def __init__(self, base_url: str, key: str | None = None, *, running_usage: bool = False) -> None:
        self._url = base_url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._running_usage = running_usage
        self._https: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx.AsyncClient] = WeakKeyDictionary()

    async def stream(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        """Yield the answer piece by piece; closing the generator closes the connection.

        A server that notices a closed connection stops generating, so close it (`aclosing`) when
        the reader goes away.
        """
        body = _body(model, messages, max_tokens, temperature, top_p, stop, seed)
        options = {"include_usage": True}
        if self._running_usage:
            options["continuous_usage_stats"] = True
        deadline = time.monotonic() + settings().request_timeout
        finished = False
        async with self._open(
            "/v1/chat/completions", {**body, "stream": True, "stream_options": options}
        ) as r:
            source = events(r.aiter_bytes())
            while True:
                with _translated(started=True):
                    async with asyncio.timeout(deadline - time.monotonic()):
                        data = await anext(source, None)
                if data is None:
                    break
                delta = _delta(data)
                finished = finished or delta.finish_reason is not None
                yield delta
        if not finished:
            raise UpstreamFailed("inference.broke_off")

    async def complete(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        stop: Sequence[str] | None = None,
        seed: int | None = None,
    ) -> Completion:
        """Return the whole answer. Cancelling the task closes the connection."""
        body = _body(model, messages, max_tokens, temperature, top_p, stop, seed)
        answer = await self._json("/v1/chat/completions", body, seconds=settings().request_timeout)
        try:
            choice = answer["choices"][0]
            return Completion(
                text=choice["message"]["content"] or "",
                finish_reason=choice.get("finish_reason"),
                usage=_usage(answer),
            )
        except (KeyError, IndexError, TypeError) as error:
            raise UpstreamFailed("inference.odd_answer") from error

    async def score(self, model: str, ids: Sequence[int]) -> list[TokenScore]:
        """Return how likely the server finds each token after those before it; the first has no say.

        Only vLLM tells. Raises UpstreamFailed when the answer has no such numbers.
        """
        body = {"model": model, "prompt": list(ids), "max_tokens": 1, "temperature": 0, "prompt_logprobs": 1}
        answer = await self._json("/v1/completions", body, seconds=settings().request_timeout)
        try:
            found = answer["choices"][0]["prompt_logprobs"]
            return [
                _score(entry, one) if entry else TokenScore(logprob=0.0, rank=1, best=0.0)
                for one, entry in zip(ids, found, strict=True)
            ]
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise UpstreamFailed("inference.odd_answer") from error

    async def probe(self, model: str, *, seconds: float = 20.0) -> bool:
        """Return whether the engine lives: one token must come back within `seconds`.

        A health route may answer 200 while the engine behind it is dead, so it is not asked.
        """
        body = _body(model, [{"role": "user", "content": "?"}], 1, 0.0, None, None, None)
        try:
            answer = await self._json("/v1/chat/completions", body, seconds=seconds)
        except EngineError:
            return False
        return bool(answer.get("choices"))

    async def healthy(self, *, seconds: float = 20.0) -> bool:
        """Return whether the health route says yes; for servers whose health route knows."""
        try:
            await self._json("/health", None, seconds=seconds)
        except EngineError:
            return False
        return True

    async def load_adapter(self, name: str, folder: Path) -> None:
        """Make the server serve the PEFT adapter in `folder` as model `name`; again is no error.

        Raises UpstreamFailed when the server refuses it.
        """
        body = {"lora_name": name, "lora_path": str(folder)}
        try:
            await self._json("/v1/load_lora_adapter", body, seconds=LOAD_SECONDS)
        except _Refused as refusal:
            if "already been loaded" not in refusal.detail:
                raise UpstreamFailed("inference.adapter_refused", name=name) from refusal

    async def unload_adapter(self, name: str) -> None:
        """Make the server forget an adapter; one it does not have is no error. Answers under way go on."""
        with suppress(ModelMissing):
            await self._json("/v1/unload_lora_adapter", {"lora_name": name}, seconds=LOAD_SECONDS)

    async def models(self) -> list[str]:
        """Return the names that the server serves, adapters included."""
        answer = await self._json("/v1/models", None, seconds=20.0)
        return [str(entry["id"]) for entry in answer.get("data", [])]

    async def _json(self, path: str, body: dict[str, Any] | None, *, seconds: float) -> dict[str, Any]:
        with _translated(started=True):
            async with asyncio.timeout(seconds), self._open(path, body) as response:
                raw = await response.aread()
        try:
            answer = json.loads(raw)
        except ValueError:
            answer = {}  # vLLM confirms a loaded adapter in plain text
        return answer if isinstance(answer, dict) else {}

    @asynccontextmanager
    async def _open(self, path: str, body: dict[str, Any] | None) -> AsyncGenerator[httpx.Response, None]:
        method = "GET" if body is None else "POST"
        with _translated(started=False):
            request = self._http().build_request(method, self._url + path, json=body, headers=self._headers)
            response = await self._http().send(request, stream=True)
        try:
            if response.status_code >= 400:
                with _translated(started=True):
                    await response.aread()
                raise _error(response)
            yield response
        finally:
            await response.aclose()

    def _http(self) -> httpx.AsyncClient:
        """One connection pool per event loop: a pool cannot be shared between loops."""
        loop = asyncio.get_running_loop()
        if loop not in self._https:
            self._https[loop] = httpx.AsyncClient(
                timeout=httpx.Timeout(settings().request_timeout, connect=CONNECT_SECONDS, pool=None),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=16),
                trust_env=urlsplit(self._url).hostname not in LOOPBACK,
            )
        return self._https[loop]


class _Refused(UpstreamFailed):
    """A 4xx or 5xx; `detail` is the server's own text, for the log and for telling cases apart."""

    def __init__(self, code: int, detail: str) -> None:
        self.detail = detail
        super().__init__("inference.refused", code=code)


@contextmanager
def _translated(*, started: bool) -> Iterator[None]:
    """Turn transport errors into ours; `started` tells whether the server had begun to answer."""
    try:
        yield
    except (TimeoutError, httpx.ReadTimeout, httpx.WriteTimeout) as error:
        raise UpstreamFailed("inference.too_slow") from error
    except httpx.HTTPError as error:
        if started:
            raise UpstreamFailed("inference.broke_off") from error
        raise NotReady("inference.warming_up", retry_after=5) from error


def _error(response: httpx.Response) -> EngineError:
    try:
        parsed = json.loads(response.content)
    except ValueError:
        parsed = None
    inner = parsed.get("error") if isinstance(parsed, dict) else None
    detail = str(inner.get("message", "")) if isinstance(inner, dict) else response.text
    code = response.status_code
    if code == 503:
        after = response.headers.get("retry-after", "")
        return NotReady("inference.warming_up", retry_after=int(after) if after.isdigit() else 5)
    log.warning("model server refused", code=code, detail=detail[:500])
    return _told_apart(code, detail, known_shape=isinstance(inner, dict))


def _told_apart(code: int, detail: str, *, known_shape: bool) -> UpstreamFailed:
    # A missing route is a 404 too, but without the error object.
    if code == 404 and known_shape:
        return ModelMissing("inference.model_missing")
    if code == 400 and any(words in detail for words in TOO_LONG):
        return PromptTooLong("inference.prompt_too_long")
    return _Refused(code, detail)


def _body(
    model: str,
    messages: Sequence[Message],
    max_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    stop: Sequence[str] | None,
    seed: int | None,
) -> dict[str, Any]:
    wishes = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "stop": list(stop) if stop else None,
        "seed": seed,
    }
    given = {name: value for name, value in wishes.items() if value is not None}
    return {"model": model, "messages": [dict(m) for m in messages], **given}


def _score(entry: dict[str, Any], token: int) -> TokenScore:
    own = entry[str(token)]
    best = max(float(other["logprob"]) for other in entry.values())
    return TokenScore(logprob=float(own["logprob"]), rank=int(own["rank"]), best=best)


def _usage(data: dict[str, Any]) -> Usage | None:
    usage = data.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(
        prompt_tokens=usage.get("prompt_tokens") or 0, completion_tokens=usage.get("completion_tokens") or 0
    )


def _delta(data: str) -> Delta:
    try:
        chunk = json.loads(data)
        if "error" in chunk:
            error = chunk["error"]
            log.warning("model server broke off", detail=str(error)[:500])
            raise UpstreamFailed("inference.broke_off")
        choice = chunk["choices"][0] if chunk.get("choices") else {}
        return Delta(
            text=(choice.get("delta") or {}).get("content") or "",
            finish_reason=choice.get("finish_reason"),
            usage=_usage(chunk),
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise UpstreamFailed("inference.odd_answer") from error
