"""What operators watch, counted by names without knowing who shows it: `metrics.running.inc()`.

Each process counts for itself; the gateway shows its counts at `/metrics`. Whoever counts a model has found
it: the name somebody merely asked for never becomes a label.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import choose_encoder

disable_created_metrics()  # when each counter began would be as many lines again

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

MOST_MODELS, MOST_PAIRS = 200, 2_000
"""Models, and pairs of model and tenant, that are told apart; whatever comes later is counted as OTHER.

Writing all of them down takes a third of a second, as often as somebody looks.
"""
OTHER = "(other)"
OUTCOMES = frozenset(
    ("stop", "length", "tool_calls", "content_filter", "failed", "cancelled", "refused", "degraded")
)
"""How a call ends; a model server that has words of its own does not add to them."""

ANSWER = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1)
WAIT = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str) -> Gauge:
    return Gauge(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=REGISTRY)


_requests = _counter("mbe_requests", "Calls that ended, by how.", "model", "tenant", "outcome")
_tokens = _counter("mbe_tokens", "Tokens that were paid for.", "model", "tenant", "direction")
_charged = _counter("mbe_charged_micro", "Micro-credits that were charged.", "model", "tenant")
_whole = _histogram("mbe_request_seconds", "From admission to settlement.", ANSWER, "model")
_first = _histogram("mbe_first_token_seconds", "To the first word of a stream.", ANSWER, "model")
_token = _histogram("mbe_token_seconds", "Per output token of a stream after the first.", TOKEN, "model")
_errors = _counter("mbe_errors", "Errors answered, by the key of their message.", "code")
_refusals = _counter("mbe_limit_refusals", "Calls that a limit refused.", "limit")
_round = _histogram("mbe_round_size", "Calls that shared a round.", (1, 2, 4, 8, 16, 32, 64), "round")
_upstream_up = _gauge("mbe_upstream_up", "Whether calls go to a model server.", "upstream")
_upstream_errors = _counter("mbe_upstream_errors", "Calls and probes that failed there.", "upstream")
_upstream_retries = _counter("mbe_upstream_retries", "Calls that came after another one failed.", "upstream")

running = _gauge("mbe_requests_running", "Calls under way.")
hold_seconds = _histogram("mbe_hold_seconds", "A call's wait for its hold.", WAIT)
settle_seconds = _histogram("mbe_settle_seconds", "A call's wait for its settlement.", WAIT)
books_micro = _gauge("mbe_books_difference_micro", "Micro-credits that the books differ by.")
books_tokens = _gauge("mbe_books_difference_tokens", "Tokens that the books differ by.")
books_at = _gauge("mbe_books_compared_seconds", "Unix time of the newest comparison.")


def books_unknown() -> None:
    """Say that nobody knows whether the books agree, which is not that they do."""
    for gauge in (books_micro, books_tokens, books_at):
        gauge.set(float("nan"))


books_unknown()


# Finding the child of some labels takes longer than counting in it, so children are kept.
@dataclass(slots=True)
class _Model:
    whole: Histogram
    first: Histogram
    token: Histogram


@dataclass(slots=True)
class _Pair:
    model: _Model
    read: Counter
    written: Counter
    charged: Counter
    labels: tuple[str, str]
    outcomes: dict[str, Counter] = field(default_factory=dict)

    def ended(self, outcome: str) -> None:
        """Count how a call ended."""
        counter = self.outcomes.get(outcome)
        if counter is None:
            outcome = outcome if outcome in OUTCOMES else OTHER
            counter = self.outcomes[outcome] = _requests.labels(*self.labels, outcome)
        counter.inc()


_models: dict[str, _Model] = {}
_pairs: dict[tuple[str, str], _Pair] = {}
_codes: dict[str, Counter] = {}
_limits: dict[str, Counter] = {}


def _model(name: str) -> tuple[str, _Model]:
    if name not in _models and len(_models) >= MOST_MODELS:
        name = OTHER
    found = _models.get(name)
    if found is None:
        found = _models[name] = _Model(_whole.labels(name), _first.labels(name), _token.labels(name))
    return name, found


def _pair(model: str, tenant: str) -> _Pair:
    found = _pairs.get((model, tenant))
    if found is not None:
        return found
    name, children = _model(model)
    if (name, tenant) not in _pairs and len(_pairs) >= MOST_PAIRS:
        tenant = OTHER
    found = _pairs.get((name, tenant))
    if found is None:
        found = _pairs[name, tenant] = _Pair(
            model=children,
            read=_tokens.labels(name, tenant, "input"),
            written=_tokens.labels(name, tenant, "output"),
            charged=_charged.labels(name, tenant),
            labels=(name, tenant),
        )
    return found


def answered(
    *,
    model: str,
    tenant: str,
    outcome: str,
    seconds: float,
    first_seconds: float | None,
    token_seconds: float | None,
    input_tokens: int,
    output_tokens: int,
    charged_micro: int,
) -> None:
    """Count a call that was let in and has ended; the times of tokens are those of a stream, else None."""
    pair = _pair(model, tenant)
    pair.ended(outcome)
    pair.read.inc(input_tokens)
    pair.written.inc(output_tokens)
    pair.charged.inc(charged_micro)
    pair.model.whole.observe(seconds)
    if first_seconds is not None:
        pair.model.first.observe(first_seconds)
    if token_seconds is not None:
        pair.model.token.observe(token_seconds)


def turned_away(*, model: str, tenant: str, outcome: str) -> None:
    """Count a call of a known caller to a known model that ended before it began, or without a settlement."""
    _pair(model, tenant).ended(outcome)


def error(code: str) -> None:
    """Count an error answer."""
    counter = _codes.get(code)
    if counter is None:
        counter = _codes[code] = _errors.labels(code)
    counter.inc()


def limit_refusal(limit: str) -> None:
    """Count a call that a limit refused, such as "key_requests_per_minute"."""
    counter = _limits.get(limit)
    if counter is None:
        counter = _limits[limit] = _refusals.labels(limit)
    counter.inc()


def upstream_up(name: str, up: bool) -> None:
    """Say whether calls go to a model server."""
    _upstream_up.labels(name).set(up)


def upstream_error(name: str) -> None:
    """Count a call or a probe that failed at a model server."""
    _upstream_errors.labels(name).inc()


def upstream_retry(name: str) -> None:
    """Count a call that a model server was given after another one had failed."""
    _upstream_retries.labels(name).inc()


def upstream_gone(name: str) -> None:
    """Say no more whether calls go to a model server that was removed."""
    with suppress(KeyError):
        _upstream_up.remove(name)


def rounds(name: str) -> Callable[[float], None]:
    """Return what counts how many calls shared a round of `name`."""
    return _round.labels(name).observe


def exposition(accept: str) -> tuple[bytes, str]:
    """Return all counts as the reader takes them, by its Accept header, and their content type."""
    encode, kind = choose_encoder(accept)
    return encode(REGISTRY), kind
