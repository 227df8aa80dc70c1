"""Client of an OpenAI-compatible server, with streaming that stops the server when we stop reading."""

import asyncio
import atexit
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import aiohttp
import orjson

from engine.inference.errors import AdapterRefused, ModelMissing, PromptTooLong, RequestRefused
from engine.inference.schemas import Completion, Delta, TokenScore, Usage
from engine.inference.sse import events
from engine.kit.errors import EngineError, NotReady, UpstreamFailed
from engine.kit.logs import logger
from engine.kit.prompts import Message
from engine.kit.settings import settings

log = logger(__name__)

CONNECT_SECONDS = 5.0
LOAD_SECONDS = 60.0
# How long the end of a stream may lag behind its last event before the connection is given up.
LINGER_SECONDS = 0.05
# How vLLM and our fallback say that prompt and answer do not fit.
TOO_LONG = ("maximum context length", "maximum model length", "max_model_len")
LOOPBACK = {"127.0.0.1", "localhost", "::1"}

Prompt = Sequence[Message] | str
"""A conversation, or for a plain completion the text that is to go on."""


class ChatModel(Protocol):
    """What flows need of a model server; the real client and the fake both fit.

    `options` are OpenAI's request fields, such as max_tokens and temperature; None leaves one out.
    """

    def stream(self, model: str, prompt: Prompt, **options: Any) -> AsyncGenerator[Delta, None]: ...

    async def complete(self, model: str, prompt: Prompt, **options: Any) -> Completion: ...

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
    PromptTooLong, RequestRefused for what the server does not understand, and UpstreamFailed for
    everything else that goes wrong over there.
    """

    def __init__(self, base_url: str, key: str | None = None, *, running_usage: bool = False) -> None:
        self._url = base_url.rstrip("/")
        self._headers = {"Content-Type": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._running_usage = running_usage
        self._sessions: dict[asyncio.AbstractEventLoop, aiohttp.ClientSession] = {}
        atexit.register(lambda: asyncio.run(self._close()))

    async def stream(self, model: str, prompt: Prompt, **options: Any) -> AsyncGenerator[Delta, None]:
        """Yield the answer piece by piece; closing the generator closes the connection.

        A server that notices a closed connection stops generating, so close it (`aclosing`) when
        the reader goes away.
        """
        path, body = _request(model, prompt, options)
        wanted = {"include_usage": True}
        if self._running_usage:
            wanted["continuous_usage_stats"] = True
        deadline = time.monotonic() + settings().request_timeout
        finished = False
        async with self._open(path, {**body, "stream": True, "stream_options": wanted}) as r:
            source = events(r.content.iter_any())
            while True:
                with _Translated(started=True):
                    async with asyncio.timeout(deadline - time.monotonic()):
                        data = await anext(source, None)
                if data is None:
                    break
                delta = _delta(data)
                finished = finished or delta.finish_reason is not None
                yield delta
            with suppress(TimeoutError, aiohttp.ClientError):
                async with asyncio.timeout(LINGER_SECONDS):
                    await r.content.read()
        if not finished:
            raise UpstreamFailed("inference.broke_off")

    async def complete(self, model: str, prompt: Prompt, **options: Any) -> Completion:
        """Return the whole answer. Cancelling the task closes the connection."""
        path, body = _request(model, prompt, options)
        answer = await self._json(path, body, seconds=settings().request_timeout)
        try:
            choices = answer["choices"]
            return Completion(
                text="".join(_text_of(choice) for choice in choices),
                finish_reason=choices[0].get("finish_reason"),
                usage=_usage(answer),
                choices=tuple(choices),
            )
        except (KeyError, IndexError, TypeError, AttributeError) as error:
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
        wishes = {"max_tokens": 1, "temperature": 0.0}
        path, body = _request(model, [{"role": "user", "content": "?"}], wishes)
        try:
            answer = await self._json(path, body, seconds=seconds)
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

        Raises AdapterRefused when the server does not take it.
        """
        body = {"lora_name": name, "lora_path": str(folder)}
        try:
            await self._json("/v1/load_lora_adapter", body, seconds=LOAD_SECONDS)
        except (RequestRefused, _Refused) as refusal:
            if "already been loaded" not in str(refusal.facts.get("detail")):
                raise AdapterRefused("inference.adapter_refused", name=name) from refusal

    async def unload_adapter(self, name: str) -> None:
        """Make the server forget an adapter; one it does not have is no error. Answers under way go on."""
        with suppress(ModelMissing):
            await self._json("/v1/unload_lora_adapter", {"lora_name": name}, seconds=LOAD_SECONDS)

    async def models(self) -> list[str]:
        """Return the names that the server serves, adapters included."""
        answer = await self._json("/v1/models", None, seconds=20.0)
        return [str(entry["id"]) for entry in answer.get("data", [])]

    async def _json(self, path: str, body: dict[str, Any] | None, *, seconds: float) -> dict[str, Any]:
        with _Translated(started=True):
            response = await self._send(path, body, seconds=seconds)
            # Read to its end, a connection is used again; left before, it is closed.
            async with response:
                raw = await response.read()
        if response.status >= 400:
            raise _error(response.status, response.headers, raw)
        try:
            answer = orjson.loads(raw)
        except ValueError:
            answer = {}  # vLLM confirms a loaded adapter in plain text
        return answer if isinstance(answer, dict) else {}

    @asynccontextmanager
    async def _open(
        self, path: str, body: dict[str, Any] | None
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        response = await self._send(path, body)
        try:
            if response.status >= 400:
                with _Translated(started=True):
                    await response.read()
                raise _error(response.status, response.headers, await response.read())
            yield response
        finally:
            # One that was read to its end is used again; closing another is what stops the server.
            if response.content.at_eof():
                response.release()
            else:
                response.close()

    async def _send(
        self, path: str, body: dict[str, Any] | None, *, seconds: float | None = None
    ) -> aiohttp.ClientResponse:
        """Return the beginning of an answer, which has to be there whole after `seconds`."""
        with _Translated(started=False):
            return await self._session().request(
                "GET" if body is None else "POST",
                self._url + path,
                data=None if body is None else orjson.dumps(body),
                headers=self._headers,
                timeout=_patience(seconds, settings().request_timeout),
            )

    def _session(self) -> aiohttp.ClientSession:
        """One connection pool per event loop: a pool cannot be shared between loops."""
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            self._closing = loop.create_task(self._close())
            self._sessions[loop] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4.0),
                cookie_jar=aiohttp.DummyCookieJar(),  # callers share nothing
                trust_env=urlsplit(self._url).hostname not in LOOPBACK,
                auto_decompress=True,
            )
        return self._sessions[loop]

    async def _close(self) -> None:
        """Let go of connections whose event loop has ended."""
        for loop in [loop for loop in self._sessions if loop.is_closed()]:
            await self._sessions.pop(loop).close()


