"""The whole product, really running: `mbe up` with a home folder and ports of its own, once for all tests.

Starting vLLM takes most of a minute on two cores, so these tests share one product and leave it as they
found it: whatever they kill must be back before the next one starts.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from engine.kit.settings import REPOSITORY

PATIENCE = 600.0
SAMPLES = REPOSITORY / "data" / "samples"
PRICE = "3.25"
"""Credits per 1,000 tokens in the story; not the price that the demo takes when none is given."""

Story = dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.model)
            item.add_marker(pytest.mark.timeout(1800))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(what: str, check: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until `check` holds; fail naming `what` when it does not in time."""
    deadline = time.monotonic() + patience
    while not check():
        assert time.monotonic() < deadline, f"waited {patience:.0f} s for: {what}"
        time.sleep(0.3)


@dataclass(frozen=True)
class House:
    """A running product: its addresses, its environment, its process."""

    web: str
    gateway: str
    environment: dict[str, str]
    process: subprocess.Popen[bytes]

    @property
    def home(self) -> Path:
        return Path(self.environment["MBE_HOME"])

    def health(self) -> dict[str, str]:
        try:
            return dict(httpx.get(f"{self.gateway}/health", timeout=5).json())
        except httpx.HTTPError:
            return {}

    def enter(self, role: str) -> httpx.Client:
        """Return a client signed in as a starter account."""
        client = httpx.Client(base_url=self.gateway, timeout=120)
        client.post("/auth/continue-as", json={"role": role}).raise_for_status()
        return client

    def descendants(self, words: str) -> list[psutil.Process]:
        """Return the processes of this product whose command line holds `words`."""
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if words in " ".join(process.cmdline()):
                    found.append(process)
            except psutil.NoSuchProcess:
                continue
        return found

    def model_ready(self) -> bool:
        return self.health().get("model_server") == "ready"


def environment(home: Path) -> dict[str, str]:
    """Return an environment in which a product of its own can run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MBE_")}
    return {
        **kept,
        "MBE_HOME": str(home),
        "MBE_WEB_PORT": str(free_port()),
        "MBE_GATEWAY_PORT": str(free_port()),
        "MBE_INFERENCE_PORT": str(free_port()),
        "MBE_JOB_HEARTBEAT_TIMEOUT": "8",
        "PYTHONWARNINGS": "ignore",
    }


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The product, started with the command that people use and ended with the signal of Ctrl-C."""
    settings = environment(tmp_path_factory.mktemp("house"))
    log = Path(settings["MBE_HOME"]) / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "engine.cli", "up"],
            cwd=REPOSITORY,
            env=settings,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    started = House(
        web=f"http://127.0.0.1:{settings['MBE_WEB_PORT']}",
        gateway=f"http://127.0.0.1:{settings['MBE_GATEWAY_PORT']}",
        environment=settings,
        process=process,
    )
    try:
        eventually("the gateway", lambda: bool(started.health()) or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield started
        everything = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    _, left = psutil.wait_procs(everything, timeout=10)
    assert [p.name() for p in left if "postgres" not in p.name()] == [], "Ctrl-C left processes running"


@pytest.fixture(scope="session")
def telling(house: House) -> Iterator[subprocess.Popen[str]]:
    """The demo, told once by the command that people use, beside whatever is tested meanwhile."""
    demo = subprocess.Popen(
        [sys.executable, "-m", "engine.cli", "demo", "--json", "--price", PRICE],
        cwd=REPOSITORY,
        env=house.environment,
        stdout=subprocess.PIPE,
        stderr=(house.home / "demo.log").open("wb"),
        text=True,
    )
    yield demo
    demo.kill()
    demo.wait()


@pytest.fixture(scope="session")
def story(house: House, telling: subprocess.Popen[str]) -> Story:
    """What the demo told; its expert stays published."""
    told, _ = telling.communicate(timeout=1200)
    assert telling.returncode == 0, (house.home / "demo.log").read_text()
    return dict(json.loads(told))


@pytest.fixture
def expert(house: House, story: Story) -> str:
    """The name of a published expert whose model server answers."""
    eventually("the model server", house.model_ready)
    return str(story["published"]["model"])


def start_training(developer: httpx.Client, epochs: int) -> str:
    """Import the English dialogues and start a fine-tuning; returns the job's id."""
    with (SAMPLES / "dialogues.en.jsonl").open("rb") as file:
        dataset = developer.post(
            "/admin/datasets", files={"file": ("dialogues.jsonl", file)}, data={"name": "dialogues"}
        ).json()
    recipe = {"epochs": epochs, "save_seconds": 1}
    started = developer.post(
        "/admin/training/start",
        json={"name": "Killed", "dataset_id": dataset["id"], "preset": "quick", "recipe": recipe},
    )
    started.raise_for_status()
    return str(started.json()["job_id"])


def top_up(consumer: httpx.Client) -> None:
    """Add five credits to the consumer's wallet."""
    consumer.post("/api/wallet/top-up", json={"amount": "5", "key": uuid.uuid4().hex}).raise_for_status()


def ask(consumer: httpx.Client, model: str) -> httpx.Response:
    """Ask a model what customers ask."""
    body = {"model": model, "messages": [{"role": "user", "content": "How long do returns take?"}]}
    return consumer.post("/v1/chat/completions", json=body)
