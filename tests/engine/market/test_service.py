"""Registration, listings, review, publication, versions, visibility and the catalog."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict, Forbidden, NotFound
from engine.kit.money import CREDIT
from engine.market import service
from engine.market.schemas import SYSTEM, Actor, ExpertView

CONSUMER = Actor("per_consumer", "ten_c", frozenset({"consumer"}))


def by_name(name: str) -> ExpertView:
    with unit_of_work() as uow:
        return service.by_name(uow, name)


def get(expert_id: str, viewer: Actor) -> ExpertView:
    with unit_of_work() as uow:
        return service.get(uow, expert_id, viewer)


def test_an_expert_is_registered_private(market: Any) -> None:
    expert = market.register()
    assert (expert.state, expert.version, expert.name) == ("trained", "1.0.0", "tent-helper")
    assert (expert.owner_id, expert.tenant_id, expert.knowledge_base_ids) == ("per_owner", "ten_a", ["kb_1"])
    assert market.names() == []
    with pytest.raises(NotFound):
        by_name("tent-helper")


def test_a_draft_is_seen_by_its_tenant_reviewers_and_the_platform_only(market: Any) -> None:
    expert = market.register()
    colleague = Actor("per_colleague", "ten_a", frozenset({"consumer"}))
    for viewer in (market.owner, colleague, market.reviewer, SYSTEM):
        assert get(expert.id, viewer) == expert
    for viewer in (market.other, CONSUMER):
        with pytest.raises(NotFound):
            get(expert.id, viewer)
    with pytest.raises(NotFound):
        get("exp_\x00", SYSTEM)


def test_a_published_expert_is_seen_by_all_but_its_history_is_not(market: Any) -> None:
    expert = market.publish(market.register().id)
    assert get(expert.id, CONSUMER) == by_name("tent-helper") == expert
    with unit_of_work() as uow:
        assert service.history(uow, expert.id, market.owner)
        with pytest.raises(NotFound):
            service.history(uow, expert.id, CONSUMER)


def test_a_name_belongs_to_the_tenant_that_took_it(market: Any) -> None:
    market.register()
    with pytest.raises(Conflict) as caught:
        market.register(by=market.other)
    assert caught.value.field == "name"


def test_two_tenants_who_want_one_name_at_once_do_not_both_get_it(market: Any) -> None:
    barrier = Barrier(8)

    def take(number: int) -> str:
        barrier.wait(timeout=30)
        person = Actor(f"per_{number}", f"ten_{number % 2}", frozenset({"developer"}))
        try:
            return str(market.register(by=person).tenant_id)
        except Conflict:
            return ""

    with ThreadPoolExecutor(8) as pool:
        takers = [taker for taker in pool.map(take, range(8)) if taker]
    assert len(takers) == 4 and len(set(takers)) == 1
    with unit_of_work() as uow:
        versions = {one.version for one in service.mine(uow, takers[0])}
    assert versions == {"1.0.0", "1.1.0", "1.2.0", "1.3.0"}


def test_a_free_name_is_ones_own_or_nobodys(market: Any) -> None:
    market.register()
    with unit_of_work() as uow:
        assert service.free_name(uow, "Tent Helper", "ten_a") == "tent-helper"
        assert service.free_name(uow, "Tent Helper", "ten_b") == "tent-helper-2"


def test_the_next_version_starts_from_the_listing_before(market: Any) -> None:
    first = market.register()
    market.describe(first.id)
    second = market.register()
    assert second.version == "1.1.0"
    assert (second.description, second.tags) == (get(first.id, SYSTEM).description, ["tents", "露营"])
    assert (second.input_price_micro, second.state, second.quality) == (CREDIT // 4, "trained", None)
    with unit_of_work() as uow:
        assert [one.id for one in service.mine(uow, "ten_a")] == [second.id, first.id]


def test_versions_count_as_numbers() -> None:
    assert service.next_minor([]) == "1.0.0"
    assert service.next_minor(["1.9.0", "1.10.3", "1.2.0"]) == "1.11.0"
    assert service.next_minor(["1.9.0", "2.0.1"]) == "2.1.0"


def test_publishing_a_version_retires_the_one_before(market: Any) -> None:
    first = market.publish(market.register().id)
    second = market.publish(market.register().id)
    assert by_name("tent-helper").id == second.id
    assert get(first.id, market.owner).state == "retired"
    with unit_of_work() as uow:
        last = service.history(uow, first.id, market.owner)[-1]
    assert (last.from_state, last.to_state, last.by_id) == ("published", "retired", "per_owner")
    assert last.reason == "1.0.0 -> 1.1.0"
    with pytest.raises(NotFound):
        get(first.id, CONSUMER)


def test_versions_published_at_once_leave_one(market: Any) -> None:
    experts = []
    for _ in range(4):
        expert = market.register()
        market.submit(expert.id)
        experts.append(market.move(expert.id, "approved", market.reviewer))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: market.move(one.id, "published"), experts))
    states = sorted(get(one.id, SYSTEM).state for one in experts)
    assert states == ["published", "retired", "retired", "retired"]


def test_a_suspended_expert_leaves_the_market_until_a_reviewer_restores_it(market: Any) -> None:
    expert = market.publish(market.register().id)
    with pytest.raises(BadInput) as caught:
        market.move(expert.id, "suspended", market.reviewer)
    assert caught.value.field == "reason"
    market.move(expert.id, "suspended", market.reviewer, "wrong prices")
    with pytest.raises(NotFound):
        by_name("tent-helper")
    with pytest.raises(Forbidden):
        market.move(expert.id, "published")
    assert market.move(expert.id, "published", market.reviewer).published_at == expert.published_at


def test_restoring_an_old_version_does_not_push_out_a_newer_one(market: Any) -> None:
    first = market.publish(market.register().id)
    market.move(first.id, "suspended", market.reviewer, "unsafe answers")
    second = market.publish(market.register().id)
    with pytest.raises(Conflict):
        market.move(first.id, "published", market.reviewer)
    assert by_name("tent-helper").id == second.id


def test_submitting_needs_a_passed_test_and_a_listing(market: Any) -> None:
    expert = market.register()
    market.test(expert.id, passed=False)
    with pytest.raises(Conflict):
        market.move(expert.id, "pending_review")
    market.test(expert.id)
    with pytest.raises(BadInput) as caught:
        market.move(expert.id, "pending_review")
    assert caught.value.field == "description"
    market.describe(expert.id)
    assert market.move(expert.id, "pending_review").state == "pending_review"


def test_a_new_test_forgets_the_old_result(market: Any) -> None:
    expert = market.register()
    assert market.test(expert.id).quality == {"accuracy": 0.9, "passed": True}
    assert market.move(expert.id, "testing").quality is None
    market.move(expert.id, "tested", SYSTEM)
    market.describe(expert.id)
    with pytest.raises(Conflict):
        market.move(expert.id, "pending_review")


def test_a_test_result_comes_from_the_platform_while_testing(market: Any) -> None:
    expert = market.register()
    with pytest.raises(Conflict), unit_of_work() as uow:
        service.record_quality(uow, expert.id, {}, True, SYSTEM)
    market.move(expert.id, "testing")
    for person in (market.owner, market.reviewer):
        with pytest.raises(Forbidden), unit_of_work() as uow:
            service.record_quality(uow, expert.id, {}, True, person)
    assert get(expert.id, SYSTEM).quality is None


def test_a_listing_is_closed_from_submission_on_and_open_again_after_withdrawal(market: Any) -> None:
    expert = market.register()
    market.submit(expert.id)
    for to, by in ((None, None), ("approved", market.reviewer), ("published", market.owner)):
        if to:
            market.move(expert.id, to, by)
        with pytest.raises(Conflict):
            market.describe(expert.id, input_price="0")
    market.move(expert.id, "retired")
    market.move(expert.id, "tested")
    assert market.describe(expert.id, input_price="0.1").input_price_micro == CREDIT // 10


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", "ab"),
        ("description", "short"),
        ("category", "magic"),
        ("tags", [f"tag {n}" for n in range(9)]),
        ("input_price", "-1"),
        ("output_price", "NaN"),
        ("output_price", "1001"),
        ("example", " "),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_kept(market: Any, field: str, value: object) -> None:
    expert = market.register()
    before = market.describe(expert.id)
    with pytest.raises(BadInput) as caught:
        market.describe(expert.id, **{"description": "Another text that is long enough.", field: value})
    assert caught.value.field == field
    assert get(expert.id, SYSTEM) == before


def test_another_tenant_cannot_touch_a_draft(market: Any) -> None:
    expert = market.register()
    with pytest.raises(NotFound):
        market.describe(expert.id, tenant_id="ten_b")
    with pytest.raises(NotFound):
        market.move(expert.id, "testing", market.other)


def test_the_review_queue_has_the_longest_wait_first(market: Any) -> None:
    first, second = market.register(), market.register("law-helper")
    market.submit(second.id)
    market.submit(first.id)
    with unit_of_work() as uow:
        assert [one.id for one in service.review_queue(uow)] == [second.id, first.id]
    market.move(second.id, "tested")
    market.move(second.id, "pending_review")
    with unit_of_work() as uow:
        assert [one.id for one in service.review_queue(uow)] == [first.id, second.id]


def test_the_history_tells_who_when_and_why(market: Any) -> None:
    expert = market.register()
    market.submit(expert.id)
    market.move(expert.id, "rejected", market.reviewer, "示例不清楚")
    with unit_of_work() as uow:
        steps = service.history(uow, expert.id, market.owner)
    assert [(step.from_state, step.to_state, step.by_id) for step in steps] == [
        (None, "trained", "per_owner"),
        ("trained", "testing", "per_owner"),
        ("testing", "tested", "system"),
        ("tested", "pending_review", "per_owner"),
        ("pending_review", "rejected", "per_reviewer"),
    ]
    assert steps[-1].reason == "示例不清楚"
    assert [step.at for step in steps] == sorted(step.at for step in steps)


def test_a_search_finds_every_word_in_both_languages(market: Any) -> None:
    market.publish(market.register().id)
    chinese = market.register("law-helper", title="合同顾问")
    market.publish(
        chinese.id,
        title="合同顾问",
        description="回答关于租房合同和押金的常见问题，引用条款原文作答。",
        category="legal",
        tags=["100%", "合同"],
    )
    for search, found in {
        "tent": ["tent-helper"],
        "SLEEPING bags": ["tent-helper"],
        "露营": ["tent-helper"],
        "押金": ["law-helper"],
        "合同 租房": ["law-helper"],
        "law-": ["law-helper"],
        "100%": ["law-helper"],
        "tent 合同": [],
        "%": ["law-helper"],
        "_": [],
        "\\": [],
        '"': [],
        "magic\x00": [],
    }.items():
        assert market.names(search=search) == found, search
    assert market.names(category="legal") == ["law-helper"]
    assert market.names(category="health") == []
    for wish in ({"category": "magic"}, {"sort": "best"}):
        with pytest.raises(BadInput):
            market.names(**wish)


def test_the_catalog_sorts_by_age_use_and_price(market: Any) -> None:
    ids = {}
    for name, price in (("first-one", "0.2"), ("second-one", "0.1"), ("third-one", "0.3")):
        ids[name] = market.publish(market.register(name).id, input_price=price).id
    with unit_of_work() as uow:
        service.count_uses(uow, {ids["first-one"]: (1, 40), ids["third-one"]: (1, 500)})
        service.count_uses(uow, {ids["first-one"]: (1, 2)})
    assert market.names() == ["third-one", "second-one", "first-one"]
    assert market.names(sort="popular") == ["first-one", "third-one", "second-one"]
    assert market.names(sort="price") == ["second-one", "first-one", "third-one"]
    assert (by_name("first-one").calls, by_name("first-one").tokens) == (2, 42)


def test_an_unknown_name_is_answered_with_near_ones(market: Any) -> None:
    market.publish(market.register().id)
    market.register("tent-healer")
    with pytest.raises(NotFound) as caught:
        by_name("Tent-Helpr")
    assert caught.value.facts["near"] == "tent-helper"
    for name in ("quantum", "a\x00b", "", "x" * 500):
        with pytest.raises(NotFound) as caught:
            by_name(name)
        assert "near" not in caught.value.facts