@lru_cache(maxsize=64)
def _patience(total: float | None, between: float) -> aiohttp.ClientTimeout:
    """How long the whole answer may take, and the next piece of it."""
    return aiohttp.ClientTimeout(total=total, sock_connect=CONNECT_SECONDS, sock_read=between)


class _Refused(UpstreamFailed):
    """An error of the server that is not the request's fault."""


class _Translated:
    """Turns transport errors into ours; `started` tells whether the server had begun to answer.

    A class, because a generator takes several times as long, and every call passes here.
    """

    __slots__ = ("_started",)

    def __init__(self, *, started: bool) -> None:
        self._started = started

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            raise NotReady("inference.warming_up", retry_after=5) from error
        if isinstance(error, TimeoutError):
            raise UpstreamFailed("inference.too_slow") from error
        if isinstance(error, aiohttp.ClientError | ConnectionError):
            if self._started:
                raise UpstreamFailed("inference.broke_off") from error
            raise NotReady("inference.warming_up", retry_after=5) from error


def _error(code: int, headers: Mapping[str, str], raw: bytes) -> EngineError:
    try:
        parsed = orjson.loads(raw)
    except ValueError:
        parsed = None
    inner = parsed.get("error") if isinstance(parsed, dict) else None
    known_shape = isinstance(inner, dict)
    detail = str(inner.get("message", "")) if isinstance(inner, dict) else raw.decode("utf-8", "replace")
    if code == 503:
        after = headers.get("retry-after", "")
        return NotReady("inference.warming_up", retry_after=int(after) if after.isdigit() else 5)
    log.warning("model server refused", code=code, detail=detail[:500])
    # A missing route is a 404 too, but without the error object.
    if code == 404 and known_shape:
        return ModelMissing("inference.model_missing")
    if code == 400 and any(words in detail for words in TOO_LONG):
        return PromptTooLong("inference.prompt_too_long")
    if code in (400, 422) and known_shape:
        return RequestRefused("inference.request_refused", detail=detail[:500])
    return _Refused("inference.refused", code=code)


def _request(model: str, prompt: Prompt, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a request."""
    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(prompt, str):
        return "/v1/completions", {"model": model, "prompt": prompt, **given}
    return "/v1/chat/completions", {"model": model, "messages": list(prompt), **given}


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


def _text_of(choice: Mapping[str, Any]) -> str:
    """Return the words of a choice; those of a tool's call are its name and arguments."""
    if "text" in choice:
        return choice["text"] or ""
    said: Mapping[str, Any] = choice.get("message") or choice.get("delta") or {}
    text = said.get("content") or ""
    for call in said.get("tool_calls") or ():
        function = call.get("function") or {}
        text += f"{function.get('name') or ''}{function.get('arguments') or ''}"
    return text


def _delta(data: str) -> Delta:
    try:
        chunk = orjson.loads(data)
        if "error" in chunk:
            error = chunk["error"]
            log.warning("model server broke off", detail=str(error)[:500])
            raise UpstreamFailed("inference.broke_off")
        choices = chunk.get("choices") or ()
        return Delta(
            text="".join(_text_of(choice) for choice in choices),
            finish_reason=next((c["finish_reason"] for c in choices if c.get("finish_reason")), None),
            usage=_usage(chunk),
            choices=tuple(choices),
        )
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise UpstreamFailed("inference.odd_answer") from error
