"""`mbe upload` against the real gateway, over a network that breaks wherever it can."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import sender
from engine.accounts import sessions
from engine.kit.errors import BadInput, NotFound, UpstreamFailed
from engine.sender import Sender
from engine.uploads import service
from tests.support import make_person


class Broken(TestClient):
    """A connection that is cut before the request, or after it when the answer was on its way."""

    cuts: Callable[[], bool] = staticmethod(lambda: False)
    sent: list[str]

    def request(self, method: str, url: Any, **rest: Any) -> httpx.Response:
        if self.cuts():
            raise httpx.ConnectError("cut before")
        answer = super().request(method, url, **rest)
        if "content" in rest:
            self.sent.append(str(url).rsplit("/", 1)[-1])
        if self.cuts():
            raise httpx.ReadError("cut after")
        return answer


@pytest.fixture
def http(db: str, monkeypatch: pytest.MonkeyPatch) -> Broken:
    from apps.gateway.app import create_app

    monkeypatch.setattr(service, "PART_SIZE", 100)
    monkeypatch.setattr(sender, "PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(sender, "AT_ONCE", 1)
    client = Broken(create_app(), raise_server_exceptions=False)
    client.sent = []
    client.cookies.set(sessions.COOKIE, sessions.issue(make_person("d@example.com", "developer").id))
    return client


@pytest.fixture
def base(http: Broken) -> str:
    return str(http.post("/admin/knowledge", json={"name": "Help", "language": "en"}).json()["id"])


def connect(http: Broken) -> Sender:
    made = Sender.__new__(Sender)
    made.http = http
    return made


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**9), size=st.integers(1, 1_200), rate=st.floats(0, 0.4))
def test_no_cut_loses_or_doubles_anything(
    http: Broken, base: str, tmp_path: Path, seed: int, size: int, rate: float
) -> None:
    rng = Random(seed)
    data = "".join(rng.choice("abc \n") for _ in range(size)).encode() + str(seed).encode()
    path = tmp_path / "cut.txt"
    path.write_bytes(data)
    cuts, tries = [0], 0

    def cut() -> bool:
        now = rng.random() < rate
        cuts[0] += now
        return now

    http.cuts, http.sent = cut, []
    seen: list[int] = []
    while True:
        try:
            document = connect(http).send(path, base, lambda done, _all: seen.append(done))
            break
        except UpstreamFailed:  # the person runs the command again
            tries += 1
            assert tries < 1_000
    http.cuts = lambda: False
    assert document["sha256"] == hashlib.sha256(data).hexdigest() and document["size"] == len(data)
    listed = http.get(f"/admin/knowledge/{base}/documents").json()
    assert [one["sha256"] for one in listed].count(document["sha256"]) == 1
    parts = -(-len(data) // 100)
    assert set(http.sent) <= {str(n) for n in range(parts)}
    assert len(http.sent) <= parts + cuts[0], "at most one part is sent again for a cut"
    assert seen[-1] == len(data)


def test_a_refusal_is_said_in_the_servers_words_and_not_repeated(
    http: Broken, base: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.exe"
    path.write_bytes(b"MZ")
    with pytest.raises(BadInput, match="a.exe"):
        connect(http).send(path, base, lambda done, size: None)


def test_a_server_that_stays_away_is_named_and_the_person_told_to_go_on(http: Broken, base: str) -> None:
    http.cuts = lambda: True
    with pytest.raises(UpstreamFailed, match="same command"):
        connect(http).call("GET", "/admin/knowledge")


def test_a_base_is_found_by_name_or_id_and_the_others_are_named(http: Broken, base: str) -> None:
    assert connect(http).base_id("Help") == connect(http).base_id(base) == base
    with pytest.raises(NotFound, match="Help"):
        connect(http).base_id("Hlp")
