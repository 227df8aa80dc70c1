"""The version before comes back at once, and only it: what was taken down goes the whole road."""

import pytest

from engine.kit.database import unit_of_work
from engine.kit.errors import Conflict, Forbidden, NotFound
from engine.market import service
from engine.market.schemas import Actor
from tests.engine.market.conftest import OWNER, REVIEWER, Market


def two(market: Market) -> tuple[str, str]:
    """Return a version and the one that replaced it."""
    old, new = market.register().id, market.register().id
    market.publish(old)
    market.publish(new)
    return old, new


def test_what_the_present_version_replaced_comes_back_and_the_present_one_retires(market: Market) -> None:
    old, new = two(market)
    first = market.move(old, "published", reason="1.1.0 -> 1.0.0")
    with unit_of_work() as uow:
        assert service.by_name(uow, "tent-helper").id == old
        assert service.get(uow, new, OWNER).state == "retired"
        steps = [(one.to_state, one.reason) for one in service.history(uow, old, OWNER)[-2:]]
    assert steps == [("retired", "1.0.0 -> 1.1.0"), ("published", "1.1.0 -> 1.0.0")]
    assert first.published_at is not None
    with pytest.raises(Conflict) as caught:
        market.move(new, "published")  # forward again means through review again
    assert caught.value.key == "market.not_replaced"


def test_versions_come_back_one_by_one(market: Market) -> None:
    old, middle = two(market)
    new = market.register().id
    market.publish(new)
    with pytest.raises(Conflict):
        market.move(old, "published")
    market.move(middle, "published")
    assert market.move(old, "published").version == "1.0.0"


def test_what_its_owner_took_down_does_not_come_back_by_itself(market: Market) -> None:
    old, new = market.register().id, market.register().id
    market.publish(old)
    market.move(old, "retired")
    with pytest.raises(Conflict):
        market.move(old, "published")
    market.publish(new)
    with pytest.raises(Conflict):
        market.move(old, "published")


def test_nothing_comes_back_around_a_suspension(market: Market) -> None:
    old, new = two(market)
    market.move(new, "suspended", REVIEWER, "Wrong prices")
    with pytest.raises(Conflict):
        market.move(old, "published")


def test_only_the_owner_brings_a_version_back(market: Market) -> None:
    old, _ = two(market)
    colleague = Actor("per_colleague", OWNER.tenant_id, frozenset({"developer"}))
    for who, error in ((colleague, Forbidden), (REVIEWER, Forbidden), (market.other, NotFound)):
        with pytest.raises(error):
            market.move(old, "published", who)
