"""Statements over the API, at the gateway and at the pages' own origin."""

import csv
import io
from collections.abc import Callable
from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient

from engine.accounts.schemas import Person
from engine.kit.clock import now
from tests.apps.gateway.test_cash import earn
from tests.support import make_person

Gateway = Callable[[Person | None], TestClient]


def path(**query: str) -> str:
    today = now().date()
    days = {"from": f"{today - timedelta(days=1)}", "to": f"{today}"}
    return "/statements?" + "&".join(f"{name}={value}" for name, value in (days | query).items())


def get(client: TestClient, address: str) -> tuple[int, bytes, str]:
    for before in ("/api", ""):  # the pages' origin has the routes mounted below "/api"
        answer = client.get(before + address)
        if answer.status_code != 404:
            break
    return answer.status_code, answer.content, answer.headers.get("content-disposition", "")


def test_a_statement_comes_in_three_forms_and_only_of_ones_own(
    door: Gateway, developer: Person, consumer: Person
) -> None:
    earn(developer, consumer, 1234)
    client = door(consumer)
    status, content, name = get(client, path(by="model", format="csv"))
    [row] = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    assert status == 200 and name.startswith('attachment; filename="statement-')
    assert (row["model"], row["net_micro"], row["net_credits"]) == ("help-desk", "1234", "0.001234")
    _, content, _ = get(client, path(by="day,person", format="parquet"))
    [kept] = pq.read_table(io.BytesIO(content)).to_pylist()
    assert (kept["person"], kept["person_name"], kept["charged_micro"]) == (consumer.id, "Con", 1234)
    assert get(door(developer), path(by="model", format="csv"))[1].count(b"\r\n") == 1
    assert get(client, path(tenant=developer.tenant_id))[0] == 403
    assert get(client, path(tenant="all"))[0] == 403
    assert get(door(None), path())[0] == 401


def test_a_statement_as_json_agrees_with_the_wallet(
    gateway: Gateway, developer: Person, consumer: Person
) -> None:
    earn(developer, consumer, 1234)
    found = gateway(consumer).get("/api" + path()).json()
    assert found["by"] == ["day", "model"] and found["rows"][0]["day"] == f"{now().date()}"
    assert found["movements"] == {"settle": -1234, "top_up": 1234}
    assert (found["opening_micro"], found["closing_micro"]) == (0, 0)
    operator = make_person("op@example.com", "operator")
    everybody = gateway(operator).get("/api" + path(tenant="all", by="tenant")).json()
    assert [row["tenant"] for row in everybody["rows"]] == [consumer.tenant_id]


@pytest.mark.parametrize(
    ("query", "field"),
    [({"from": "yesterday"}, "from"), ({"to": "2020-01-01"}, "to"), ({"by": "x"}, "by")],
)
def test_a_bad_question_names_the_field(
    gateway: Gateway, consumer: Person, query: dict[str, str], field: str
) -> None:
    answer = gateway(consumer).get("/api" + path(**query))
    assert answer.status_code == 400 and answer.json()["error"]["param"] == field
    odd = gateway(consumer).get("/api" + path(format="pdf"))
    assert odd.json()["error"]["param"] == "format"
