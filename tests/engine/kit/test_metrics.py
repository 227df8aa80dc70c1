"""Counts: exact, few enough to keep, and cheap enough for every call."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from engine.kit import metrics


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Children of a test's own; what they counted goes with them."""
    monkeypatch.setattr(metrics, "_models", {})
    monkeypatch.setattr(metrics, "_pairs", {})
    forget()
    yield
    forget()


def forget() -> None:
    for counted in (
        metrics._requests,
        metrics._tokens,
        metrics._charged,
        metrics._whole,
        metrics._first,
        metrics._token,
    ):
        counted.clear()


def answered(model: str = "m", tenant: str = "t", outcome: str = "stop", **other: float | None) -> None:
    given = {"seconds": 0.2, "first_seconds": 0.04, "token_seconds": 0.004, **other}
    metrics.answered(
        model=model,
        tenant=tenant,
        outcome=outcome,
        input_tokens=7,
        output_tokens=5,
        charged_micro=34_000,
        **given,  # type: ignore[arg-type]
    )


def value(name: str, **labels: str) -> float | None:
    return metrics.REGISTRY.get_sample_value(name, labels)


def test_a_call_is_counted_by_model_tenant_and_outcome() -> None:
    answered()
    answered(first_seconds=None, token_seconds=None, outcome="length")
    assert value("mbe_requests_total", model="m", tenant="t", outcome="stop") == 1
    assert value("mbe_requests_total", model="m", tenant="t", outcome="length") == 1
    assert value("mbe_tokens_total", model="m", tenant="t", direction="input") == 14
    assert value("mbe_tokens_total", model="m", tenant="t", direction="output") == 10
    assert value("mbe_charged_micro_total", model="m", tenant="t") == 68_000
    assert value("mbe_request_seconds_count", model="m") == 2
    assert value("mbe_request_seconds_sum", model="m") == pytest.approx(0.4)
    assert value("mbe_first_token_seconds_bucket", model="m", le="0.05") == 1
    assert value("mbe_first_token_seconds_bucket", model="m", le="0.025") == 0
    assert value("mbe_token_seconds_count", model="m") == 1


def test_a_call_that_was_turned_away_has_no_time_and_no_tokens() -> None:
    metrics.turned_away(model="m", tenant="t", outcome="refused")
    assert value("mbe_requests_total", model="m", tenant="t", outcome="refused") == 1
    assert value("mbe_request_seconds_count", model="m") == 0
    assert value("mbe_tokens_total", model="m", tenant="t", direction="input") == 0


def test_words_of_a_model_server_do_not_become_labels() -> None:
    for word in ("strange", "stranger", "strange"):
        answered(outcome=word)
    assert value("mbe_requests_total", model="m", tenant="t", outcome=metrics.OTHER) == 3
    assert value("mbe_requests_total", model="m", tenant="t", outcome="strange") is None


def test_models_and_tenants_beyond_the_most_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_MODELS", 2)
    monkeypatch.setattr(metrics, "MOST_PAIRS", 3)
    for model in ("a", "b", "c", "d"):
        answered(model)
    for tenant in ("u", "v", "u"):
        answered("a", tenant)
    assert value("mbe_requests_total", model="a", tenant="t", outcome="stop") == 1
    assert value("mbe_requests_total", model=metrics.OTHER, tenant="t", outcome="stop") == 2
    assert value("mbe_requests_total", model="a", tenant=metrics.OTHER, outcome="stop") == 3
    assert value("mbe_request_seconds_count", model="a") == 4
    assert value("mbe_request_seconds_count", model="c") is None
    assert {sample.labels["model"] for sample in samples("mbe_requests_total")} == {"a", "b", metrics.OTHER}


def samples(name: str) -> list:  # type: ignore[type-arg]
    text, _ = metrics.exposition("")
    return [s for family in parsed(text.decode()) for s in family.samples if s.name == name]


def test_books_that_nobody_compared_do_not_agree() -> None:
    metrics.books_unknown()
    [sample] = samples("mbe_books_difference_micro")
    assert sample.value != sample.value
    metrics.books_micro.set(0)
    assert samples("mbe_books_difference_micro")[0].value == 0


def test_the_text_is_as_the_reader_takes_it() -> None:
    answered()
    _, plain = metrics.exposition("text/plain;version=0.0.4")
    body, open_kind = metrics.exposition("application/openmetrics-text;version=1.0.0")
    assert plain.startswith("text/plain; version=0.0.4")
    assert open_kind.startswith("application/openmetrics-text") and body.endswith(b"# EOF\n")
    assert samples("process_resident_memory_bytes") and not samples("mbe_requests_created")
