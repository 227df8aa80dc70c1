"""Streams and too much load: part of `python -m benchmarks.gateway`.

- The time that a gateway adds to each token of a stream. The upstream sends them as fast as it can, so this
  is what a token costs; where a model is slower than that, it is hidden in the wait for the next.
- Twice the load that our gateway was measured to take: what comes back must be an answer, or say that there
  is too much to do.
"""

from collections.abc import Iterator, Mapping

from benchmarks.gateway_processes import BODY, Server, load
from benchmarks.rows import Row, at_most

TOKENS = 90  # LiteLLM takes a hundred equal ones for a fault
MOST_ADDED = 0.2  # milliseconds
CALM = ("429", "503")
CROWD = 1_024  # connections


def streams(upstream: Server, servers: Mapping[str, Server], ours: str, seconds: float) -> Iterator[Row]:
    """Measure one stream after another at each of the servers, and straight at the upstream."""
    direct = _stream(upstream, seconds)
    for name, server in servers.items():
        added = round((_stream(server, seconds) - direct) / TOKENS, 4)
        title = f"{name}: added time per streamed token, {TOKENS} at once"
        if name == ours:
            yield at_most(title, added, MOST_ADDED, "ms")
        else:
            yield Row(name=title, value=added, unit="ms")


def _stream(server: Server, seconds: float) -> float:
    """Return the median time of a stream in milliseconds. Raises RuntimeError when one is not whole."""
    body = {**BODY, "stream": True, "max_tokens": TOKENS}
    told = load(server, seconds=seconds, connections=1, body=body, options=["--stream"])
    if set(told["outcomes"]) != {"200"} or told["events"] < TOKENS * told["requests"]:
        raise RuntimeError(f"{server.url}: {told}\n{server.last_words()}")
    return float(told["median_ms"])


def twice(server: Server, per_second: float, seconds: float) -> Iterator[Row]:
    """Send twice as many requests a second as were answered, and say what came back."""
    rate = round(2 * per_second)
    told = load(server, seconds=seconds, connections=CROWD, options=["--rate", str(rate)])
    outcomes = dict(told["outcomes"])
    strange = sum(n for name, n in outcomes.items() if not name.startswith("2") and name not in CALM)
    title = f"ours at {rate} requests/s, twice what it takes"
    yield at_most(f"{title}: answers other than 2xx, 429, 503", strange, 0, "answers")
    yield Row(name=f"{title}: answered with 200", value=outcomes.get("200", 0), unit="answers")
    yield Row(name=f"{title}: told that there is too much", value=outcomes.get("503", 0), unit="answers")
