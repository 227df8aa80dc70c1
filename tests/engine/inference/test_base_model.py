"""Finding the base model, with a stand-in hub for what would come over the network."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.inference import base_model
from engine.kit.errors import BadInput, NotFound
from engine.kit.settings import REPOSITORY

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(ThreadingHTTPServer):
    """A hub with repositories in memory: name -> file name -> bytes. `asked` keeps the paths."""

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.asked: list[str] = []
        self.broken = ""  # a file that cannot be had at the moment
        super().__init__(("127.0.0.1", 0), _HubHandler)


class _HubHandler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        self.server.asked.append(path)
        for name, files in self.server.repositories.items():
            if path in (f"/api/models/{name}", f"/api/models/{name}/revision/main"):
                siblings = [{"rfilename": file} for file in files]
                return self._send(json.dumps({"id": name, "sha": COMMIT, "siblings": siblings}).encode())
            if path.startswith(f"/api/models/{name}/tree/"):
                tree = [{"type": "file", "path": f, "size": len(b), "oid": "x"} for f, b in files.items()]
                return self._send(json.dumps(tree).encode())
            for revision in (COMMIT, "main"):
                file = path.removeprefix(f"/{name}/resolve/{revision}/")
                if file != path and file == self.server.broken:
                    return self._send(b"{}", status=403)
                if file != path and file in files:
                    return self._send(files[file])
        self._send(b"{}", status=404, **{"X-Error-Code": "RepoNotFound"})

    def _send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        named = {
            "Content-Length": str(len(body)),
            "Content-Type": "application/json",
            "ETag": f'"{hashlib.sha1(body).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            **headers,
        }
        for name, value in named.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def resolve_elsewhere(name: str, home: Path, endpoint: str) -> dict[str, Any]:
    """Resolve in a process of its own: the hub's client reads its endpoint when it is imported."""
    script = """if True:
        import json, sys
        from engine.inference import base_model
        from engine.kit.errors import EngineError
        try:
            folder = base_model.resolve(sys.argv[1])
            print(json.dumps({"folder": str(folder), "files": sorted(p.name for p in folder.iterdir())}))
        except EngineError as error:
            print(json.dumps({"error": error.key, "status": error.status}))
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MBE_", "HF_"))}
    environment |= {
        "MBE_HOME": str(home),
        "HF_ENDPOINT": endpoint,
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(home / "hf"),
    }
    done = subprocess.run(
        [sys.executable, "-c", script, name],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_hub_model_is_fetched_once_without_what_could_run_code(
    hub: Hub, home: Path, tiny: dict[str, Path]
) -> None:
    extra = {"pytorch_model.bin": b"pickle", "modeling.py": b"import os", "README.md": b"hello"}
    hub.repositories["org/tiny"] = {**files_of(tiny["base"]), **extra}
    url = f"http://127.0.0.1:{hub.server_address[1]}"
    first = resolve_elsewhere("org/tiny", home, url)
    assert first["files"] == sorted(files_of(tiny["base"]))
    assert Path(first["folder"]).is_relative_to(home / "models")
    assert Path(first["folder"], "model.safetensors").stat().st_size > 1_000_000
    hub.asked.clear()
    assert resolve_elsewhere("org/tiny", home, url) == first
    assert hub.asked == []


def test_an_interrupted_download_goes_on(hub: Hub, home: Path, tiny: dict[str, Path]) -> None:
    whole = files_of(tiny["base"])
    hub.repositories["org/tiny"] = whole
    hub.broken = "model.safetensors"
    url = f"http://127.0.0.1:{hub.server_address[1]}"
    assert resolve_elsewhere("org/tiny", home, url)["error"] == "inference.hub_unreachable"
    hub.broken = ""
    assert resolve_elsewhere("org/tiny", home, url)["files"] == sorted(whole)


def test_what_the_hub_does_not_have_or_we_cannot_use_is_said_plainly(hub: Hub, home: Path) -> None:
    hub.repositories["org/pickled"] = {"config.json": b"{}", "pytorch_model.bin": b"pickle"}
    url = f"http://127.0.0.1:{hub.server_address[1]}"
    assert resolve_elsewhere("org/nobody", home, url) == {"error": "inference.no_such_model", "status": 404}
    refused = resolve_elsewhere("org/pickled", home, url)
    assert refused == {"error": "inference.no_safetensors", "status": 400}
    assert not any(path.endswith("pytorch_model.bin") for path in hub.asked)


def test_a_hub_that_does_not_answer(home: Path, free_port: int) -> None:
    answer = resolve_elsewhere("org/tiny", home, f"http://127.0.0.1:{free_port}")
    assert answer == {"error": "inference.hub_unreachable", "status": 502}


def test_a_folder_is_taken_as_it_is(home: Path, tiny: dict[str, Path]) -> None:
    assert base_model.resolve(str(tiny["base"])) == tiny["base"].resolve()
    assert base_model.context_length(tiny["base"]) == 512


def test_the_parts_an_adapter_may_change_have_the_names_of_what_vllm_joins(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text("{}")
    assert base_model.lora_modules(tmp_path) == []
    parts = ["self_attn.q_proj", "self_attn.k_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"]
    config.write_text(json.dumps({"lora_modules": [f"model.layers.5.{part}" for part in parts]}))
    joined = ["mlp.down_proj", "mlp.gate_up_proj", "self_attn.qkv_proj"]
    assert base_model.lora_modules(tmp_path) == [f"model.layers.5.{part}" for part in joined]


@pytest.mark.parametrize("name", ["", "nowhere", "../../etc", "a/b/c", "/no/such/folder", "http://x/y"])
def test_a_name_that_is_nothing_is_not_found(home: Path, name: str) -> None:
    with pytest.raises(NotFound):
        base_model.resolve(name or "./no-such")


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ({}, NotFound),
        ({"config.json": "{}"}, BadInput),
        ({"config.json": "{}", "model.safetensors": "", "tokenizer_config.json": "{}"}, BadInput),
    ],
)
def test_a_folder_that_cannot_be_served(
    home: Path, tmp_path: Path, files: dict[str, str], error: type[Exception]
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(error):
        base_model.resolve(str(folder))


def test_the_starter_is_named(home: Path, monkeypatch: pytest.MonkeyPatch, tiny: dict[str, Path]) -> None:
    monkeypatch.setattr(base_model, "STARTER", tiny["base"])
    assert base_model.resolve("starter") == tiny["base"]
