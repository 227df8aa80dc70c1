"""HTML of the model servers."""

from collections.abc import Sequence

from apps import cards
from engine.flows.manage_upstreams import Standing
from engine.kit.messages import t
from engine.serving.upstreams import EVERY


def table(found: Sequence[Standing], language: str) -> str:
    """Return the table of the servers, with what the last probe of each found."""
    keys = ("name", "state", "answers_for", "place", "weight", "rank", "probed")
    headers = [t(f"servers.{key}", language) for key in keys]
    rows: list[list[cards.Cell]] = [
        [
            one.upstream.name,
            _state(one, language),
            t("servers.every", language) if one.upstream.model == EVERY else one.upstream.model,
            _place(one, language),
            one.upstream.weight,
            one.upstream.fallback,
            _probe(one, language),
        ]
        for one in found
    ]
    return cards.table(headers, rows, t("servers.title", language))


def _state(one: Standing, language: str) -> cards.Html:
    if not one.upstream.enabled:
        return cards.state(t("servers.off", language), "calm")
    if one.probe_good is None:
        return cards.state(t("servers.never", language), "calm")
    key, tone = ("ready", "good") if one.probe_good else ("broken", "bad")
    return cards.state(t(f"servers.{key}", language), tone)


def _place(one: Standing, language: str) -> str:
    place = one.upstream.base_url or t("servers.of_settings", language)
    if one.upstream.served_as:
        place = t("servers.as_model", language, place=place, model=one.upstream.served_as)
    if one.key_missing:
        place += " · " + t("servers.key_missing", language, variable=one.upstream.key_variable)
    return place


def _probe(one: Standing, language: str) -> cards.Cell:
    if one.probe_ms is None or one.probed_at is None:
        return "–"
    took = t("servers.after", language, ms=f"{one.probe_ms:,}")
    return cards.Html(f"{cards.moment(one.probed_at, language).text} · {took}", one.probed_at.timestamp())
