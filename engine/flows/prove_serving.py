"""Whether the served adapter says what the trained one said: the same tokens, as likely."""

import asyncio
import time
from collections.abc import Sequence

from engine.inference import pool, state
from engine.inference.launch import choose_backend, has_cuda
from engine.inference.schemas import TokenScore
from engine.kit.errors import EngineError
from engine.kit.logs import logger
from engine.kit.settings import settings
from engine.training.schemas import Probe, Serving
from engine.training.tasks import JobContext

PATIENCE = 120.0
"""Seconds that a finished training waits for the model server."""
TOLERANCE = {"float32": 0.01, "bfloat16": 0.25}
"""Largest difference of a token's log-probability (nats) that counts as the same, by precision."""


def prove(ctx: JobContext, adapter_prefix: str, precision: str, probes: Sequence[Probe]) -> Serving:
    """Ask the model server how likely the trained model's own answers are to the adapter it serves.

    "unchecked" where the server cannot tell or does not answer in time: a training is worth keeping all
    the same.
    """
    if not probes or settings().inference == "fake" or choose_backend() != "vllm":
        return Serving(state="unchecked")
    ctx.report(message="comparing with the served model")
    deadline = time.monotonic() + PATIENCE
    while not state.answers():
        ctx.check_stop()
        if time.monotonic() > deadline:
            return Serving(state="unchecked")
        time.sleep(1)
    try:
        scores = asyncio.run(_scores(adapter_prefix, probes))
    except EngineError as error:
        logger(__name__).warning("served adapter was not compared", reason=str(error))
        return Serving(state="unchecked")
    coarser = "bfloat16" if has_cuda() else precision  # the server takes what its device is best at
    return compared(probes, scores, TOLERANCE[coarser])


async def _scores(adapter_prefix: str, probes: Sequence[Probe]) -> list[list[TokenScore]]:
    served = pool.pool()
    return [(await served.score(adapter_prefix, probe.ids))[probe.start :] for probe in probes]


def compared(probes: Sequence[Probe], scores: Sequence[Sequence[TokenScore]], tolerance: float) -> Serving:
    """Return how far served scores are from trained ones, token by token of all answers.

    A token counts as another one when the served model would have chosen differently there, unless both
    choices are as likely within the tolerance.
    """
    tokens = others = 0
    largest = 0.0
    for probe, served in zip(probes, scores, strict=True):
        for trained, score in zip(probe.logprobs, served, strict=True):
            tokens += 1
            largest = max(largest, abs(trained - score.logprob))
            others += score.rank > 1 and score.best - score.logprob > tolerance
    same = not others and largest <= tolerance
    return Serving(
        state="same" if same else "differs", tokens=tokens, others=others, largest=round(largest, 6)
    )
