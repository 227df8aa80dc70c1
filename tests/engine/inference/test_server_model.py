"""The real vLLM under its supervisor: one server for all tests here, about a minute to start."""

import asyncio
import hashlib
import importlib.util
import os
import signal
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

from engine.inference import process, state
from engine.inference.adapters import Exact, adapter_name
from engine.inference.client import ModelClient
from engine.inference.errors import PromptTooLong
from engine.inference.pool import ModelPool
from engine.kit import blobs
from engine.kit.prompts import Message
from engine.kit.settings import REPOSITORY, settings

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]

QUESTION: list[Message] = [{"role": "user", "content": "When does the shop open? 几点开门？"}]
START_SECONDS = 400


@dataclass
class Served:
    environment: dict[str, str]
    supervisor: subprocess.Popen[bytes]
    url: str

    def pool(self) -> ModelPool:
        return ModelPool(ModelClient(self.url, running_usage=True))

    def wait_until(self, wanted: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while (now := state.status()).state != wanted:
            assert self.supervisor.poll() is None and time.monotonic() < deadline, now
            time.sleep(0.2)


def forget() -> None:
    blobs.blobs.cache_clear()
    settings.cache_clear()


@pytest.fixture(scope="module")
def server(tiny: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if not importlib.util.find_spec("vllm"):
        pytest.skip("vLLM is not installed")
    port = free_port()
    environment = {
        "MBE_HOME": str(tmp_path_factory.mktemp("home")),
        "MBE_INFERENCE": "vllm",
        "MBE_INFERENCE_PORT": str(port),
        "MBE_BASE_MODEL": str(tiny["base"]),
    }
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "engine.inference.serve"], cwd=REPOSITORY, env={**os.environ, **environment}
    )
    yield Served(environment, supervisor, f"http://127.0.0.1:{port}")
    supervisor.terminate()
    try:
        supervisor.wait(20)
    finally:
        supervisor.kill()


