"""What our gateway is measured against: a bare pass-through, and LiteLLM's proxy.

`python -m benchmarks.gateway_rivals --port P --upstream URL` is the bare pass-through: Starlette on uvicorn
(one process, uvloop, httptools) handing requests to aiohttp and answers back, streams as they come. No keys,
no ledger, no limits: what any gateway in Python pays before it does anything.

LiteLLM is installed from PyPI into an environment of its own, at a pinned version, and runs as its
documentation has it for production: one process on uvicorn, one model, a master key that it checks, quiet.
Three parts that its `proxy` extra leaves out are installed as well: without Prisma's client and
OpenTelemetry, which its other extras have, it tries in vain to import them at every request, and with
httptools it reads HTTP as fast as the others here.

What its "spend tracking" is here: LiteLLM counts spend in full only with a database, which it reaches through
Prisma. Prisma's query engine is a binary that no package contains; it is downloaded on first use from its
maker's host, which a machine without the open internet cannot reach. So:

- without spend tracking (`spend=False`) it checks the key and passes on. It works out the price of each
  answer for its logs even so;
- with it (`spend=True`) LiteLLM's own tracker, which it would register itself had it a database, is
  registered as a callback: for each answer it builds the row of the spend log, and counts the spend of key,
  user and provider in memory. A budget per provider, which needs no database, is checked as well.

Not measured: virtual keys and their budgets, looking them up, and writing anything anywhere. Nothing of it
survives a crash. LiteLLM with a database does all that this one does, and more: these figures flatter it.
"""

import argparse
import json
import shutil
import subprocess
import sys
import venv
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.gateway_processes import UNDER_TEST, Server, free_port, serve
from engine.kit.settings import REPOSITORY

# The newest whose proxy extra can be installed: later ones name parts that PyPI does not have.
LITELLM = "1.105.7"
ENVIRONMENT = REPOSITORY / "var" / "bench" / "litellm-venv"
PARTS = (f"litellm[proxy]=={LITELLM}", "prisma==0.15.0", "opentelemetry-sdk==1.45.1", "httptools==0.9.0")
INSTALL_WITHIN = 1_200  # seconds
MASTER_KEY = "sk-benchmark"
TRACKER = '''"""LiteLLM's own spend tracker, which it registers by itself only where it has a database."""

from litellm.proxy.hooks.proxy_track_cost_callback import _ProxyDBLogger

tracker = _ProxyDBLogger()
'''
# Nothing calls home: prices, headers and news come from the package, and there is no telemetry to begin with.
OFFLINE = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    "LITELLM_LOCAL_BLOG_POSTS": "True",
    "LITELLM_OFFLINE_MODE": "true",
    "DISABLE_ADMIN_UI": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
}


class Unavailable(Exception):
    """A rival that cannot be had here."""


@contextmanager
def start_bare(home: Path, upstream: str) -> Iterator[Server]:
    """Run the bare pass-through until the block ends."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.gateway_rivals", "--port", str(port), "--upstream", upstream]
    with serve(
        command, url=f"http://127.0.0.1:{port}", log=home / f"bare-{port}.log", place=UNDER_TEST
    ) as server:
        yield server


@contextmanager
def start_litellm(home: Path, upstream: str, spend: bool) -> Iterator[Server]:
    """Run LiteLLM's proxy until the block ends, installing it first where need be; raises Unavailable."""
    program = installed_litellm()
    port = free_port()
    folder = home / f"litellm-{port}"
    folder.mkdir()
    config = folder / "config.yaml"
    # JSON is YAML.
    config.write_text(json.dumps(litellm_config(upstream, spend), indent=1), "utf-8")
    if spend:
        (folder / "spend.py").write_text(TRACKER, "utf-8")
    command = [str(program), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
    # A home of its own, so that nothing is read from or left in the person's.
    env = OFFLINE | {"HOME": str(folder), "NUM_WORKERS": "1"}
    with serve(
        command,
        url=f"http://127.0.0.1:{port}",
        log=folder / "litellm.log",
        ready="/health/liveliness",
        keys=(MASTER_KEY,),
        env=env,
    ) as server:
        yield server


def litellm_config(upstream: str, spend: bool) -> dict[str, Any]:
    """Return LiteLLM's configuration: one model with a price."""
    deployment = {
        "model": "openai/base",
        "api_base": f"{upstream}/v1",
        "api_key": "none",
        "input_cost_per_token": 1e-6,
        "output_cost_per_token": 2e-6,
    }
    config: dict[str, Any] = {
        "model_list": [{"model_name": "base", "litellm_params": deployment}],
        "general_settings": {"master_key": MASTER_KEY},
        "litellm_settings": {"num_retries": 0, "request_timeout": 60},
        "router_settings": {"num_retries": 0},
    }
    if spend:
        config["litellm_settings"]["callbacks"] = ["spend.tracker"]
        budget = {"openai": {"budget_limit": 1e9, "time_period": "1d"}}
        config["router_settings"]["provider_budget_config"] = budget
    return config


def installed_litellm() -> Path:
    """Return LiteLLM's program, at the pinned version; raises Unavailable when it cannot be installed."""
    program, done = ENVIRONMENT / "bin" / "litellm", ENVIRONMENT / "installed"
    if program.exists() and done.exists() and done.read_text("utf-8") == "\n".join(PARTS):
        return program
    shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    venv.create(ENVIRONMENT, with_pip=True)
    pip = [str(ENVIRONMENT / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    try:
        subprocess.run(
            [*pip, "install", *PARTS],
            check=True,
            capture_output=True,
            text=True,
            timeout=INSTALL_WITHIN,
        )
    except subprocess.SubprocessError as error:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
        raise Unavailable(f"LiteLLM {LITELLM} cannot be installed") from error
    done.write_text("\n".join(PARTS), "utf-8")
    return program


def pass_through(upstream: str) -> Any:
    """Return the bare pass-through as an application."""
    import aiohttp
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            app.state.session = session
            yield

    async def hand_on(request: Request) -> Response:
        asked = await request.app.state.session.request(
            request.method,
            upstream + request.url.path,
            data=await request.body(),
            headers={"content-type": request.headers.get("content-type", "application/json")},
        )
        kind = asked.headers.get("content-type", "")
        if not kind.startswith("text/event-stream"):
            async with asked:
                return Response(await asked.read(), asked.status, media_type=kind)

        async def pieces() -> AsyncIterator[bytes]:
            # A client that leaves ends this generator, and with it the upstream's connection.
            async with asked:
                async for piece in asked.content.iter_any():
                    yield piece

        return StreamingResponse(pieces(), asked.status, media_type=kind)

    return Starlette(routes=[Route("/{path:path}", hand_on, methods=["GET", "POST"])], lifespan=lifespan)


def main() -> None:
    """Run the bare pass-through."""
    import uvicorn

    parser = argparse.ArgumentParser(description="A bare pass-through to an OpenAI-compatible server.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True, help="http://127.0.0.1:PORT")
    options = parser.parse_args()
    uvicorn.run(
        pass_through(options.upstream.rstrip("/")),
        host="127.0.0.1",
        port=options.port,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=60,
    )


if __name__ == "__main__":
    main()
