import asyncio

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.types import Receive, Scope, Send

from apps.asgi import ENVELOPE, BodyLimit, Crowd, Trace
from apps.gateway import errors
from engine.kit.logs import current_trace


def client(limit: int = 1000) -> TestClient:
    app = FastAPI()
    errors.install(app)

    @app.post("/size")
    async def size(request: Request) -> dict[str, object]:
        return {"size": len(await request.body()), "trace": current_trace()}

    return TestClient(Trace(BodyLimit(app, limit)), raise_server_exceptions=False)


def test_a_declared_size_above_the_limit_is_refused_unread() -> None:
    answer = client().post("/size", content=b"x" * (1001 + ENVELOPE))
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "gateway.body_too_large"


def test_a_two_gigabyte_upload_is_refused_by_its_header_alone() -> None:
    answer = client().post("/size", content=b"", headers={"Content-Length": str(2 * 2**30)})
    assert answer.status_code == 413


def test_an_undeclared_body_is_cut_off_at_the_limit() -> None:
    answer = client().post("/size", content=iter([b"x" * 40_000] * 3))
    assert answer.status_code == 413


def test_a_body_within_the_limit_passes() -> None:
    assert client().post("/size", content=b"x" * 1000).json()["size"] == 1000


def test_a_trace_id_goes_in_and_out_and_is_cleaned() -> None:
    answer = client().post("/size", headers={"X-Trace-ID": "abc-1"})
    assert answer.headers["X-Trace-ID"] == answer.json()["trace"] == "abc-1"
    answer = client().post("/size", headers={"X-Trace-ID": "a<b>\tc"})
    assert answer.headers["X-Trace-ID"] == "abc"
    assert client().post("/size").headers["X-Trace-ID"].startswith("tr_")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_beyond_as_many_as_it_handles_at_once_it_says_when_to_come_back() -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        entered.set()
        await go.wait()
        await PlainTextResponse("done")(scope, receive, send)

    crowd = Crowd(app, most=1)

    async def call(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get("http://gateway/", headers={"Accept-Language": "zh-CN"})

    async def two() -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(crowd)) as client:
            first = asyncio.create_task(call(client))
            await entered.wait()
            second = await call(client)
            go.set()
            return await first, second, await call(client)

    inside, refused, later = asyncio.run(two())
    assert (inside.status_code, refused.status_code, later.status_code) == (200, 503, 200)
    assert refused.headers["retry-after"] == "1" and refused.json()["error"]["code"] == "gateway.crowded"
    assert "秒后重试" in refused.json()["error"]["message"]
