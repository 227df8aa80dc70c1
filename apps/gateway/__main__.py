"""`python -m apps.gateway`: serve the API."""

import gc
import sys

import uvicorn

from apps.gateway.app import create_app
from engine.kit import logs
from engine.kit.process import supervised
from engine.kit.settings import settings

if __name__ == "__main__":
    supervised()
    sys.setswitchinterval(0.0005)
    logs.configure("gateway")
    app = create_app()
    # What is there now stays: to look through it again and again took more time than answering.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    uvicorn.run(
        app,
        host=settings().host,
        port=settings().gateway_port,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # an address that the caller names proves nothing
        timeout_graceful_shutdown=5,
    )
