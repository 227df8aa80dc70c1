"""A model server that always says the same, as fast as Python can: what stands behind the gateways measured.

`python -m benchmarks.gateway_upstream --port P [--token-ms T]` listens on 127.0.0.1 and speaks just enough of
the OpenAI protocol. It reads bytes rather than parsing them, so that what a measurement shows is the gateway.

- `POST /v1/chat/completions` answers one fixed completion, or with `"stream": true` Server-Sent Events:
  `max_tokens` words (10 by default), `--token-ms` after one another, with running usage and a final usage
  where `stream_options` asks for them. It stops when the client closes the connection.
- `GET /v1/models`, `GET /health`, and `POST /v1/load_lora_adapter`, which does nothing.
- `GET /counts` tells what was delivered: chat requests, words handed to the network, and streams cut short.
"""

import argparse
import asyncio
import json
import re
from typing import cast

import uvloop

PROMPT_TOKENS, COMPLETION_TOKENS = 20, 10
MODEL, CREATED = "base", 1_767_225_600
WORD = " word"
# Without a delay, so many words go out together; a longer stream lets others have their turn in between.
WORDS_AT_ONCE = 128
LARGEST_REQUEST = 16 * 1024 * 1024

HEAD_END = b"\r\n\r\n"
LENGTH = re.compile(rb"content-length:[ \t]*(\d+)", re.IGNORECASE)
STREAM = re.compile(rb'"stream"\s*:\s*true')
MAX_TOKENS = re.compile(rb'"max_(?:completion_)?tokens"\s*:\s*(\d+)')
FINAL_USAGE = re.compile(rb'"include_usage"\s*:\s*true')
RUNNING_USAGE = re.compile(rb'"continuous_usage_stats"\s*:\s*true')


def usage(completion_tokens: int) -> dict[str, int]:
    """Return usage as the protocol has it."""
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion_tokens,
        "total_tokens": PROMPT_TOKENS + completion_tokens,
    }


def answer(body: bytes, kind: bytes = b"application/json", status: bytes = b"200 OK") -> bytes:
    """Return a whole response."""
    return b"HTTP/1.1 %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n%s" % (
        status,
        kind,
        len(body),
        body,
    )


def completion() -> bytes:
    """Return the one completion there is."""
    message = {"role": "assistant", "content": (WORD * COMPLETION_TOKENS).strip()}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    facts = {"id": "chatcmpl-0", "object": "chat.completion", "created": CREATED, "model": MODEL}
    return json.dumps(facts | {"choices": [choice], "usage": usage(COMPLETION_TOKENS)}).encode()


