"""The fallback server end to end: a real process, a tiny model, two adapters."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from engine.inference.client import ModelClient
from engine.inference.errors import ModelMissing, PromptTooLong
from engine.inference.schemas import Delta
from engine.kit.errors import UpstreamFailed
from engine.kit.prompts import Message
from engine.kit.settings import REPOSITORY

pytestmark = pytest.mark.model

QUESTION: list[Message] = [{"role": "user", "content": "When does the shop open? 几点开门？"}]


@dataclass
class Served:
    url: str
    process: subprocess.Popen[bytes]

    @property
    def client(self) -> ModelClient:
        return ModelClient(self.url, running_usage=True)


@pytest.fixture(scope="module")
def served(tiny: dict[str, Path]) -> Iterator[Served]:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "engine.inference.fallback", "--model", str(tiny["base"])]
    command += ["--port", str(port), "--max-model-len", "512"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=REPOSITORY, env=environment)
    served = Served(f"http://127.0.0.1:{port}", process)
    try:
        deadline = time.monotonic() + 120
        while not asyncio.run(served.client.probe("base")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.3)
        for name in ("left", "right"):
            asyncio.run(served.client.load_adapter(name, tiny[name]))
        yield served
    finally:
        process.kill()
        process.wait()


def greedy(served: Served, model: str, **params: Any) -> list[Delta]:
    async def listen() -> list[Delta]:
        stream = served.client.stream(
            model, QUESTION, **{"max_tokens": 16, "temperature": 0.0, "seed": 1, **params}
        )
        return [delta async for delta in stream]

    return asyncio.run(listen())


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas)


def test_each_adapter_has_its_own_voice_in_any_order(served: Served) -> None:
    first = {name: text_of(greedy(served, name)) for name in ("base", "left", "right")}
    again = {name: text_of(greedy(served, name)) for name in ("right", "base", "left")}
    assert len(set(first.values())) == 3
    assert first == again


@pytest.mark.parametrize("name", ["base", "left", "right"])
def test_an_answer_is_what_peft_alone_would_say(served: Served, tiny: dict[str, Path], name: str) -> None:
    assert text_of(greedy(served, name)) == own_answer(tiny, name, max_new_tokens=16)


def test_whole_and_streamed_answers_agree_on_text_and_counts(served: Served) -> None:
    streamed = greedy(served, "left")
    whole = asyncio.run(served.client.complete("left", QUESTION, max_tokens=16, temperature=0.0))
    assert whole.text == text_of(streamed)
    assert whole.usage == streamed[-1].usage
    assert whole.usage is not None and whole.usage.completion_tokens == 16
    assert whole.finish_reason == "length"
    counts = [d.usage.completion_tokens for d in streamed if d.usage]
    assert counts == sorted(counts)


def test_a_stop_text_ends_the_answer_and_is_not_shown(served: Served) -> None:
    full = text_of(greedy(served, "base"))
    stop = full[5:8]
    cut = greedy(served, "base", stop=[stop])
    assert text_of(cut) == full[: full.index(stop)]
    assert [d.finish_reason for d in cut if d.finish_reason] == ["stop"]


def test_a_seed_repeats_a_sampled_answer(served: Served) -> None:
    sampled = [text_of(greedy(served, "base", temperature=1.0, seed=seed)) for seed in (5, 5, 6)]
    assert sampled[0] == sampled[1] != sampled[2]


def test_an_unknown_model_and_a_long_prompt_are_told_apart(served: Served) -> None:
    with pytest.raises(ModelMissing):
        greedy(served, "nobody")
    long: list[Message] = [{"role": "user", "content": "word " * 600}]
    with pytest.raises(PromptTooLong):
        asyncio.run(served.client.complete("base", long, max_tokens=4))


def test_requests_that_make_no_sense_get_openai_shaped_errors(served: Served) -> None:
    for body in ({"model": "base", "messages": []}, {"model": "base", "messages": QUESTION, "max_tokens": 0}):
        answer = httpx.post(f"{served.url}/v1/chat/completions", json=body)
        assert answer.status_code == 400
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_adapters_come_and_go(served: Served, tiny: dict[str, Path], tmp_path: Path) -> None:
    client = served.client
    asyncio.run(client.load_adapter("left", tiny["left"]))  # loaded before: no error
    asyncio.run(client.load_adapter("third.with-dots", tiny["left"]))
    assert "third.with-dots" in asyncio.run(client.models())
    assert text_of(greedy(served, "third.with-dots")) == text_of(greedy(served, "left"))
    for _ in range(2):  # gone before: no error
        asyncio.run(client.unload_adapter("third.with-dots"))
    with pytest.raises(ModelMissing):
        greedy(served, "third.with-dots")
    with pytest.raises(UpstreamFailed):
        asyncio.run(client.load_adapter("empty", tmp_path))
    assert text_of(greedy(served, "left"))


def test_a_reader_who_leaves_stops_the_model(served: Served) -> None:
    async def leave_early() -> float:
        stream = served.client.stream("base", QUESTION, max_tokens=450, temperature=0.0)
        async with aclosing(stream) as answer:  # type: ignore[type-var]
            await anext(answer)
        started = time.monotonic()
        await served.client.complete("base", QUESTION, max_tokens=1, temperature=0.0)
        return time.monotonic() - started

    started = time.monotonic()
    greedy(served, "base", max_tokens=450)
    full = time.monotonic() - started
    # Answers are made one at a time: had the first gone on, the second would have waited for it.
    assert asyncio.run(leave_early()) < max(0.3, full / 2)
    assert psutil.pid_exists(served.process.pid)


def own_answer(tiny: dict[str, Path], name: str, max_new_tokens: int) -> str:
    """Return the greedy answer of transformers and PEFT, without any server."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny["base"])
    model: Any = AutoModelForCausalLM.from_pretrained(tiny["base"], dtype=torch.float32)
    if name != "base":
        model = PeftModel.from_pretrained(model, str(tiny[name]))
    batch: Any = tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.eval().generate(**batch, max_new_tokens=max_new_tokens, do_sample=False)
    return str(tokenizer.decode(made[0, batch["input_ids"].shape[1] :], skip_special_tokens=True))
