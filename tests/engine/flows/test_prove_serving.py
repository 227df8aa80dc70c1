import pytest

from engine.flows.prove_serving import TOLERANCE, compared, prove
from engine.inference.schemas import TokenScore
from engine.kit.settings import settings
from engine.training.schemas import Probe

PROBE = Probe(ids=[5, 6, 7, 8], start=2, logprobs=[-0.1, -0.5])


def score(logprob: float, rank: int = 1, best: float | None = None) -> TokenScore:
    return TokenScore(logprob=logprob, rank=rank, best=logprob if best is None else best)


def test_equal_scores_are_the_same() -> None:
    found = compared([PROBE, PROBE], [[score(-0.1), score(-0.5)], [score(-0.1001), score(-0.5)]], 0.01)
    assert (found.state, found.tokens, found.others) == ("same", 4, 0)
    assert found.largest == pytest.approx(0.0001)


def test_another_choice_or_another_likelihood_differs() -> None:
    other = compared([PROBE], [[score(-0.1), score(-0.5, rank=2, best=-0.2)]], 0.01)
    assert (other.state, other.others) == ("differs", 1)
    far = compared([PROBE], [[score(-0.3), score(-0.5)]], 0.01)
    assert (far.state, far.others, far.largest) == ("differs", 0, pytest.approx(0.2))


def test_a_tie_is_not_another_choice() -> None:
    assert compared([PROBE], [[score(-0.1), score(-0.5, rank=2, best=-0.495)]], 0.01).state == "same"
    assert TOLERANCE["float32"] < TOLERANCE["bfloat16"]


def test_without_a_server_that_can_tell_nothing_is_claimed(
    home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MBE_INFERENCE", "fake")
    settings.cache_clear()
    assert prove(None, "adapters/x", "float32", [PROBE]).state == "unchecked"  # type: ignore[arg-type]
    assert prove(None, "adapters/x", "float32", []).state == "unchecked"  # type: ignore[arg-type]
