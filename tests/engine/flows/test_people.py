"""Starter accounts: made once, whoever enters first."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from engine.flows import people


def test_many_who_enter_an_empty_house_at_the_same_moment_share_one_starter_account(db: str) -> None:
    barrier = Barrier(8)

    def enter(_: int) -> str:
        barrier.wait(timeout=30)
        return people.continue_as("developer")[0].id

    with ThreadPoolExecutor(8) as pool:
        entered = set(pool.map(enter, range(8)))
    assert len(entered) == 1
