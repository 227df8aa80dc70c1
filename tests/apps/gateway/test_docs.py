import re
from collections.abc import Callable

from fastapi.testclient import TestClient

from engine.accounts.schemas import Person

Gateway = Callable[[Person | None], TestClient]


def test_the_list_of_routes_is_whole_and_loads_nothing_from_elsewhere(gateway: Gateway) -> None:
    client = gateway(None)
    page, schema = client.get("/docs").text, client.get("/openapi.json").json()
    assert all(path in page for path in schema["paths"])
    assert re.findall(r'(?:src|<link[^>]*href)="(?!/)', page) == []


def test_every_route_but_signing_in_needs_a_person(gateway: Gateway) -> None:
    client = gateway(None)
    open_to_all = {
        "/health",
        "/auth/sign-in",
        "/auth/sign-up",
        "/auth/continue-as",
        "/auth/sign-out",
        "/webhooks/payments",  # signed by the payment provider
    }
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        if path in open_to_all:
            continue
        for method in methods:
            answer = client.request(method, re.sub(r"\{\w+\}", "x", path))
            assert answer.status_code == 401, (method, path, answer.status_code)
