"""Starter accounts: made once, whoever enters first."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from engine.flows import people, top_up_wallet
from engine.kit.settings import settings


def test_many_who_enter_an_empty_house_at_the_same_moment_share_one_starter_account(db: str) -> None:
    barrier = Barrier(8)

    def enter(_: int) -> str:
        barrier.wait(timeout=30)
        return people.continue_as("developer")[0].id

    with ThreadPoolExecutor(8) as pool:
        entered = set(pool.map(enter, range(8)))
    assert len(entered) == 1


def test_the_starter_developer_can_pay_for_a_first_training_where_there_are_play_credits(
    db: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_CPU_HOUR_MICRO", "1")
    settings.cache_clear()
    for _ in range(2):
        dana, _ = people.continue_as("developer")
        assert top_up_wallet.wallet(dana).balance_micro == people.STARTER_CREDITS
    chen, _ = people.continue_as("consumer")
    assert top_up_wallet.wallet(chen).balance_micro == 0
