"""Keys of calls that may be sent again: taken once, freed or kept, forgotten after a day."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from sqlalchemy import text

from engine.kit.clock import now
from engine.kit.database import unit_of_work
from engine.kit.errors import BadInput, Conflict
from engine.serving import replies
from engine.serving.replies import LARGEST, Taken
from engine.serving.schemas import Reply, StillRunning
from engine.wiring import CHORES

ANSWER = Reply(status=200, media_type="application/json", body=b'{"a": "\xe4\xb8\xad"}')


@pytest.fixture(autouse=True)
def database(db: str) -> Iterator[None]:
    yield


def take(key: str = "k", digest: str = "d", tenant: str = "t", until: datetime | None = None) -> Taken:
    with unit_of_work() as uow:
        expires = until or now() + timedelta(minutes=10)
        taken = replies.take(uow, tenant_id=tenant, key=key, digest=digest, expires_at=expires)
    assert taken is not None
    return taken


def keep(taken: Taken, reply: Reply | None = ANSWER) -> None:
    with unit_of_work() as uow:
        replies.keep(uow, taken.id, reply)


def free(taken: Taken) -> None:
    with unit_of_work() as uow:
        replies.free(uow, taken.id)


def age(hours: float) -> None:
    with unit_of_work() as uow:
        for column in ("created_at", "expires_at"):
            change = f"UPDATE serving_replies SET {column} = {column} - make_interval(secs => :secs)"
            uow.execute(text(change), {"secs": hours * 3600})


def test_an_answer_is_given_again_as_it_was_and_only_to_the_same_request() -> None:
    keep(take())
    assert take().reply == ANSWER
    with pytest.raises(Conflict) as refused:
        take(digest="other")
    assert refused.value.key == "serving.reply_key_reused"
    for free_place in ({"tenant": "other"}, {"key": "K"}):
        assert take(**free_place).reply is None


def test_a_running_call_is_waited_for_and_another_request_is_not_told_to() -> None:
    first = take()
    with pytest.raises(StillRunning) as refused:
        take()
    assert (refused.value.status, refused.value.retry_after > 0) == (409, True)
    with pytest.raises(Conflict):
        take(digest="other")
    free(first)
    assert take().id != first.id


def test_of_many_at_once_one_may_run() -> None:
    def one(_: int) -> str | None:
        try:
            return take().id
        except StillRunning:
            return None

    with ThreadPoolExecutor(16) as threads:
        won = [found for found in threads.map(one, range(16)) if found]
    assert len(won) == 1


def test_one_who_comes_late_changes_nothing() -> None:
    first = take()
    free(first)
    second = take()
    free(first)
    keep(first)
    with pytest.raises(StillRunning):
        take()
    keep(second)
    free(second)
    keep(second, Reply(status=500, media_type="x", body=b""))
    assert take().reply == ANSWER


def test_a_call_that_fell_silent_is_said_to_be() -> None:
    first = take(until=now() - timedelta(seconds=1))
    again = take()
    assert (again.id, again.silent, again.reply) == (first.id, True, None)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (None, "serving.reply_lost"),
        (Reply(status=200, media_type="x", body=b"x" * (LARGEST + 1)), "serving.reply_too_large"),
    ],
)
def test_what_was_not_kept_is_refused_and_not_done_again(reply: Reply | None, why: str) -> None:
    keep(take(), reply)
    for _ in range(2):
        with pytest.raises(Conflict) as refused:
            take()
        assert refused.value.key == why


def test_the_largest_answer_is_kept() -> None:
    whole = Reply(status=200, media_type="x", body=b"x" * LARGEST)
    keep(take(), whole)
    assert take().reply == whole


def test_after_a_day_a_key_is_free_also_before_the_chore_has_come() -> None:
    keep(take())
    age(23.9)
    assert take().reply == ANSWER
    age(0.2)
    assert take(digest="other").reply is None


def test_the_chore_forgets_what_is_older_than_a_day() -> None:
    keep(take("old"))
    take("died", until=now() + timedelta(minutes=10))
    age(24.5)
    keep(take("new"))
    chore = next(one for one in CHORES if one.name == "forget answers kept for a retry")
    assert [chore.do(), chore.do()] == [2, 0]
    assert take("new").reply == ANSWER


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", "\x00", "a\tb"])
def test_bad_keys_name_the_header(key: str) -> None:
    with pytest.raises(BadInput) as refused:
        take(key)
    assert refused.value.field == "Idempotency-Key"


def test_long_and_foreign_keys_are_keys() -> None:
    for key in ("x" * 200, "订单 17", "'; DROP TABLE serving_replies; --"):
        keep(take(key))
        assert take(key).reply == ANSWER