@pytest.fixture
def served(server: Served, tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The server, ready, with this process pointed at its home and two adapters in its store."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    forget()
    for name in ("left", "right"):
        blobs.blobs().upload_folder(f"adapters/{name}", tiny[name])
    server.wait_until("ready")
    yield server
    forget()


def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def say(pool: ModelPool, prefix: str | None) -> str:
    stream = pool.open_stream(prefix, QUESTION, max_tokens=16, temperature=0.0)
    return "".join([delta.text async for delta in stream])


def test_adapters_speak_differently_and_like_peft_alone(served: Served, tiny: dict[str, Path]) -> None:
    pool = served.pool()
    names = {part: asyncio.run(pool.ensure(prefix)) for part, prefix in PREFIXES.items()}
    ids = {part: served_ids(served.url, name) for part, name in names.items()}
    assert ids["base"] != ids["left"] != ids["right"] != ids["base"]
    assert ids == {part: own_ids(tiny, part) for part in PREFIXES}


def test_each_piece_tells_the_count_so_far(served: Served) -> None:
    async def listen() -> list[Any]:
        return [d async for d in served.pool().open_stream("adapters/left", QUESTION, max_tokens=8)]

    deltas = asyncio.run(listen())
    counts = [d.usage.completion_tokens for d in deltas if d.usage]
    assert counts == sorted(counts) and counts[-1] == 8
    assert [d.finish_reason for d in deltas if d.finish_reason] == ["length"]


def test_two_processes_loading_one_adapter_do_not_disturb_each_other(served: Served) -> None:
    async def both() -> list[str]:
        return await asyncio.gather(*(say(served.pool(), "adapters/right") for _ in range(4)))

    assert len(set(asyncio.run(both()))) == 1


def test_what_is_written_again_is_answered_anew_and_what_is_too_much_let_go(
    served: Served, tiny: dict[str, Path]
) -> None:
    pool, spoken = served.pool(), {}
    for part in ("left", "right"):
        files = {name: tiny[part] / name for name in ("adapter_config.json", "adapter_model.safetensors")}
        blobs.blobs().upload_folder("checkpoints/run/step-1", tiny[part])
        config, weights = (hashlib.sha256(path.read_bytes()).hexdigest() for path in files.values())
        again = Exact(prefix="checkpoints/run/step-1", config=config, weights=weights)
        spoken[part] = served_ids(served.url, asyncio.run(pool.ensure(again)))
    assert spoken == {part: own_ids(tiny, part) for part in spoken}
    client = ModelClient(served.url)
    name = adapter_name(again)
    for _ in range(2):
        asyncio.run(client.unload_adapter(name))
    assert name not in asyncio.run(client.models())
    asyncio.run(say_exactly(pool, again))
    assert name in asyncio.run(client.models())


async def say_exactly(pool: ModelPool, adapter: Exact) -> str:
    stream = pool.open_stream(adapter, QUESTION, max_tokens=16, temperature=0.0)
    return "".join([delta.text async for delta in stream])


def test_a_reader_who_leaves_stops_the_model(served: Served) -> None:
    async def leave_early() -> None:
        stream = served.pool().open_stream(None, QUESTION, max_tokens=450, temperature=0.0)
        async with aclosing(stream) as answer:  # type: ignore[type-var]
            await anext(answer)

    before = metric(served.url, "vllm:generation_tokens_total{")
    asyncio.run(leave_early())
    deadline = time.monotonic() + 10
    while metric(served.url, "vllm:num_requests_running{") > 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    made = metric(served.url, "vllm:generation_tokens_total{") - before
    assert 0 < made < 450  # asked for 450: it ended before its end
    time.sleep(0.5)
    assert metric(served.url, "vllm:generation_tokens_total{") - before == made


@pytest.mark.parametrize(("words", "most"), [(600, 4), (100, 2000)])
def test_a_prompt_beyond_the_context_is_told_apart(served: Served, words: int, most: int) -> None:
    long: list[Message] = [{"role": "user", "content": "word " * words}]
    client = ModelClient(served.url)
    with pytest.raises(PromptTooLong):
        asyncio.run(client.complete("base", long, max_tokens=most))

    async def listen() -> None:
        async for _ in client.stream("base", long, max_tokens=most):
            pass

    with pytest.raises(PromptTooLong):
        asyncio.run(listen())


def test_a_killed_server_comes_back_and_its_adapters_with_it(served: Served) -> None:
    pool = served.pool()
    before = asyncio.run(say(pool, "adapters/left"))
    mark = (state.read() or {})["child"]
    old = {member.pid for member in process.members(mark)}
    assert len(old) > 1  # the engine has processes of its own
    os.kill(int(mark[0]), signal.SIGKILL)
    served.wait_until("restarting")
    served.wait_until("ready")
    assert not old & set(psutil.pids())
    assert asyncio.run(say(pool, "adapters/left")) == before  # the same pool, which had it loaded before


PREFIXES = {"base": None, "left": "adapters/left", "right": "adapters/right"}


def metric(url: str, start: str) -> float:
    lines = httpx.get(f"{url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(start))


def served_ids(url: str, model: str) -> list[int]:
    body = {
        "model": model,
        "messages": QUESTION,
        "max_tokens": 16,
        "temperature": 0,
        "return_token_ids": True,
    }
    answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
    return [int(token) for token in answer["choices"][0]["token_ids"]]


def own_ids(tiny: dict[str, Path], part: str) -> list[int]:
    """Return the greedy answer of transformers and PEFT, without any server."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(tiny["base"])
    model: Any = AutoModelForCausalLM.from_pretrained(tiny["base"], dtype=torch.float32)
    if part != "base":
        model = PeftModel.from_pretrained(model, str(tiny[part]))
    batch: Any = tokenizer.apply_chat_template(
        QUESTION, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    made = model.eval().generate(**batch, max_new_tokens=16, do_sample=False)
    return [int(token) for token in made[0, batch["input_ids"].shape[1] :]]


def test_scores_are_those_of_peft_alone_and_tell_adapters_apart(
    served: Served, tiny: dict[str, Path]
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from engine.flows.prove_serving import compared
    from engine.training.probes import probes

    base = AutoModelForCausalLM.from_pretrained(tiny["base"])
    model = PeftModel.from_pretrained(base, tiny["left"])
    asked = [{"prompt": [{"role": "user", "content": text}]} for text in ("几点开门？", "When? " * 9)]
    said = probes(model, AutoTokenizer.from_pretrained(tiny["base"]), asked)
    assert len(said) == 2 and all(probe.logprobs for probe in said)
    found = {}
    for part in ("left", "right"):
        pool = served.pool()

        async def scores(pool: ModelPool = pool, prefix: str | None = PREFIXES[part]) -> list[Any]:
            assert prefix
            return [(await pool.score(prefix, probe.ids))[probe.start :] for probe in said]

        found[part] = compared(said, asyncio.run(scores()), 0.01)
    assert found["left"].state == "same" and found["left"].tokens == sum(len(p.logprobs) for p in said)
    assert found["right"].state == "differs"
