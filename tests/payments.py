"""A stand-in for a payment provider: takes checkouts over HTTP and signs what it tells of them."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from engine.billing.payments import sign
from engine.kit.clock import now

SECRET = "shared-with-the-provider"


@dataclass
class Provider:
    """What the stand-in holds. `broken` is the status that it answers with instead, if any."""

    address: str = ""
    checkouts: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: int = 0
    broken: int = 0
    page: str = "https://pay.example/c/{id}"

    def tells(self, order: dict[str, Any], event_id: str, kind: str = "paid", **changes: object) -> bytes:
        """Return the body of an event about an order."""
        told = {
            "id": event_id,
            "type": f"payment.{kind}",
            "order_id": order["id"],
            "reference": order["reference"],
            "amount": order["amount_minor"],
            "currency": order["currency"],
        }
        return json.dumps({**told, **changes}).encode()


def signed(body: bytes, *, age: int = 0, secret: str = SECRET) -> dict[str, str]:
    """Return the headers of an event that was signed so many seconds ago."""
    stamp = str(int(now().timestamp()) - age)
    return {"Payment-Timestamp": stamp, "Payment-Signature": sign(secret, stamp, body)}


@contextmanager
def running() -> Iterator[Provider]:
    """Run a provider on a free port of 127.0.0.1."""
    provider = Provider()
    server = uvicorn.Server(uvicorn.Config(_app(provider), host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the provider did not start"
        time.sleep(0.01)
    provider.address = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    try:
        yield provider
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)


def _app(provider: Provider) -> FastAPI:
    app = FastAPI()

    @app.post("/checkouts")
    async def checkout(request: Request) -> JSONResponse:
        provider.asked += 1
        if provider.broken:
            return JSONResponse({"error": f"no, {request.headers['authorization']}"}, provider.broken)
        if request.headers["authorization"] != f"Bearer {SECRET}":
            return JSONResponse({"error": "who are you?"}, 401)
        given = await request.json()
        key = request.headers["idempotency-key"]
        assert key == given["order_id"]
        known = provider.checkouts.setdefault(key, {"id": f"ref_{len(provider.checkouts)}", "given": given})
        return JSONResponse({"id": known["id"], "url": provider.page.format(id=known["id"])}, 201)

    return app
