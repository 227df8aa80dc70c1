"""In which order servers are tried, and what may be declared of them."""

import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, NotFound
from engine.serving import degraded, upstreams
from engine.serving.schemas import Upstream
from engine.serving.upstreams import BUILT_IN, UpstreamTerms


def server(name: str, weight: int = 1, fallback: int = 0, **more: Any) -> Upstream:
    return BUILT_IN.model_copy(update={"name": name, "weight": weight, "fallback": fallback, **more})


SERVERS = st.lists(
    st.builds(server, st.uuids().map(str), st.integers(0, 1000), st.integers(0, 3)), max_size=8
)


@given(SERVERS, st.data())
def test_broken_ones_are_never_tried_and_no_rank_before_a_lower_one(
    found: list[Upstream], data: st.DataObject
) -> None:
    broken = data.draw(st.sets(st.sampled_from([one.name for one in found]))) if found else set()
    numbers = st.floats(0, 1, exclude_max=True)
    tried = upstreams.order(found, lambda name: name not in broken, lambda: data.draw(numbers))
    assert sorted(one.name for one in tried) == sorted(
        one.name for one in found if one.weight and one.name not in broken
    )
    assert [one.fallback for one in tried] == sorted(one.fallback for one in tried)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_each_is_first_as_often_as_its_weight_says(weights: list[int]) -> None:
    found = [server(str(number), weight) for number, weight in enumerate(weights)]
    total = sum(weights)
    # Every number between two marks, evenly spread: the shares are exact.
    firsts = Counter(
        upstreams.order(found, lambda _: True, lambda point=point: (point + 0.5) / total)[0].name  # type: ignore[misc]
        for point in range(total)
    )
    assert firsts == {one.name: one.weight for one in found}


def test_chance_follows_weights() -> None:
    pick = random.Random(7).random
    found = [server("light", 1), server("heavy", 3), server("later", 1000, fallback=1)]
    firsts = Counter(upstreams.order(found, lambda _: True, pick)[0].name for _ in range(4000))
    assert set(firsts) == {"light", "heavy"} and 0.70 < firsts["heavy"] / 4000 < 0.80


@pytest.mark.parametrize(
    ("change", "public", "serves"),
    [
        ({}, False, True),
        ({"model": "help-desk"}, True, True),
        ({"model": "other"}, True, False),
        ({"weight": 0}, True, False),
        ({"enabled": False}, True, False),
        ({"served_as": "m"}, True, True),
        ({"served_as": "m"}, False, False),
    ],
)
def test_who_may_answer_for_an_expert(change: dict[str, Any], public: bool, serves: bool) -> None:
    one = server("one").model_copy(update=change)
    assert upstreams.serves(one, "help-desk", public=public) is serves


GOOD: dict[str, Any] = {"name": "gpu-1", "base_url": "https://gpu.example:8000/v1/", "served_as": "m"}


def test_a_server_is_declared_changed_and_removed(db: str) -> None:
    with unit_of_work() as uow:
        made = upstreams.declare(uow, UpstreamTerms(**GOOD), by_id="p1")
        assert made.base_url == "https://gpu.example:8000"
        changed = upstreams.change(uow, made.id, {"weight": 5, "enabled": False}, by_id="p2")
        assert (changed.weight, changed.enabled, changed.served_as, changed.by_id) == (5, False, "m", "p2")
        assert [one.name for one in upstreams.listing(uow)] == ["gpu-1", "local"]
        upstreams.remove(uow, made.id)
        assert [one.name for one in upstreams.listing(uow)] == ["local"]
        for unknown in (made.id, "local"):
            with pytest.raises(NotFound):
                upstreams.remove(uow, unknown)


def test_the_built_in_one_is_declared_by_its_first_change(db: str) -> None:
    with unit_of_work() as uow:
        upstreams.change(uow, "local", {"fallback": 2}, by_id="p")
        upstreams.change(uow, "local", {"weight": 0}, by_id="p")
        (local,) = upstreams.listing(uow)
        assert (local.fallback, local.weight, local.base_url) == (2, 0, "")
        with pytest.raises(BadInput) as refused:
            upstreams.change(uow, "local", {"base_url": "https://x.example"}, by_id="p")
        assert refused.value.field == "base_url"
        upstreams.remove(uow, local.id)
        assert upstreams.listing(uow) == [BUILT_IN]


def test_a_name_is_taken_once(db: str) -> None:
    with unit_of_work() as uow:
        upstreams.declare(uow, UpstreamTerms(**GOOD), by_id="p")
        with pytest.raises(Conflict) as refused:
            upstreams.declare(uow, UpstreamTerms(**GOOD), by_id="p")
        assert refused.value.field == "name"
        with pytest.raises(BadInput):
            upstreams.change(uow, upstreams.listing(uow)[0].id, {"name": "other"}, by_id="p")


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "Gpu 1"},
        {"base_url": ""},
        {"base_url": "http://gpu.example:8000"},
        {"base_url": "http://127.0.0.1.evil.example"},
        {"base_url": "https://user:secret@gpu.example"},
        {"base_url": "https://gpu.example/?a=b"},
        {"base_url": "file:///etc/passwd"},
        {"key_variable": "MBE_SECRET"},
        {"key_variable": "sk-live-1234"},
        {"model": "No Such"},
        {"served_as": "x" * 201},
        {"served_as": "a\nb"},
        {"weight": -1},
        {"weight": 1001},
        {"fallback": -1},
        {"fallback": 100},
    ],
)
def test_what_is_no_server_is_refused_by_its_field(db: str, change: dict[str, Any]) -> None:
    with unit_of_work() as uow:
        with pytest.raises(BadInput) as refused:
            upstreams.declare(uow, UpstreamTerms(**{**GOOD, **change}), by_id="p")
        assert refused.value.field == next(iter(change))
        assert upstreams.listing(uow) == [BUILT_IN]


def test_a_text_that_stands_in_is_written_over_and_taken_back(db: str) -> None:
    with unit_of_work() as uow:
        for text in (" One ", "二" * 2000):
            degraded.declare(uow, "help-desk", text, tenant_id="t", by_id="p")
        found = degraded.find(uow, "help-desk")
        assert found is not None and found.text == "二" * 2000
        for bad in ("", "  ", "x" * 2001):
            with pytest.raises(BadInput):
                degraded.declare(uow, "help-desk", bad, tenant_id="t", by_id="p")
        degraded.remove(uow, "help-desk")
        assert degraded.find(uow, "help-desk") is None
