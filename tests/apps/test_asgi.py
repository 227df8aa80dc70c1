from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from apps.asgi import ENVELOPE, BodyLimit, Trace
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