def event(delta: dict[str, str] | None, finish: str | None = None) -> bytes:
    """Return a chunk of a stream without its last brace, so that usage can still be added."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    facts = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": CREATED, "model": MODEL}
    return b"data: " + json.dumps(facts | {"choices": choices}).encode()[:-1]


def framed(body: bytes) -> bytes:
    """Return a piece of a body in chunked transfer encoding."""
    return b"%x\r\n%s\r\n" % (len(body), body)


COMPLETION = answer(completion())
MODELS = answer(json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model"}]}).encode())
LOADED = answer(b"Success: LoRA adapter added", b"text/plain")
HEALTHY = answer(b"")
UNKNOWN = answer(b"{}", status=b"404 Not Found")
TOO_LARGE = answer(b"{}", status=b"413 Content Too Large")
STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
OPENING, MIDDLE = event({"role": "assistant", "content": ""}), event({"content": WORD})
CLOSING, SUMMARY = event({"content": WORD}, "stop"), event(None)
PLAIN_MIDDLE = framed(MIDDLE + b"}\n\n")
DONE = framed(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def with_usage(start: bytes, completion_tokens: int) -> bytes:
    """Return a framed chunk that ends with usage."""
    return framed(b'%s, "usage": %s}\n\n' % (start, json.dumps(usage(completion_tokens)).encode()))


class Counts:
    """What was delivered so far, over all connections."""

    requests = completion_tokens = cut = 0

    def response(self) -> bytes:
        """Return them as a response."""
        names = ("requests", "completion_tokens", "cut")
        return answer(json.dumps({name: getattr(self, name) for name in names}).encode())


class Stream:
    """One answer that is being streamed. Words come due at fixed times, so that delays do not add up."""

    def __init__(self, connection: "Connection", body: bytes) -> None:
        wanted = MAX_TOKENS.search(body)
        self.connection = connection
        self.words = max(1, int(wanted[1])) if wanted else COMPLETION_TOKENS
        self.final, self.running = bool(FINAL_USAGE.search(body)), bool(RUNNING_USAGE.search(body))
        self.said = 0
        self.started = connection.loop.time()
        self.timer: asyncio.Handle | None = None

    def begin(self) -> None:
        """Open the response; without a delay, say the first words as well."""
        self.connection.write(STREAM_HEAD + self._chunk(OPENING, 0))
        self.go_on()

    def go_on(self) -> None:
        """Say what is due, unless the client is behind with reading."""
        self.timer = None
        delay, connection = self.connection.delay, self.connection
        if connection.full:
            return
        due = self.words
        if delay:
            due = min(due, int((connection.loop.time() - self.started) / delay + 0.001))
        due = min(due, self.said + WORDS_AT_ONCE)
        if due > self.said:
            pieces = [self._word(number) for number in range(self.said + 1, due + 1)]
            connection.counts.completion_tokens += due - self.said
            self.said = due
            if due == self.words:
                connection.write(b"".join(pieces) + self._end())
                connection.end_stream()
                return
            connection.write(b"".join(pieces))
        when = self.started + (self.said + 1) * delay if delay else 0.0
        self.timer = connection.loop.call_at(when, self.go_on)

    def cancel(self) -> None:
        """Say no more."""
        if self.timer:
            self.timer.cancel()

    def _word(self, number: int) -> bytes:
        if number < self.words and not self.running:
            return PLAIN_MIDDLE
        return self._chunk(MIDDLE if number < self.words else CLOSING, number)

    def _chunk(self, start: bytes, number: int) -> bytes:
        return with_usage(start, number) if self.running else framed(start + b"}\n\n")

    def _end(self) -> bytes:
        return (with_usage(SUMMARY, self.words) if self.final else b"") + DONE


class Connection(asyncio.Protocol):
    """One connection, kept alive; requests on it are answered one after the other."""

    def __init__(self, counts: Counts, delay: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.counts, self.delay = counts, delay
        self.stream: Stream | None = None
        self.full = False
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write to."""
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, error: Exception | None) -> None:
        """End the stream that nobody reads any longer."""
        if self.stream:
            self.stream.cancel()
            self.stream = None
            self.counts.cut += 1

    def pause_writing(self) -> None:
        """Wait until the client has read more."""
        self.full = True

    def resume_writing(self) -> None:
        """Go on with the stream."""
        self.full = False
        if self.stream and not self.stream.timer:
            self.stream.go_on()

    def write(self, data: bytes) -> None:
        """Send."""
        self._transport.write(data)

    def end_stream(self) -> None:
        """Take up the next request."""
        self.stream = None
        if self._received:
            self.loop.call_soon(self._next)

    def data_received(self, data: bytes) -> None:
        """Answer each request that is there as a whole."""
        self._received = self._received + data if self._received else data
        self._next()

    def _next(self) -> None:
        while self._received and not self.stream:
            end = self._received.find(HEAD_END)
            if end < 0:
                break
            length = LENGTH.search(self._received, 0, end)
            after = end + len(HEAD_END) + (int(length[1]) if length else 0)
            if after > LARGEST_REQUEST:
                self._transport.write(TOO_LARGE)
                self._transport.close()
                return
            if len(self._received) < after:
                break
            request, self._received = self._received[:after], self._received[after:]
            self._answer(request, end + len(HEAD_END))

    def _answer(self, request: bytes, body: int) -> None:
        if request.startswith(b"POST /v1/chat/completions"):
            self.counts.requests += 1
            if STREAM.search(request, body):
                self.stream = Stream(self, request[body:])
                self.stream.begin()
            else:
                self.counts.completion_tokens += COMPLETION_TOKENS
                self._transport.write(COMPLETION)
        elif request.startswith(b"GET /counts"):
            self._transport.write(self.counts.response())
        elif request.startswith(b"GET /v1/models"):
            self._transport.write(MODELS)
        elif request.startswith(b"GET /health"):
            self._transport.write(HEALTHY)
        elif request.startswith(b"POST /v1/load_lora_adapter"):
            self._transport.write(LOADED)
        else:
            self._transport.write(UNKNOWN)


async def serve(port: int, delay: float) -> None:
    """Listen until killed."""
    counts = Counts()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(counts, delay), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="A model server that always says the same.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument(
        "--token-ms", type=float, default=0.0, help="milliseconds between the words of a stream"
    )
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.token_ms / 1000))


if __name__ == "__main__":
    main()
